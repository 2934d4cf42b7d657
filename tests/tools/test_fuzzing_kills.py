"""The kills of tools/fuzz: the readers' promises hold in a short part, and planted faults are noticed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from fuzzing import kills
from fuzzing.killed import targets
from fuzzing.kills import KillTarget, state
from fuzzing.outcome import Outcome
from helpers.fuzzing import results

from objbench.data.prepare import card
from objbench.data.prepare.journal import Journal

LINE = ("prepare", "tetrominoes", "--data", "{}/data", "--config", "{}/mine.yaml", "--source", "generated")
LINE = (*LINE, "--train", "20", "--val", "0", "--test", "15", "--workers", "1")


def prepare() -> KillTarget:
    build = next(target.build for target in targets() if target.name == "kill-prepare")
    return KillTarget("kill-small", "prepare", build, (LINE,))


@pytest.fixture
def only_sigkill(monkeypatch):
    monkeypatch.setattr(kills, "SIGNALS", (kills.signal.SIGKILL,))


def test_a_prepare_that_is_killed_ends_as_if_it_was_not(tmp_path):
    found = results(tmp_path, prepare(), 2)
    assert [result.outcome for result in found] == 2 * [Outcome.SAME], found


def test_other_content_after_a_kill_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(card, "render", lambda *_: f"written by process {os.getpid()}")
    found = results(tmp_path, prepare(), 1)
    assert [result.outcome for result in found] == [Outcome.SILENT]
    assert found[0].detail.endswith("other content: data/tetrominoes/generated/README.md")


@pytest.mark.usefixtures("only_sigkill")
def test_a_command_that_does_not_go_on_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(Journal, "started", lambda journal: None)
    monkeypatch.setattr(Journal, "close", lambda journal: os._exit(9))
    with pytest.raises(
        RuntimeError, match=r"kill-small: no sound input: RuntimeError: prepare .*: exit code 9"
    ):
        results(tmp_path, prepare(), 1)


def test_times_do_not_count_but_everything_else_does(tmp_path: Path):
    record = {"date": "today", "metrics": {"test": {"mean": 0.5}}, "list": [{"wall_seconds": 1.0}]}
    (tmp_path / "result.json").write_text(json.dumps(record))
    (tmp_path / ".lock").touch()
    (tmp_path / "shard.tar").write_bytes(b"1")
    before = state(tmp_path)
    assert set(before) == {"result.json", "shard.tar"}
    (tmp_path / "result.json").write_text(
        json.dumps(record | {"date": "later", "list": [{"wall_seconds": 2.0}]})
    )
    assert state(tmp_path) == before
    (tmp_path / "result.json").write_text(json.dumps(record | {"metrics": {"test": {"mean": 0.6}}}))
    assert state(tmp_path)["result.json"] != before["result.json"]
    (tmp_path / "shard.tar.partial").touch()
    assert "shard.tar.partial" in state(tmp_path)
