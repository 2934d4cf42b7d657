from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from helpers.clevr import samples
from helpers.own import png, request, scene, write_folder

from objbench.data.format.manifest import Manifest
from objbench.data.prepare.prepare import PrepareRequest, prepare
from objbench.data.sources.own.folder import FolderSource
from objbench.data.sources.own.splits import split_by_hash
from objbench.errors import ObjbenchError, RequestError
from objbench.parts import Part
from objbench.progress import silent
from objbench.spec.datasets import DatasetRef

COUNT = 30


def prepared(data: Path, raw: Path, size: str = "24x32", **arguments: object) -> Manifest:
    dataset = request("folder", None, 4, size).dataset
    return prepare(dataset, "folder", data, raw=raw, **{"workers": 1, **arguments})  # type: ignore[arg-type]


def test_shards_hold_the_scenes_of_the_folder(tmp_path: Path) -> None:
    manifest = prepared(tmp_path, write_folder(tmp_path / "raw", COUNT))
    names: list[str] = []
    for split in ("train", "val", "test"):
        found = samples(tmp_path / "mine" / "folder", split)
        assert list(found) == list(range(manifest.splits[split].count))
        for sample in found.values():
            name = sample.facts["factors"]["name"]
            assert split_by_hash(name) == split
            image, labels = scene(int(name))
            assert np.array_equal(sample.image, image)
            assert np.array_equal(sample.mask, labels)
            names.append(name)
        assert manifest.splits[split].standard
    assert sorted(names) == [f"{index:03}" for index in range(COUNT)]


def test_the_manifest_has_one_digest_of_the_tree(tmp_path: Path) -> None:
    raw = write_folder(tmp_path / "raw", COUNT)
    (raw / "notes.txt").write_text("not read")
    manifest = prepared(tmp_path, raw)
    paths = sorted(path.relative_to(raw).as_posix() for path in raw.rglob("*.png"))
    assert len(paths) == 2 * COUNT
    lines = "".join(f"{hashlib.sha256((raw / path).read_bytes()).hexdigest()}  {path}\n" for path in paths)
    (file,) = manifest.files
    assert (file.name, file.sha256) == ("raw/", hashlib.sha256(lines.encode()).hexdigest())
    assert file.bytes == sum((raw / path).stat().st_size for path in paths)


@pytest.mark.parametrize("size", ["24x32", "16"])
def test_any_number_of_workers_gives_the_same_bytes(tmp_path: Path, size: str) -> None:
    raw = write_folder(tmp_path / "raw", COUNT)
    for index in range(0, COUNT, 4):  # of other sizes in between
        image, labels = scene(index, (24, 32) if size == "24x32" else (30, 31))
        (raw / f"images/{index:03}.png").write_bytes(png(image))
        (raw / f"masks/{index:03}.png").write_bytes(png(labels))
    for workers in (1, 2):
        prepared(tmp_path / str(workers), raw, size, workers=workers)
    folders = [tmp_path / str(workers) / "mine" / "folder" for workers in (1, 2)]
    files = sorted(path.name for path in folders[0].iterdir() if path.suffix in (".tar", ".json", ".md"))
    assert len(files) == 5
    for name in files:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


