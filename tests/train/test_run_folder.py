"""The folder of a run after a kill: what is left half done is removed and never blocks going on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from helpers.synthetic import record

from objbench.records import read_record, record_files
from objbench.train import run_folder
from objbench.train.run_folder import claim, empty, lock_run

CONFIG = {"seed": 0}


def finished(folder: Path, seed: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    record(seed).save(folder)


def test_a_kill_while_the_first_file_is_written_does_not_block_going_on(tmp_path):
    folder = tmp_path / "seed-0"
    folder.mkdir()
    (folder / "config.json.partial").write_text("{")
    with lock_run(folder):
        assert claim(folder, CONFIG, fresh=False) is False
    assert [path.name for path in folder.iterdir()] == ["config.json"]


def test_a_left_over_thrown_away_folder_is_removed_under_the_next_lock(tmp_path):
    left = tmp_path / ".seed-0.thrown-away"
    finished(left)
    with lock_run(tmp_path / "seed-0"):
        assert not left.exists()


def test_records_in_hidden_folders_are_not_found(tmp_path):
    finished(tmp_path / ".seed-0.thrown-away")
    finished(tmp_path / ".old" / "seed-0")
    finished(tmp_path / "seed-0")
    assert list(record_files(tmp_path)) == [tmp_path / "seed-0" / "result.json"]


@pytest.mark.parametrize("killed_in", ["replace", "rmtree"])
def test_a_kill_while_a_folder_is_emptied_leaves_no_record_of_the_old_run(tmp_path, monkeypatch, killed_in):
    class Killed(BaseException):
        pass

    def kill(*arguments: object, **options: object) -> None:
        raise Killed

    folder = tmp_path / "seed-0"
    finished(folder)
    (folder / "checkpoint.pt").touch()
    if killed_in == "rmtree":
        monkeypatch.setattr(run_folder.shutil, "rmtree", kill)
    else:
        monkeypatch.setattr(run_folder.Path, "replace", kill)
    with pytest.raises(Killed):
        empty(folder)
    assert not list(tmp_path.rglob("result.json"))


def test_what_cannot_be_removed_does_not_stop_the_run(tmp_path, monkeypatch):
    def busy(path: object, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            raise OSError("Device or resource busy")

    folder = tmp_path / "seed-0"
    finished(folder)
    with monkeypatch.context() as patched:
        patched.setattr(run_folder.shutil, "rmtree", busy)
        empty(folder)
    finished(folder, 1)
    (found,) = record_files(tmp_path)
    assert read_record(found).seed == 1
    shutil.rmtree(tmp_path / ".seed-0.thrown-away")
