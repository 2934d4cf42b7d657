"""The folder of a run after a kill: what is left half done is removed and never blocks going on."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest
from helpers.synthetic import record
from helpers.toy_runs import run

from objbench.errors import ObjbenchError
from objbench.records import read_record, record_files
from objbench.train import run_folder
from objbench.train.run_folder import claim, empty, lock_run, refuse_other_record

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


def test_the_record_of_another_run_is_not_taken_for_its_own(prepared_data, tmp_path):
    def of_seed(seed: int) -> Path:
        return run(prepared_data, tmp_path, seed=seed)[0]

    first, second = of_seed(0), of_seed(1)
    shutil.copy(first / "result.json", second)
    with pytest.raises(
        ObjbenchError, match=r"the record of another run \(seed is 0 there, 1 in config.json\)"
    ):
        of_seed(1)
    changed = (first / "config.json").read_text().replace('"width": ', '"width": 1')
    (first / "config.json").write_text(changed)
    with pytest.raises(ObjbenchError, match=r"the record of another run \(config_hash is "):
        refuse_other_record(first)


def test_a_checkpoint_of_another_seed_is_not_gone_on_with(prepared_data, tmp_path):
    first, second = (run(prepared_data, tmp_path, seed=seed)[0] for seed in (0, 1))
    shutil.copy(first / "checkpoint.pt", second)
    (second / "result.json").unlink()
    with pytest.raises(ObjbenchError, match=r"checkpoint.pt: of seed 0, not of seed 1; --fresh"):
        run(prepared_data, tmp_path, seed=1)


def test_a_linked_folder_is_emptied_and_stays_a_link(tmp_path):
    there, folder = tmp_path / "other disk", tmp_path / "seed-0"
    finished(there)
    (there / "checkpoint.pt").touch()
    (there / "more").mkdir()
    folder.symlink_to(there)
    for _ in range(2):
        with lock_run(folder):
            assert claim(folder, CONFIG, fresh=True) is False
    assert folder.is_symlink()
    assert [path.name for path in there.iterdir()] == ["config.json"]
    assert [path.name for path in tmp_path.iterdir() if "thrown" in path.name] == []


def test_a_finished_run_is_read_where_nothing_can_be_written(prepared_data, tmp_path, monkeypatch):
    _, record = run(prepared_data, tmp_path)

    def fail(path: Path, *arguments: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr("objbench.train.lock.exclusive_lock", fail)
    assert run(prepared_data, tmp_path)[1] == record
    message = r"\.seed-1\.lock: Read-only file system; choose a folder that you can write to with --runs"
    with pytest.raises(ObjbenchError, match=message):
        run(prepared_data, tmp_path, seed=1)
