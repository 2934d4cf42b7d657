"""What objbench run prints of a plan, and what it does with one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from helpers.commands import call, refused

from objbench.cli.plan import todo
from objbench.launch.plan import Planned
from objbench.launch.request import Task
from objbench.train.lock import sole_owner
from objbench.train.run_state import RunState


@pytest.fixture(autouse=True)
def _data(prepared_data, monkeypatch):
    monkeypatch.setenv("OBJBENCH_DATA", str(prepared_data))


def sweep(*more: object):
    methods = ("run", "one_slot", "grid", "--dataset", "tetrominoes", "--dataset", "tetrominoes@aligned")
    return call(*methods, *more)


def test_methods_datasets_and_seeds_make_one_sweep():
    result = sweep("--seeds", 2)
    assert result.exit_code == 0, result.stderr
    scores = [line for line in result.stdout.splitlines() if " on test" in line]
    assert [line.partition(" on ")[0] for line in scores] == [
        "one_slot seed 0",
        "one_slot seed 1",
        "grid seed 0",
        "grid seed 1",
    ] * 2
    assert len(json.loads(sweep("--seeds", 2, "--json").stdout)) == 8


def test_a_dry_run_prints_the_plan_and_does_nothing(tmp_path):
    assert call("run", "grid", "--dataset", "tetrominoes").exit_code == 0
    folder = tmp_path / "runs/tetrominoes/generated"
    result = sweep("--dry-run")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[:4] == [
        "one_slot on tetrominoes, seed 0: start",
        f"  {folder / 'one_slot/seed-0'}",
        "grid on tetrominoes, seed 0: finished",
        f"  {folder / 'grid/seed-0'}",
    ]
    assert result.stderr == "4 runs: 1 finished, 3 to start\n"
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["tetrominoes"]


def test_a_dry_run_for_programs():
    rows = json.loads(sweep("--dry-run", "--json").stdout)
    assert [(row["method"], row["dataset"], row["seed"], row["todo"]) for row in rows[-1:]] == [
        ("grid", "tetrominoes@aligned", 0, "start")
    ]
    assert rows[0]["folder"].endswith("one_slot/seed-0")
    assert rows[0]["state"] == "to start"


def test_the_parts_together_are_the_sweep(tmp_path):
    for number in (1, 2, 3):
        assert sweep("--part", f"{number}/3").exit_code == 0
    assert sweep("--dry-run").stderr == "4 runs: 4 finished\n"
    assert sweep("--dry-run", "--part", "1/3").stderr == "2 runs (a part of 4): 2 finished\n"


def test_a_task_of_an_array_takes_its_share(monkeypatch):
    monkeypatch.setenv("AWS_BATCH_JOB_ARRAY_INDEX", "1")
    monkeypatch.setenv("AWS_BATCH_JOB_ARRAY_SIZE", "4")
    assert "grid on tetrominoes, seed 0: start" in sweep("--dry-run", "--part", "auto").stdout
    assert sweep("--dry-run", "--part", "auto").stderr == "1 run (a part of 4): 1 to start\n"


def test_a_seed_at_work_elsewhere_ends_quietly(tmp_path):
    folder = tmp_path / "runs/tetrominoes/generated/one_slot/seed-0"
    with sole_owner(folder):
        result = call("run", "one_slot", "--dataset", "tetrominoes")
        dry = call("run", "one_slot", "--dataset", "tetrominoes", "--dry-run")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "one_slot on tetrominoes, seed 0: at work on " in result.stderr
    assert result.stderr.endswith("; left to it\n")
    assert "seed 0: at work on " in dry.stdout


def test_a_failed_run_leaves_its_reason(tmp_path):
    folder = tmp_path / "runs/tetrominoes/generated/toy_geco/seed-0"
    assert call("run", "toy_geco", "--dataset", "tetrominoes").exit_code == 0
    (folder / "result.json").unlink()
    (folder / "checkpoint.pt").write_bytes(b"damaged")
    assert "checkpoint.pt" in refused(1, "run", "toy_geco", "--dataset", "tetrominoes")
    (line,) = [line for line in call("list", "runs").stdout.splitlines() if "not finished" in line]
    assert "failed: " in line
    assert "checkpoint.pt" in line
    again = call("run", "toy_geco", "--dataset", "tetrominoes", "--dry-run").stdout
    assert "seed 0: go on from its last checkpoint (failed before: " in again


@pytest.mark.parametrize(
    ("state", "fresh", "kind", "text"),
    [
        (RunState("to start"), False, "to start", "start"),
        (RunState("finished"), False, "finished", "finished"),
        (RunState("finished"), True, "to start", "start afresh"),
        (
            RunState("stopped", 1200, 9000, resumable=True, saved=1200),
            False,
            "to go on",
            "go on from step 1,200",
        ),
        (
            RunState("stopped", 1200, 9000, resumable=True),
            False,
            "to go on",
            "go on from its last checkpoint",
        ),
        (
            RunState("failed", 40, 100, reason="boom", resumable=True),
            False,
            "to go on",
            "go on from its last checkpoint (failed before: boom)",
        ),
        (RunState("failed", 3, reason="boom"), False, "to start", "start (failed before: boom)"),
        (
            RunState("at work", 3, 9, "gpu3 (process 7)"),
            False,
            "at work",
            "at work on gpu3 (process 7), step 3 of 9",
        ),
        (
            RunState("at work", 3, 9, "gpu3 (process 7)"),
            True,
            "at work",
            "at work on gpu3 (process 7), step 3 of 9",
        ),
    ],
)
def test_what_is_to_be_done_with_a_run(state, fresh, kind, text):
    planned = Planned(Task("a", "b", 0), None, Path("there"), state)  # type: ignore[arg-type]
    assert todo(planned, fresh) == (kind, text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["grid", "grid", "--dataset", "tetrominoes"], "METHOD grid: given twice"),
        (
            ["grid", "--dataset", "tetrominoes", "--dataset", "tetrominoes"],
            "--dataset tetrominoes: given twice",
        ),
        (["grid", "nosuch", "--dataset", "tetrominoes"], "unknown method 'nosuch'"),
        (["grid", "--dataset", "tetrominoes", "--part", "5/4"], "--part 5/4: there is no part 5 of 4"),
        (["grid", "--dataset", "tetrominoes", "--part", "auto"], "not within an array of jobs"),
    ],
)
def test_a_wrong_sweep_is_refused_before_anything_runs(tmp_path, arguments, message):
    assert message in refused(2, "run", *arguments)
    assert not (tmp_path / "runs").exists()


def test_runs_that_cannot_be_gone_on_with_are_named_before_any_work(tmp_path, prepared_data):
    assert call("run", "grid", "--dataset", "tetrominoes").exit_code == 0
    folder = tmp_path / "runs/tetrominoes/generated"
    shutil.copytree(folder / "grid", folder / "one_slot")
    message = refused(2, "run", "color_kmeans", "one_slot", "--dataset", "tetrominoes")
    assert "one_slot/seed-0 holds a run of another configuration" in message
    assert not (folder / "color_kmeans").exists()


def test_a_damaged_record_is_not_called_finished(tmp_path):
    assert call("run", "grid", "--dataset", "tetrominoes", "--seeds", "2").exit_code == 0
    record = tmp_path / "runs/tetrominoes/generated/grid/seed-1/result.json"
    record.write_text(record.read_text()[:200])
    dry = call("run", "grid", "--dataset", "tetrominoes", "--seeds", "3", "--dry-run")
    assert "grid on tetrominoes, seed 0: finished" in dry.stdout
    assert f"grid on tetrominoes, seed 1: damaged: {record}: damaged" in dry.stdout
    assert dry.stderr == "3 runs: 1 finished, 1 damaged, 1 to start\n"
