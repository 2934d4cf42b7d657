"""tools/miniature from the plan to the report, with runs of two steps, and that it goes on where it stopped."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
from miniatures import command, plan
from miniatures.plan import ALIGNED, Command

from objbench.records import read_record
from objbench.spec.load import load_spec
from objbench.train.interrupt import EXIT_CODES

TINY = ("recipe.steps=2", "recipe.batch_size=2", "recipe.evaluations=1", "recipe.evaluation_images=2")
COMMANDS = [Command(("grid",), ALIGNED, 1), Command(("objmae:demo",), ALIGNED, 2, TINY)]


@pytest.fixture
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "PARTS", {"demos": lambda spec: iter(COMMANDS)})


def call(tmp_path: Path, data: Path, *options: str) -> int:
    places = ["--data", data, "--runs", tmp_path / "runs", "--results", tmp_path / "results"]
    return command.main([*options, *map(str, places)])


def lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


@pytest.mark.usefixtures("_few")
def test_all_runs_are_made_kept_and_reported_and_what_is_finished_is_not_made_again(
    tmp_path, prepared_data, capfd, monkeypatch
):
    assert call(tmp_path, prepared_data, "--dry-run") == 0
    assert not (tmp_path / "runs").exists()
    first = capfd.readouterr().out
    assert [ALIGNED, "grid", "1", "0", "0.0"] in lines(first)
    assert "1 runs of unknown length" not in first

    assert call(tmp_path, prepared_data, "--workers", "1") == 0
    results = tmp_path / "results" / "demos"
    folders = [run.folder(load_spec()) for each in COMMANDS for run in each.runs]
    assert [read_record(results / folder).seed for folder in folders] == [0, 0, 1]
    table = (results / f"{ALIGNED}.md").read_text()
    assert "ARI-FG > 73 %" in table
    assert "seed 1" in table
    assert (results / f"{ALIGNED}.png").stat().st_size > 1000
    assert len(list(results.rglob("model.safetensors"))) == 1

    capfd.readouterr()
    shutil.rmtree(tmp_path / "runs" / folders[-1])
    made = (tmp_path / "runs" / folders[1] / "result.json").stat().st_mtime_ns
    assert call(tmp_path, prepared_data) == 0
    again = capfd.readouterr()
    assert [*lines(again.out)[2][:4]] == [ALIGNED, "objmae:demo", "2", "1"]
    assert "objbench run grid" not in again.err
    assert "seed 0: finished before" in again.err
    assert (tmp_path / "runs" / folders[1] / "result.json").stat().st_mtime_ns == made
    assert (tmp_path / "runs" / folders[-1] / "result.json").exists()

    monkeypatch.setattr(command, "_objbench", lambda *_: pytest.fail("all is finished"))
    assert call(tmp_path, prepared_data) == 0


@pytest.mark.usefixtures("_few")
@pytest.mark.parametrize(
    ("codes", "code", "verbs"),
    [
        ([3, 0], 3, ["prepare", "prepare"]),  # without data nothing is run, the next command is tried
        ([0, 2, 0, 4], 2, ["prepare", "run", "prepare", "run"]),
        ([0, 143], 143, ["prepare", "run"]),  # somebody stopped it
    ],
)
def test_failures_do_not_stop_the_list_but_signals_do(tmp_path, monkeypatch, capfd, codes, code, verbs):
    called = []

    def failing(verb, words, _options):
        called.append(verb)
        return codes[len(called) - 1] if len(called) <= len(codes) else 0

    monkeypatch.setattr(command, "_objbench", failing)
    monkeypatch.setattr(command, "_unprepared", lambda *_: [ALIGNED])
    assert call(tmp_path, tmp_path / "data") == code
    assert called[: len(verbs)] == verbs
    assert "(to be prepared)" in capfd.readouterr().out


@pytest.mark.usefixtures("_few")
@pytest.mark.parametrize(("number", "passed_on"), [(signal.SIGINT, False), (signal.SIGTERM, True)])
def test_a_signal_stops_the_command_that_is_at_work_and_says_how_to_go_on(
    tmp_path, monkeypatch, capfd, number, passed_on
):
    class Busy:
        terminated, waits = False, 0

        def __init__(self, _line):
            Busy.process = self

        def wait(self):
            self.waits += 1
            if self.waits == 1:
                os.kill(os.getpid(), number)
            return 0

        def terminate(self):
            self.terminated = True

    monkeypatch.setattr(command, "Popen", Busy)
    monkeypatch.setattr(command, "_unprepared", lambda *_: [])
    assert call(tmp_path, tmp_path / "data") == EXIT_CODES[number]
    assert (Busy.process.terminated, Busy.process.waits) == (passed_on, 2)
    assert "the same command goes on" in capfd.readouterr().err


def test_wrong_requests_are_refused(tmp_path, capfd, monkeypatch):
    assert call(tmp_path, tmp_path, "--only", "girdd") == 2
    assert "did you mean 'grid'" in capfd.readouterr().err
    with pytest.raises(SystemExit):
        call(tmp_path, tmp_path, "--workers", "0")
    assert "expected a whole number of at least 1, found '0'" in capfd.readouterr().err
    monkeypatch.setenv("OBJBENCH_RUNS", "memory://runs")
    assert command.main(["--dry-run"]) == 2
    assert "name one with --runs" in capfd.readouterr().err
