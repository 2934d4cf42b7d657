"""tools/bench, run in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benches import command


def run(folder: Path, *line: str) -> dict[str, Any]:
    """What a bench that succeeds writes as JSON."""
    path = folder / "bench.json"
    assert command.main([*line, "--json", str(path)]) == 0
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def by_name(section: dict[str, Any]) -> dict[str, Any]:
    return {row["name"]: row for row in section["rows"]}
