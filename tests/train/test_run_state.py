"""What a run says it is doing, and what other processes make of it."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from objbench.errors import ObjbenchError
from objbench.progress import silent
from objbench.train import run_state as module
from objbench.train.interrupt import Interrupted
from objbench.train.lock import sole_owner
from objbench.train.run_state import RunState, reporting, run_state, state_path


def test_a_run_that_was_never_started(tmp_path):
    assert run_state(tmp_path / "seed-0") == RunState("to start")


def test_a_run_at_work_says_where_and_how_far(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_WRITE_SECONDS", 0.0)
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    folder = tmp_path / "seed-0"
    passed: list[tuple[int, int]] = []
    with sole_owner(folder), reporting(folder) as reporter:
        reporter.begin(100)
        advance = reporter.watching(lambda amount=1, note="", resumed=0: passed.append((amount, resumed)))
        advance(0, resumed=20)
        advance(30)
        found = run_state(folder)
        assert (found.state, found.step, found.total) == ("at work", 50, 100)
        assert found.where == f"{socket.gethostname()} (process {os.getpid()}, SLURM_JOB_ID=12)"
        assert found.seconds_left is not None
        assert found.seconds_left >= 0
    assert passed == [(0, 20), (30, 0)]
    assert not state_path(folder).exists()


def test_the_file_of_a_killed_run_does_not_make_it_at_work(tmp_path):
    folder = tmp_path / "seed-0"
    folder.mkdir()
    module.Reporter(folder)
    assert run_state(folder).state == "to start"
    (folder / "checkpoint.pt").touch()
    assert run_state(folder).state == "stopped"


def test_a_failure_leaves_its_reason_and_a_new_start_takes_it_away(tmp_path):
    folder = tmp_path / "seed-0"
    folder.mkdir()
    with pytest.raises(ObjbenchError), reporting(folder):
        raise ObjbenchError("training diverged")
    assert run_state(folder) == RunState("failed", 0, reason="training diverged")
    with sole_owner(folder), reporting(folder):
        assert run_state(folder).reason is None
    assert run_state(folder).state == "to start"


def test_a_signal_leaves_the_step_from_which_the_run_goes_on(tmp_path):
    folder = tmp_path / "seed-0"
    folder.mkdir()
    (folder / "checkpoint.pt").touch()
    with pytest.raises(Interrupted), reporting(folder):
        raise Interrupted(signal.SIGTERM, "stop", 40)
    assert run_state(folder) == RunState("stopped", 40, resumable=True, saved=40)


def test_a_record_means_finished_whatever_the_file_says(tmp_path):
    folder = tmp_path / "seed-0"
    folder.mkdir()
    module.Reporter(folder).finish("failed", 3, "earlier")
    (folder / "result.json").touch()
    assert run_state(folder) == RunState("finished")


def test_a_damaged_file_is_no_news(tmp_path):
    state_path(tmp_path / "seed-0").write_text("{")
    assert run_state(tmp_path / "seed-0") == RunState("to start")


def test_a_full_disk_does_not_stop_the_run_for_the_sake_of_its_state(tmp_path, monkeypatch):
    def full(self: Path, *arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with reporting(tmp_path / "seed-0") as reporter:
        reporter.begin(3)
        reporter.watching(silent)(2)
    assert list(tmp_path.iterdir()) == []
