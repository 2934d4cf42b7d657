"""A prepare that is killed, interrupted, crowded out or cramped."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import toy
from helpers.paths import TESTS
from helpers.toy import contents

from objbench.data.format.manifest import MANIFEST
from objbench.data.prepare.prepare import prepare
from objbench.data.read.verify import verify
from objbench.data.sources.base import SplitPlan
from objbench.errors import ObjbenchError, RequestError
from objbench.locks import exclusive_lock

TOY = toy.dataset()


@pytest.fixture(autouse=True)
def _toy(monkeypatch: pytest.MonkeyPatch) -> None:
    toy.register(monkeypatch)


KILLED = """
import sys, time
from pathlib import Path
sys.path[:0] = {path!r}
from helpers import toy
from objbench import registry
from objbench.data.prepare import pipeline
from objbench.data.prepare import prepare
registry.BUILT_IN["sources"]["toy"] = "helpers.toy:ToySource"
pipeline.SCENES_PER_JOB = 1
read = toy.ToySource.read
def slowly(self, plans, done):
    for n, item in enumerate(read(self, plans, done)):
        if n == 4:  # 16 scenes given: one shard is done, the second is begun
            print("here", flush=True)
            time.sleep(60)
        yield item
toy.ToySource.read = slowly
prepare.prepare(toy.dataset(), "toy", Path(sys.argv[1]), workers=int(sys.argv[2]))
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_prepare_goes_on_to_the_same_end(
    tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = KILLED.format(path=[str(TESTS)])
    command = [sys.executable, "-c", code, str(tmp_path / "killed"), str(workers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        folder = tmp_path / "killed/toy/toy"
        until = time.monotonic() + 20
        while (
            workers > 1
            and not (folder / ".prepare/train-000000.tar.json").exists()
            and time.monotonic() < until
        ):
            time.sleep(0.01)
        process.kill()
    assert not (folder / MANIFEST).exists()
    finished = folder / "train-000000.tar"
    before = finished.stat().st_mtime_ns

    asked = {}
    read = toy.ToySource.read

    def watched(self: toy.ToySource, plans: list[SplitPlan], done: dict[str, int]) -> object:
        asked.update(done)
        return read(self, plans, done)

    monkeypatch.setattr(toy.ToySource, "read", watched)
    prepare(TOY, "toy", tmp_path / "killed", workers=1)
    prepare_whole = prepare(TOY, "toy", tmp_path / "whole", workers=1)
    assert finished.stat().st_mtime_ns == before
    assert prepare_whole.splits["train"].count == 23
    assert contents(folder) == contents(tmp_path / "whole/toy/toy")


def interrupt(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let the source fail after 16 scenes."""
    read = toy.ToySource.read

    def failing(self: toy.ToySource, plans: list[SplitPlan], done: dict[str, int]) -> object:
        for number, item in enumerate(read(self, plans, done)):
            if number == 4:
                raise error
            yield item

    monkeypatch.setattr(toy.ToySource, "read", failing)
    monkeypatch.setattr("objbench.data.prepare.pipeline.SCENES_PER_JOB", 2)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_prepare_leaves_no_half_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    interrupt(monkeypatch, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        prepare(TOY, "toy", tmp_path, workers=workers)
    names = [path.name for path in (tmp_path / "toy/toy").iterdir() if path.is_file()]
    assert set(names) - {".lock", "train-000000.tar"} == set()


def test_resuming_with_other_settings_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        interrupt(patch, ObjbenchError("record 16 is damaged"))
        with pytest.raises(ObjbenchError, match="record 16 is damaged"):
            prepare(TOY, "toy", tmp_path, workers=1)
    with pytest.raises(
        RequestError, match=r"an unfinished prepare with other settings .* seed is 0 there, 1 asked"
    ):
        prepare(TOY, "toy", tmp_path, seed=1, workers=1)


def test_a_finished_shard_that_was_changed_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt(patch, ObjbenchError("stop"))
        with pytest.raises(ObjbenchError):
            prepare(TOY, "toy", tmp_path, workers=1)
    shard = tmp_path / "toy/toy/train-000000.tar"
    content = bytearray(shard.read_bytes())
    content[600] ^= 1
    shard.write_bytes(content)
    manifest = prepare(TOY, "toy", tmp_path, workers=1)
    assert verify(tmp_path / "toy/toy", manifest, deep=True) == []


def test_a_second_prepare_fails_at_once(tmp_path: Path) -> None:
    with (
        exclusive_lock(tmp_path / "toy/toy/.lock", "occupied"),
        pytest.raises(ObjbenchError, match="toy/toy: another prepare is running"),
    ):
        prepare(TOY, "toy", tmp_path, workers=1)


def test_too_little_space_is_said_before_it_runs_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(ObjbenchError, match=r"still need about 0\.1 MB, only 0\.0 MB are free"):
        prepare(TOY, "toy", tmp_path, workers=1)
    assert not list(tmp_path.rglob("*.tar*"))


def test_an_unwritable_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, **_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(ObjbenchError, match="toy/toy: Permission denied; choose a folder that you can write"):
        prepare(TOY, "toy", tmp_path, workers=1)


def stopped(monkeypatch: pytest.MonkeyPatch, data: Path, **options: object) -> Path:
    """The folder of a prepare that stopped after its first shard."""
    with monkeypatch.context() as patch:
        interrupt(patch, ObjbenchError("stop"))
        with pytest.raises(ObjbenchError, match="stop"):
            prepare(TOY, "toy", data, workers=1, **options)  # type: ignore[arg-type]
    return data / "toy/toy"


def test_a_changed_digit_in_the_journal_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(TOY, "toy", tmp_path / "whole", workers=1)
    folder = stopped(monkeypatch, tmp_path / "stopped")
    kept = tmp_path / "kept"
    shutil.copytree(folder, kept)
    entry = (kept / ".prepare/train-000000.tar.json").read_bytes()
    for at in range(0, len(entry), 37):
        shutil.rmtree(folder)
        shutil.copytree(kept, folder)
        damaged = bytearray(entry)
        damaged[at] ^= 1
        (folder / ".prepare/train-000000.tar.json").write_bytes(damaged)
        prepare(TOY, "toy", tmp_path / "stopped", workers=1)
        assert contents(folder) == contents(tmp_path / "whole/toy/toy"), at


def test_damaged_settings_of_an_unfinished_prepare_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = stopped(monkeypatch, tmp_path) / ".prepare/started.json"
    path.write_text(path.read_text().replace('"height":5', '"height":6'))
    with pytest.raises(RequestError, match=r"nor a sound journal of a prepare; --force replaces them"):
        prepare(TOY, "toy", tmp_path, workers=1)


def test_a_source_file_that_was_replaced_in_between_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = tmp_path / "toy.bin"
    raw.write_bytes(b"first ")
    stopped(monkeypatch, tmp_path, raw=raw)
    replaced = tmp_path / "new.bin"
    replaced.write_bytes(b"second")
    replaced.replace(raw)
    with pytest.raises(
        RequestError, match=r"other settings is here: files\.toy\.bin is '?6 bytes of .* there"
    ):
        prepare(TOY, "toy", tmp_path, raw=raw, workers=1)


def test_a_source_file_that_changes_meanwhile_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = tmp_path / "toy.bin"
    raw.write_bytes(b"first ")
    read = toy.ToySource.read

    def changing(self: toy.ToySource, plans: list[SplitPlan], done: dict[str, int]) -> object:
        yield from read(self, plans, done)
        raw.write_bytes(b"second, longer")

    monkeypatch.setattr(toy.ToySource, "read", changing)
    with pytest.raises(ObjbenchError, match=r"toy/toy: toy\.bin changed while it was read; --force"):
        prepare(TOY, "toy", tmp_path, raw=raw, workers=1)
    assert not (tmp_path / "toy/toy" / MANIFEST).exists()


def test_a_journal_that_outlived_its_prepare_is_removed(tmp_path: Path) -> None:
    prepare(TOY, "toy", tmp_path, workers=1)
    before = contents(tmp_path / "toy/toy")
    (tmp_path / "toy/toy/.prepare").mkdir()
    (tmp_path / "toy/toy/.prepare/started.json").touch()
    prepare(TOY, "toy", tmp_path, workers=1)
    assert not (tmp_path / "toy/toy/.prepare").exists()
    assert contents(tmp_path / "toy/toy") == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_full_disk_leaves_no_half_shard_and_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "toy/toy"
    folder.mkdir(parents=True)
    partial = folder / "train-000000.tar.partial"
    partial.symlink_to("/dev/full")
    # a prepare without shards removes what is left of an earlier one, so the link has to come later
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("objbench.data.prepare.preparation.clear", lambda folder: None)
        with pytest.raises(
            ObjbenchError, match=r"train-000000\.tar\.partial: No space left on device; free some"
        ):
            prepare(TOY, "toy", tmp_path, workers=1)
    assert not partial.is_symlink()


SLOW = """
import sys
from pathlib import Path
from objbench.data.prepare.prepare import prepare
from objbench.spec.load import load_spec
def advance(amount=1, note="", resumed=0):
    if amount:
        print("here", flush=True)
dataset = load_spec().dataset("tetrominoes")
prepare(dataset, "generated", Path(sys.argv[1]), sizes={"train": 20000}, workers=2, advance=advance)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_workers_of_a_prepare_that_is_ended_leave_without_a_word(
    tmp_path: Path, number: signal.Signals
) -> None:
    command = [sys.executable, "-c", SLOW, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)  # ends when the workers have closed stderr too
    assert (process.returncode, errors) == (-number, "")
