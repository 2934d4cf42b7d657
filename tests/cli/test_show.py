"""objbench show, as a user gives it."""

from __future__ import annotations

import json
from pathlib import Path

from helpers.commands import call_with_toy
from PIL import Image


def test_show_writes_a_picture_and_prints_its_path(prepared_toy: Path) -> None:
    found = call_with_toy("show", "toy", "--count", "3")
    assert (found.exit_code, found.stdout) == (0, "toy-toy-test.png\n")
    with Image.open("toy-toy-test.png") as sheet:
        assert sheet.format == "PNG"
    found = call_with_toy("show", "toy", "--split", "val", "--output", "new/sheet.png", "--json")
    assert json.loads(found.stdout) == {"path": "new/sheet.png", "keys": ["00000000", "00000002", "00000004"]}
    assert Path("new/sheet.png").is_file()
