from __future__ import annotations

import gzip
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.clevr import samples as prepared_samples
from helpers.own import png, request, saved, scene, write_tar
from helpers.special_files import SPECIAL
from PIL import Image

from objbench.data.prepare.prepare import prepare
from objbench.data.scene import BadScene
from objbench.data.sources.own.splits import split_by_hash
from objbench.data.sources.own.webdataset import WebDatasetSource, samples
from objbench.errors import ObjbenchError, RequestError

OPTIONS = ("image=rgb.png;jpg", "labels=seg.png")


def members(first: int, stop: int) -> dict[str, bytes]:
    found = {}
    for index in range(first, stop):
        image, labels = scene(index)
        found |= {
            f"d/{index:03}.cls": b"7",
            f"d/{index:03}.rgb.png": png(image),
            f"d/{index:03}.seg.png": png(labels),
        }
    return found


def opened(raw: Path, *options: str, **sizes: int) -> WebDatasetSource:
    return WebDatasetSource(request("webdataset", raw, 4, "24x32", *(options or OPTIONS), **sizes))


def names(source: WebDatasetSource) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for split, block in source.read(source.plan(), {}):
        batch = block.decode()
        for name, image, labels in zip(batch.factors["name"], batch.images, batch.masks, strict=True):
            expected = scene(int(name.rpartition("/")[2]))
            assert np.array_equal(image, expected[0])
            assert np.array_equal(labels, expected[1])
            found.setdefault(split, []).append(str(name))
    return found


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_keys_make_the_splits(tmp_path: Path, mode: str) -> None:
    suffix = "tar" if mode == "w" else "tar.gz"
    write_tar(tmp_path / f"a.{suffix}", members(0, 12), mode)
    write_tar(tmp_path / f"b.{suffix}", members(12, 30), mode)
    source = opened(tmp_path)
    assert [path.name for path in source.files] == [f"a.{suffix}", f"b.{suffix}"]
    expected: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for index in range(30):
        key = f"d/{index:03}"
        expected[split_by_hash(key)].append(f"{'a' if index < 12 else 'b'}.{suffix}/{key}")
    assert names(source) == expected


def test_names_of_archives_make_the_splits(tmp_path: Path) -> None:
    for name, first, stop in (
        ("train-0.tar", 0, 4),
        ("train-1.tar", 4, 6),
        ("val.tar", 6, 7),
        ("test-x.tar", 7, 9),
    ):
        write_tar(tmp_path / name, members(first, stop))
    (tmp_path / "notes.txt").write_text("not read")
    found = names(opened(tmp_path))
    assert {split: len(of_split) for split, of_split in found.items()} == {"train": 6, "val": 1, "test": 2}
    assert found["train"][4] == "train-1.tar/d/004"
    chosen = opened(tmp_path, *OPTIONS, "train=val*", "val=train-0*", "test=test-*")
    assert {plan.split: len(plan) for plan in chosen.plan()} == {"train": 1, "val": 4, "test": 2}
    assert [path.name for path in opened(tmp_path, train=0, val=0).files] == ["test-x.tar"]


@pytest.mark.parametrize(
    ("archives", "left"),
    [
        (("train-0", "val-0", "shard-1"), "shard-1.tar"),
        (("train-0", "testing_not", "tested"), "tested.tar, testing_not.tar"),
    ],
)
def test_no_archive_is_left_out_without_a_word(tmp_path: Path, archives: tuple[str, ...], left: str) -> None:
    for number, name in enumerate(archives):
        write_tar(tmp_path / f"{name}.tar", members(number, number + 1))
    with pytest.raises(
        RequestError, match=f"train-0.tar is named after a split, {left} after none; move them away"
    ):
        opened(tmp_path)


def test_names_of_splits_may_be_longer(tmp_path: Path) -> None:
    for number, name in enumerate(("training-0", "validation-0", "test0")):
        write_tar(tmp_path / f"{name}.tar", members(number, number + 1))
    found = names(opened(tmp_path))
    assert {split: len(of_split) for split, of_split in found.items()} == {"train": 1, "val": 1, "test": 1}


def test_what_is_prepared_already_is_passed_over(tmp_path: Path) -> None:
    source = opened(write_tar(tmp_path / "train.tar", members(0, 9)), val=0, test=0, train=8)
    (_, block), *_ = source.read(source.plan(), {"train": 6})
    assert [scene.index for scene in block.scenes] == [6, 7]


def test_the_first_ending_that_is_there_is_taken(tmp_path: Path) -> None:
    image, labels = scene(0)
    path = write_tar(
        tmp_path / "train.tar", {"0.jpg": saved(Image.fromarray(image), "JPEG"), "0.seg.png": png(labels)}
    )
    source = opened(path, val=0, test=0)
    ((_, block),) = source.read(source.plan(), {})
    assert block.scenes[0].image.where.endswith("train.tar: sample 0.jpg")
    assert np.array_equal(block.decode().masks[0], labels)


def test_a_sample_without_a_member_is_a_bad_scene(tmp_path: Path) -> None:
    content = members(0, 3)
    del content["d/001.seg.png"]
    source = opened(write_tar(tmp_path / "train.tar", content), val=0, test=0)
    ((_, block),) = source.read(source.plan(), {})
    message = r"train.tar: sample d/001: has no labels \(.seg.png\); found .cls, .rgb.png; --option labels=ENDING names"
    with pytest.raises(BadScene, match=message) as caught:
        block.decode()
    assert caught.value.index == 1