def test_the_whole_image_is_scaled(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    labels = np.repeat(np.repeat(np.array([[0, 1], [2, 3]], np.uint8), 8, 0), 16, 1)  # 16x32 to 8x8
    for split in ("train", "val", "test"):
        for name, pixels in (("a.png", labels * 80), ("a_mask.png", labels)):
            (raw / split).mkdir(parents=True, exist_ok=True)
            (raw / split / name).write_bytes(png(pixels))
    prepared(tmp_path, raw, "8")
    sample = samples(tmp_path / "mine" / "folder", "val")[0]
    assert np.array_equal(sample.mask, labels[::2, ::4])
    assert sample.image[0, 0].tolist() == [0, 0, 0]
    assert sample.image[7, 7].tolist() == [240, 240, 240]
    assert sample.facts["factors"]["name"] == "val/a"


def test_splits_by_sub_folders_also_within_images_and_masks(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("val", 1), ("test", 2)):
        write_folder(tmp_path / "outside" / split, count)
        for part in ("images", "masks"):
            (tmp_path / "inside" / part).mkdir(parents=True, exist_ok=True)
            (tmp_path / "outside" / split / part).rename(tmp_path / "inside" / part / split)
        write_folder(tmp_path / "outside" / split, count)
    for layout in ("outside", "inside"):
        source = FolderSource(request("folder", tmp_path / layout))
        assert {plan.split: len(plan) for plan in source.plan()} == {"train": 3, "val": 1, "test": 2}
        (_, block), *_ = source.read(source.plan(), {})
        assert block.decode().factors["name"].tolist() == ["train/000", "train/001", "train/002"]
    few = FolderSource(request("folder", tmp_path / "outside", val=0, test=0))
    assert {member.split("/")[0] for member in few.tree.members} == {"train"}


@pytest.mark.parametrize(
    "names", [("train", "valid", "test"), ("train2017", "val2017"), ("Train", "Test"), ("training", "a")]
)
def test_folders_that_are_named_much_like_splits_are_not_mixed(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    for name in names:
        write_folder(tmp_path / name, 3)
        for part in ("images", "masks"):
            (tmp_path / "raw" / part).mkdir(parents=True, exist_ok=True)
            (tmp_path / name / part).rename(tmp_path / "raw" / part / name)
    with pytest.raises(RequestError, match=r"is named after a split, and .* would be mixed with it"):
        FolderSource(request("folder", tmp_path / "raw")).plan()


def test_images_beside_folders_of_splits_are_not_left_out(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", 3)
    write_folder(tmp_path, 2)
    with pytest.raises(RequestError, match="holds images and folders of splits beside it"):
        FolderSource(request("folder", tmp_path))


def test_what_is_prepared_already_is_not_read_again(tmp_path: Path) -> None:
    source = FolderSource(request("folder", write_folder(tmp_path, COUNT)))
    (_, block), *_ = source.read(source.plan(), {"train": 5})
    assert block.scenes[0].index == 5


def test_damaged_and_incomplete_scenes_can_be_left_out(tmp_path: Path) -> None:
    raw = write_folder(tmp_path / "raw", 3 * COUNT)
    train = [name for name in (f"{index:03}" for index in range(3 * COUNT)) if split_by_hash(name) == "train"]
    (raw / f"masks/{train[1]}.png").unlink()
    (raw / f"images/{train[2]}.png").unlink()
    (raw / f"masks/{train[3]}.png").write_bytes(b"x")
    with pytest.raises(
        ObjbenchError, match=f"images/{train[1]}.png: has no label map.*--skip-bad leaves such scenes out"
    ):
        prepared(tmp_path, raw)
    skipped = prepared(tmp_path, raw, skip_bad=True).splits["train"].skipped
    assert [scene.index for scene in skipped] == [1, 2, 3]
    assert skipped[1].reason == f"has no image for the scene {train[2]}; add it, or take these labels away"


def test_a_file_that_changes_between_two_runs_is_noticed(tmp_path: Path) -> None:
    raw = write_folder(tmp_path / "raw", COUNT)
    last = next(f"{i:03}" for i in reversed(range(COUNT)) if split_by_hash(f"{i:03}") == "test")
    mask = raw / f"masks/{last}.png"
    content = mask.read_bytes()
    mask.write_bytes(b"x")
    with pytest.raises(ObjbenchError, match="is no label map"):
        prepared(tmp_path, raw)
    mask.write_bytes(content)
    with pytest.raises(RequestError, match=r"files.raw/ is "):
        prepared(tmp_path, raw)
    assert prepared(tmp_path, raw, force=True).splits["test"].count > 0


def test_a_file_instead_of_a_folder_is_refused(tmp_path: Path) -> None:
    path = write_folder(tmp_path, 1) / "images/000.png"
    with pytest.raises(RequestError, match="a file, expected the folder that holds images and label maps"):
        FolderSource(request("folder", path))
    with pytest.raises(
        ObjbenchError, match=r"mine .folder.: no files are given. Give the file or its folder with --raw"
    ):
        FolderSource(request("folder", None))
    with pytest.raises(RequestError, match="options: 'layout' is given, but the source has none"):
        FolderSource(request("folder", tmp_path, 4, "8", "layout=x"))


def test_parts_by_several_processes_give_the_same_bytes(tmp_path: Path) -> None:
    raw = write_folder(tmp_path / "raw", COUNT)
    spec = request("folder", None).dataset.spec.model_copy(update={"scenes_per_shard": 4})
    dataset = DatasetRef("mine", "standard", spec)
    prepare(dataset, "folder", tmp_path / "whole", raw=raw, workers=1)
    for number in (3, 1, 2):
        preparation = PrepareRequest(dataset, "folder", tmp_path / "parts", raw).plan()
        assert preparation.run_part(Part(number, 3), 1, silent)
    prepare(dataset, "folder", tmp_path / "parts", raw=raw, workers=1)
    folders = [tmp_path / name / "mine" / "folder" for name in ("whole", "parts")]
    names = sorted(path.name for path in folders[0].iterdir() if path.suffix in (".tar", ".json"))
    assert len(names) > 6
    for name in names:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


def test_splits_that_are_links_to_one_folder_are_refused(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    write_folder(raw / "train", COUNT)
    write_folder(raw / "test", 4)
    (raw / "val").symlink_to("test")
    with pytest.raises(
        RequestError, match="val and test are links to one folder; --test 0 leaves a split out"
    ):
        prepared(tmp_path, raw)
    assert prepared(tmp_path, raw, sizes={"val": 0}).splits["test"].count == 4
