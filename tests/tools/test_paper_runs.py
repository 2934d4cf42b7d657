"""tools/paper: which runs are left, and what is kept of those that are done."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import paper_runs
import pytest
from kept import KEPT
from paper_runs import Run, main

from objbench.records import read_record

SIZES = ["--train", "60", "--val", "4", "--test", "8"]


@pytest.fixture
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [Run("color_kmeans", "tetrominoes", seed) for seed in range(2)]
    monkeypatch.setattr(paper_runs, "planned", lambda: iter([*runs, Run("one_slot", "tetrominoes", 0)]))


def call(tmp_path: Path, *options: str) -> int:
    places = ["--results", str(tmp_path / "results"), "--runs", str(tmp_path / "runs")]
    return main([*places, *options])


@pytest.mark.usefixtures("_few")
def test_every_run_is_made_once_and_kept(tmp_path, capfd):
    assert call(tmp_path, "--", *SIZES) == 0
    folders = [tmp_path / "results" / run.folder for run in paper_runs.planned()]
    for folder in folders:
        assert {path.name for path in folder.iterdir()} == {*KEPT, "model.safetensors"}
    assert [read_record(folder).seed for folder in folders] == [0, 1, 0]
    capfd.readouterr()
    assert call(tmp_path, "--list") == 0
    assert capfd.readouterr().out.strip() == ""


@pytest.mark.usefixtures("_few")
def test_a_pattern_chooses(tmp_path, capsys):
    assert call(tmp_path, "--list", "--only", "*/color_kmeans/*") == 0
    assert capsys.readouterr().out.split() == [f"tetrominoes/color_kmeans/bf16/seed-{n}" for n in (0, 1)]


@pytest.mark.usefixtures("_few")
def test_nothing_is_kept_of_a_run_that_ran_out_of_time(tmp_path):
    assert call(tmp_path, "--minutes", "0.001", "--", *SIZES) == 0
    assert not (tmp_path / "results").exists()


@pytest.mark.usefixtures("_few")
@pytest.mark.parametrize("then", ["sys.exit(143)", "None"])
def test_a_run_out_of_time_may_take_a_checkpoint(tmp_path, monkeypatch, then):
    """A stand-in for a run notes that it was asked to stop; one that does not is killed."""
    note = tmp_path / "note"
    code = f"""if True:
        import signal, sys, time
        def stop(number, frame):
            open({str(note)!r}, "w").write("asked")
            {then}
        signal.signal(signal.SIGTERM, stop)
        time.sleep(60); time.sleep(60)
    """
    start = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda command: start([sys.executable, "-c", code]))
    monkeypatch.setattr(paper_runs, "GRACE", 3.0)
    assert call(tmp_path, "--minutes", "0.05") == 0
    assert note.read_text() == "asked"
    assert not (tmp_path / "results").exists()


@pytest.mark.usefixtures("_few")
def test_a_failed_run_ends_the_row_with_its_exit_code(tmp_path, capfd):
    assert call(tmp_path, "--", "--test", "0") == 2
    assert "--test 0: a run needs train and test" in capfd.readouterr().err


def test_the_plan_holds_both_presets_and_the_ablations():
    runs = list(paper_runs.planned())
    assert len(set(runs)) == len(runs)
    assert runs[:2] == [Run("objmae", "tetrominoes", 0, precision) for precision in ("fp32", "bf16")]
    assert {run.method for run in runs if run.dataset == "multi_dsprites"} == {
        "objmae", "objmae:code_weights", "objmae:no_object_entropy", "objmae:no_pixel_entropy",
        "objmae:no_entropy", "objmae:no_masking",
    }  # fmt: skip


@pytest.mark.usefixtures("_few")
def test_a_pattern_without_a_run_is_refused(tmp_path, capsys):
    assert call(tmp_path, "--list", "--only", "nosuch") == 2
    assert "--only nosuch: no such run; --list names all" in capsys.readouterr().err