def test_objbench_reads_its_own_shards(tmp_path: Path) -> None:
    """Prepared from our own shards, a set is the same again."""
    write_tar(tmp_path / "raw" / "train.tar", members(0, 5))
    dataset = request("webdataset", None, 4, "24x32", *OPTIONS).dataset
    sizes = {"val": 0, "test": 0}
    prepare(dataset, "webdataset", tmp_path / "first", raw=tmp_path / "raw", sizes=sizes, workers=1)
    shards = tmp_path / "first" / "mine" / "webdataset"
    again = request("webdataset", None, 4, "24x32").dataset
    prepare(again, "webdataset", tmp_path / "second", raw=shards, sizes=sizes, workers=2)
    once, twice = (
        prepared_samples(tmp_path / run / "mine" / "webdataset", "train") for run in ("first", "second")
    )
    assert len(once) == 5
    for index, sample in once.items():
        assert np.array_equal(sample.image, twice[index].image)
        assert np.array_equal(sample.mask, twice[index].mask)


def test_members_of_an_archive_are_not_kept(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", members(0, 4))
    found = list(samples(path, ("seg.png",)))
    assert [sample.key for sample in found] == ["d/000", "d/001", "d/002", "d/003"]
    assert {ending: content is not None for ending, content in found[0].parts.items()} == {
        "cls": False, "rgb.png": False, "seg.png": True,
    }  # fmt: skip


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b\x08\0damaged"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(ObjbenchError, match=r"a.tar: (no tar archive, or a damaged one|holds no files)"):
        opened(tmp_path)


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("header", [bytes(512), b"?" * 512])
def test_a_damaged_header_is_not_taken_for_the_end(tmp_path: Path, header: bytes, mode: str) -> None:
    """tarfile ends there without a word, and the scenes that follow would be missing."""
    sound = write_tar(tmp_path / "sound.tar", members(0, 4)).read_bytes()
    assert len(list(samples(tmp_path / "sound.tar", ()))) == 4
    at = sound.index(b"d/002.cls")
    path = tmp_path / "a.tar"
    for content in (sound[:at] + header + sound[at + 512 :], sound[:at]):
        path.write_bytes(content if mode == "w" else gzip.compress(content))
        with pytest.raises(
            ObjbenchError,
            match=r"a.tar: no tar archive.* \((more follows|it is cut short).*last member read: d/001.seg",
        ):
            list(samples(path, ()))


def test_a_truncated_archive_is_refused(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", members(0, 4))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(
        ObjbenchError, match=r"a.tar: no tar archive, or a damaged one .*last member read: d/00"
    ):
        list(samples(path, ()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("labels=mask.png", "image=rgb.png"),
            r"a.tar: sample d/000: has no labels \(.mask.png\); found .cls, .rgb.png, .seg",
        ),
        (("image=tif", "labels=seg.png"), r"has no image \(.tif\)"),
        (
            ("masks=seg.png",),
            "unknown option of mine .webdataset. 'masks'.*Known: image, labels, test, train, val",
        ),
        ((*OPTIONS, "train=t*"), "no archive matches train=t.; found a.tar"),
    ],
)
def test_wrong_options_are_refused(tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    write_tar(tmp_path / "a.tar", members(0, 2))
    with pytest.raises(ObjbenchError, match=message):
        opened(tmp_path, *options)


def test_an_archive_in_two_splits_is_refused(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", members(0, 2))
    with pytest.raises(
        RequestError, match=r"a.tar: matches train=. and test=a.; an archive can be in one split only"
    ):
        opened(tmp_path, *OPTIONS, "train=*", "test=a*")


def test_a_folder_without_archives_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ObjbenchError, match="holds no archives, expected files"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("order", "told"),
    [
        (
            ("a.png", "b.png", "a.seg.png"),
            "files of the sample a do not follow each other, or are there twice",
        ),
        (("a.png", "a.seg.png", "a.seg.png"), "a.seg.png is there twice"),
    ],
)
def test_files_that_are_scattered_or_there_twice_are_refused(
    tmp_path: Path, order: tuple[str, ...], told: str
) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in order:
            archive.addfile(tarfile.TarInfo(name))
    with pytest.raises(RequestError, match=told):
        list(samples(tmp_path / "a.tar", ()))


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.SYMTYPE])
def test_links_in_an_archive_are_refused(tmp_path: Path, kind: bytes) -> None:
    link = tarfile.TarInfo("b.png")
    link.type, link.linkname = kind, "a.png"
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("a.png"))
        archive.addfile(link)
    with pytest.raises(RequestError, match=r"b\.png is a link; make the archive with tar --dereference"):
        list(samples(tmp_path / "a.tar", ()))


@pytest.mark.parametrize("names", [("Train-0.tar", "TEST-0.tar"), ("my-train-0.tar", "my-val-0.tar")])
def test_archives_named_much_like_splits_are_not_mixed(tmp_path: Path, names: tuple[str, ...]) -> None:
    for i, name in enumerate(names):
        write_tar(tmp_path / name, members(10 * i, 10 * i + 10))
    if names[0].startswith("my"):
        with pytest.raises(
            RequestError, match="have the names of splits in them; say which archives make a split"
        ):
            opened(tmp_path)
    else:
        assert {plan.split: len(plan) for plan in opened(tmp_path, *OPTIONS, val=0).plan()} == {
            "train": 10,
            "test": 10,
        }


@pytest.mark.parametrize(("found", "make"), SPECIAL.items())
def test_names_of_archives_behind_which_there_is_none_are_refused(
    tmp_path: Path, found: str, make: Callable[[Path], None]
) -> None:
    write_tar(tmp_path / "a.tar", members(0, 3))
    make(tmp_path / "b.tar")
    with pytest.raises(ObjbenchError, match=rf"b\.tar: {found}, expected a file"):
        opened(tmp_path)
