"""A prepare into an object store: the same bytes as on the disk, whatever kills it and whoever helps."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from helpers import stores, toy
from helpers.paths import TESTS
from helpers.toy import contents

from objbench.data.format.manifest import MANIFEST
from objbench.data.prepare.journal import Journal
from objbench.data.prepare.prepare import PrepareRequest, prepare
from objbench.data.read.load import load_split
from objbench.errors import ObjbenchError, RequestError
from objbench.parts import Part
from objbench.progress import silent
from objbench.spec.load import load_spec
from objbench.stores import FileFacts, Store, write_whole

TOY = toy.dataset()


@pytest.fixture(autouse=True)
def _toy(monkeypatch: pytest.MonkeyPatch) -> None:
    toy.register(monkeypatch)


@pytest.fixture(params=["memory", "s3"])
def store(request: pytest.FixtureRequest) -> Store:
    found: Store = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def local(tmp_path: Path) -> dict[str, bytes]:
    """The files that a prepare on the disk makes."""
    prepare(TOY, "toy", tmp_path / "local", workers=1)
    return contents(tmp_path / "local/toy/toy")


def stored(store: Store) -> dict[str, bytes]:
    """All files of the prepared dataset, its journal too."""
    folder = store / "toy" / "toy"
    return {name: (folder / name).read_bytes() for name in folder.files()}


def test_the_files_are_those_of_a_prepare_on_the_disk(store: Store, local: dict[str, bytes]) -> None:
    manifest = prepare(TOY, "toy", store, workers=1)
    assert stored(store) == local
    assert set(local) >= {MANIFEST, "README.md", "train-000002.tar", "val-000000.tar", "test-000000.tar"}
    assert PrepareRequest(TOY, "toy", store).finished() == manifest


def test_other_settings_are_refused_and_force_replaces(store: Store, local: dict[str, bytes]) -> None:
    prepare(TOY, "toy", store, sizes={"train": 40}, workers=1)
    with pytest.raises(RequestError, match="a dataset with other settings is here: sizes"):
        prepare(TOY, "toy", store, workers=1)
    prepare(TOY, "toy", store, workers=1, force=True)
    assert stored(store) == local


KILLED = """
import sys
sys.path[:0] = {path!r}
from helpers import stores, toy
from objbench import registry
from objbench.data.prepare import prepare
registry.BUILT_IN["sources"]["toy"] = "helpers.toy:ToySource"
prepare.prepare(toy.dataset(), "toy", stores.store(sys.argv[1]), workers=1)
"""


@pytest.mark.parametrize("put", ["train-000001.tar", ".prepare/train-000001.tar.json", "README.md", MANIFEST])
def test_a_prepare_killed_in_the_middle_of_a_put_goes_on_to_the_same_end(
    s3: Store, s3_server: str, monkeypatch: pytest.MonkeyPatch, local: dict[str, bytes], put: str
) -> None:
    road = stores.BlockedRoad(s3_server, f"/sets/toy/toy/{put}")
    with monkeypatch.context() as patch:
        stores.use(patch, road.address)
        command = [sys.executable, "-c", KILLED.format(path=[str(TESTS)]), str(s3)]
        with subprocess.Popen(command) as process:
            assert road.blocked.wait(60)
            process.kill()
    road.close()
    assert process.returncode == -9
    assert PrepareRequest(TOY, "toy", s3).finished() is None
    first = s3 / "toy" / "toy" / "train-000000.tar"
    before = first.facts()
    assert len(Journal(s3 / "toy" / "toy").finished("train")) == (1 if "train" in put else 3)

    puts: list[str] = []
    watch(monkeypatch, puts)
    prepare(TOY, "toy", s3, workers=1)
    assert first.facts() == before
    assert "train-000000.tar" not in puts
    assert ("train-000001.tar" in puts) == ("train" in put)
    assert stored(s3) == local


def watch(monkeypatch: pytest.MonkeyPatch, puts: list[str]) -> None:
    """Note the names of the files that are put."""
    put = Store.put

    def noting(self: Store, file: Path) -> None:
        puts.append(self.name)
        put(self, file)

    monkeypatch.setattr(Store, "put", noting)


def test_a_shard_without_an_entry_and_a_cut_shard_are_made_again(
    store: Store, local: dict[str, bytes]
) -> None:
    folder = store / "toy" / "toy"
    with pytest.MonkeyPatch.context() as patch:
        stop_before(patch, MANIFEST)
        with pytest.raises(KeyboardInterrupt):
            prepare(TOY, "toy", store, workers=1)
    write_whole(folder / "train-000001.tar", "half")
    (folder / ".prepare" / "val-000000.tar.json").unlink()
    write_whole(folder / "val-000000.tar", "x" * len(local["val-000000.tar"]))
    prepare(TOY, "toy", store, workers=1)
    assert stored(store) == local


def stop_before(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    write = Store.write_bytes

    def stopping(self: Store, content: bytes) -> None:
        if self.name == name:
            raise KeyboardInterrupt
        write(self, content)

    monkeypatch.setattr(Store, "write_bytes", stopping)


def test_an_entry_of_another_prepare_is_not_written_over(memory: Store) -> None:
    journal = Journal(memory / "toy" / "toy")
    with pytest.MonkeyPatch.context() as patch:
        stop_before(patch, MANIFEST)
        with pytest.raises(KeyboardInterrupt):
            prepare(TOY, "toy", memory, workers=1)
    (entry,) = journal.finished("val")
    journal.add(entry)
    with pytest.raises(ObjbenchError, match=r"val-000000\.tar\.json: another prepare wrote another entry"):
        journal.add(entry.model_copy(update={"last": 99}))
    assert journal.finished("val") == [entry]


def test_two_prepares_at_once_make_one_dataset(memory: Store, local: dict[str, bytes]) -> None:
    """One starts while the other is at its second shard, and finishes before it."""
    put, begun = Store.put, []

    def beside(self: Store, file: Path) -> None:
        if self.name == "train-000001.tar" and not begun:
            begun.append(self)
            prepare(TOY, "toy", memory, workers=1)
        put(self, file)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "put", beside)
        prepare(TOY, "toy", memory, workers=1)
    assert stored(memory) == local


def test_a_shard_lost_before_the_manifest_is_noticed(memory: Store) -> None:
    lost = memory / "toy" / "toy" / "train-000000.tar"
    put = Store.put

    def losing(self: Store, file: Path) -> None:
        put(self, file)
        if self.name.startswith("test"):
            lost.unlink()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "put", losing)
        with pytest.raises(ObjbenchError, match=r"train-000000\.tar: is missing, the manifest says"):
            prepare(TOY, "toy", memory, workers=1)
    assert not (memory / "toy" / "toy" / MANIFEST).is_file()


def test_the_scratch_folder_is_left_empty(
    memory: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    prepare(TOY, "toy", memory, workers=1)
    assert list(tmp_path.iterdir()) == []


def test_a_bucket_that_does_not_exist_is_refused_before_a_scene_is_read(
    s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores.use(monkeypatch, s3_server)
    monkeypatch.setattr(toy.ToySource, "plan", lambda self: pytest.fail("it was planned"))
    with pytest.raises(RequestError, match="no bucket s3://no-such-bucket"):
        prepare(TOY, "toy", Store("s3://no-such-bucket/sets"), workers=1)


def test_a_release_in_a_store_is_copied_whole(s3: Store, tmp_path: Path) -> None:
    from objbench.device import choose_device

    release = s3 / "releases" / "toy.bin"
    write_whole(release, "first")
    manifest = prepare(TOY, "toy", tmp_path, raw=release, workers=1)
    assert [file.name for file in manifest.files] == ["toy.bin"]
    assert manifest.files[0].bytes == 5
    assert len(load_split(TOY, "val", "toy", tmp_path, choose_device("cpu"))) == 3


def test_parts_make_the_same_in_a_store(memory: Store, prepared_data: Path) -> None:
    dataset, sizes = load_spec().dataset("tetrominoes"), {"train": 24, "val": 6, "test": 10}
    folder = memory / "tetrominoes" / "generated"
    preparation = PrepareRequest(dataset, "generated", memory, sizes=sizes).plan()
    for number in (2, 1):
        preparation.run_part(Part(number, 2), 1, silent)
    assert not (folder / MANIFEST).is_file()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "put", lambda self, file: pytest.fail(f"{self} was put again"))
        prepare(dataset, "generated", memory, sizes=sizes, workers=1)
    made = {name: (folder / name).read_bytes() for name in folder.files()}
    assert made == contents(prepared_data / "tetrominoes/generated")


def test_a_part_lists_a_store_once_for_all_its_shards(memory: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    preparation, files = PrepareRequest(TOY, "toy", memory).plan(), Store.files
    assert preparation.run_part(Part(1, 1), 1, silent) == 5
    listed: list[Store] = []

    def watched(self: Store) -> dict[str, FileFacts]:
        listed.append(self)
        return files(self)

    monkeypatch.setattr(Store, "files", watched)
    preparation.run_part(Part(1, 1), 1, silent)
    assert listed == [memory / "toy" / "toy"]
