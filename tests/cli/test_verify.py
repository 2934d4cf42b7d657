"""objbench verify, as a user gives it."""

from __future__ import annotations

import json
from pathlib import Path

from helpers.commands import call_with_toy


def test_verify(toy_home: Path) -> None:
    prepared = toy_home / "data/toy/toy"
    call_with_toy("prepare", "toy", "--workers", "1", "--val", "3")
    found = call_with_toy("verify", "toy", "--deep")
    assert (found.exit_code, found.stdout) == (0, "")
    assert "30 scenes as the manifest says" in found.stderr
    (prepared / "val-000000.tar").unlink()
    (prepared / "test-000000.tar").write_bytes(b"")
    found = call_with_toy("verify", "toy")
    assert found.exit_code == 1
    assert [line.split(":")[0] for line in found.stdout.splitlines()] == [
        "data/toy/toy/val-000000.tar",
        "data/toy/toy/test-000000.tar",
    ]
    assert (
        "2 differences; objbench prepare toy --source toy --data data --config toy.yaml --force prepares it again"
        in found.stderr
    )
    assert len(json.loads(call_with_toy("verify", "toy", "--json").stdout)["problems"]) == 2


def test_an_unprepared_dataset_is_a_failure(toy_home: Path) -> None:
    found = call_with_toy("verify", "toy")
    assert found.exit_code == 1
    assert "toy is not prepared in data/toy: objbench prepare toy --source toy" in found.stderr
