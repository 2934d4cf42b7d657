"""CLEVR from its TFRecord file: which scenes each protocol takes, and their very pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers import clevr
from helpers.clevr import OBJECTS, dataset, payloads, samples
from helpers.tfrecords import write
from PIL import Image

from objbench.data.format.manifest import Manifest
from objbench.data.prepare.encode import EncodedScene
from objbench.data.prepare.prepare import PrepareRequest, prepare
from objbench.data.prepare.writer import ShardWriter
from objbench.data.read.verify import verify
from objbench.data.sources.base import SplitPlan
from objbench.data.sources.deepmind import DeepMindSource
from objbench.data.sources.deepmind_records import RecordBlock
from objbench.data.sources.tfrecord import Reader
from objbench.errors import ObjbenchError, RequestError
from objbench.spec.datasets import DatasetRef, Select
from objbench.spec.load import load_spec

ROWS = [1, 0, 1, 2, 1, 1, 3, 1, 1, 0]  # of the fixture; only its record 1 has at most six objects


def prepared(tmp_path: Path, name: str, rows: list[int] = ROWS, **options: object) -> tuple[Path, Manifest]:
    raw = clevr.release(tmp_path / "clevr_with_masks_train.tfrecords", rows)
    reference = dataset(name, len(rows))
    manifest = prepare(reference, "deepmind", tmp_path / "data", raw=raw, workers=1, **options)  # type: ignore[arg-type]
    return tmp_path / "data" / str(reference) / "deepmind", manifest


def indices(folder: Path) -> dict[str, list[int]]:
    return {split: list(samples(folder, split)) for split in ("train", "test", "val")}


def ranges(manifest: Manifest) -> dict[str, tuple[int, int, int]]:
    return {n: (s.records.start, s.records.stop, s.count) for n, s in manifest.splits.items()}


def test_records_decode_to_what_the_renderer_wrote() -> None:
    with Reader(clevr.FOUR) as reader:
        scenes = RecordBlock("clevr", 11, clevr.FOUR, list(reader)).decode()
    for row in range(2):
        assert np.array_equal(scenes.images[row], np.asarray(Image.open(clevr.FOLDER / f"{row}.png")))
        assert np.array_equal(scenes.masks[row], np.asarray(Image.open(clevr.FOLDER / f"{row}.mask.png")))
    assert (scenes.factors["visibility"].sum(1) - 1).tolist() == OBJECTS
    assert scenes.factors["shape"][1].tolist() == [0, 1, 2, 2, 1, 0, 0, 0, 0, 0, 0]
    assert scenes.factors["pixel_coords"][0, 1, :2].tolist() == [135, 178]
    kinds = {name: values.dtype.kind for name, values in scenes.factors.items()}
    assert kinds == {
        **dict.fromkeys(("x", "y", "z", "rotation", "visibility", "pixel_coords"), "f"),
        **dict.fromkeys(("size", "material", "shape", "color"), "u"),
    }


def test_standard_takes_scenes_of_six_objects_and_cuts_the_last_ones_off(tmp_path: Path) -> None:
    folder, manifest = prepared(tmp_path, "clevr6")
    assert indices(folder) == {"train": [0, 2, 4, 5], "test": [7], "val": [8]}
    assert ranges(manifest) == {"train": (0, 7, 4), "test": (7, 8, 1), "val": (8, 10, 1)}
    assert all(split.standard for split in manifest.splits.values())
    assert manifest.splits["train"].object_counts == {4: 4}
    assert verify(folder, manifest, deep=True) == []


@pytest.mark.parametrize(
    ("name", "size"), [("clevr6", 128), ("clevr6@visible_after_crop", 128), ("clevr6@emorl192", 192), ("clevr10", 128)]
)  # fmt: skip
def test_shards_hold_the_pixels_that_pillow_makes(tmp_path: Path, name: str, size: int) -> None:
    folder, _ = prepared(tmp_path, name)
    for split in ("train", "test", "val"):
        for index, sample in samples(folder, split).items():
            image, mask = clevr.expected(ROWS[index], size)
            assert np.array_equal(sample.image, image)
            assert np.array_equal(sample.mask, mask)
            assert sample.facts["n_objects"] == OBJECTS[ROWS[index]]
            assert sample.facts["visible"] == sorted(set(mask.ravel().tolist()) - {0})


def test_progress_counts_no_scenes_that_are_read_past_the_last_one(tmp_path: Path) -> None:
    counted: list[int] = []

    def advance(amount: int = 1, note: str | None = None, resumed: int = 0) -> None:
        counted.append(amount + resumed)

    _, manifest = prepared(tmp_path, "clevr6", sizes={"train": 2, "val": 0, "test": 1}, advance=advance)
    assert sum(counted) == sum(split.count for split in manifest.splits.values()) == 3


def test_clevr10_takes_every_scene(tmp_path: Path) -> None:
    folder, manifest = prepared(tmp_path, "clevr10")
    assert indices(folder) == {"train": list(range(8)), "test": [8], "val": [9]}
    assert ranges(manifest) == {"train": (0, 8, 8), "test": (8, 9, 1), "val": (9, 10, 1)}


@pytest.mark.parametrize(
    ("most", "taken"), [(4, [0, 2, 4, 5, 7, 8]), (6, [0, 2, 4, 5, 7, 8]), (7, [0, 1, 2, 4, 5, 7, 8, 9])]
)
def test_scenes_of_at_most_so_many_objects_are_taken_the_background_not_counted(
    tmp_path: Path, most: int, taken: list[int]
) -> None:
    assert [OBJECTS[row] for row in ROWS] == [4, 7, 4, 10, 4, 4, 8, 4, 4, 7]
    reference = dataset("clevr6", len(ROWS))
    rule = reference.rule.model_copy(update={"select": {"deepmind": Select(max_objects=most)}})
    protocols = reference.spec.protocols | {reference.protocol: rule}
    spec = reference.spec.model_copy(update={"protocols": protocols})
    changed = DatasetRef(reference.name, reference.protocol, spec)
    source = DeepMindSource(clevr.request(changed, clevr.release(tmp_path / "clevr.tfrecords", ROWS)))
    blocks = [block for _, block in source.read(source.plan()[:1], {})]
    assert [int(index) for block in blocks for index in block.decode().index] == taken


def test_at_most_five_takes_no_scene_of_six(tmp_path: Path) -> None:
    rule = load_spec().dataset("clevr6@at_most_five").rule.select["deepmind"]
    assert rule.max_objects == 5
    folder, _ = prepared(tmp_path, "clevr6@at_most_five")
    assert indices(folder) == {"train": [0, 2, 4, 5], "test": [7], "val": [8]}


def test_visible_after_crop_takes_scenes_that_lose_objects(tmp_path: Path) -> None:
    folder, manifest = prepared(tmp_path, "clevr6@visible_after_crop")
    assert indices(folder) == {"train": [0, 2, 4, 5, 6], "test": [7], "val": [8]}
    assert manifest.splits["train"].object_counts == {4: 4, 8: 1}


def test_first70k_takes_its_test_after_the_border(tmp_path: Path) -> None:
    folder, manifest = prepared(tmp_path, "clevr6@first70k")  # the border is record 5 here
    assert indices(folder) == {"train": [0, 2, 4], "test": [5], "val": [7]}
    assert ranges(manifest) == {"train": (0, 5, 3), "test": (5, 6, 1), "val": (7, 8, 1)}


def test_first70k_reads_no_further_than_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("objbench.data.sources.deepmind.SCENES_PER_JOB", 1)
    path = clevr.release(tmp_path / "a.tfrecords", ROWS)
    path.write_bytes(path.read_bytes()[:-20_000])  # the last record is cut off
    manifest = prepare(
        dataset("clevr6@first70k", len(ROWS)), "deepmind", tmp_path / "data", raw=path, workers=1
    )
    assert ranges(manifest) == {"train": (0, 5, 3), "test": (5, 6, 1), "val": (7, 8, 1)}
    with pytest.raises(ObjbenchError, match="truncated"):
        prepare(dataset("clevr6", len(ROWS)), "deepmind", tmp_path / "data", raw=path, workers=1)


def test_smaller_sizes_take_the_first_scenes_of_each_place(tmp_path: Path) -> None:
    folder, manifest = prepared(tmp_path, "clevr6", sizes={"train": 2, "val": 0})
    assert {split: list(samples(folder, split)) for split in manifest.splits} == {
        "train": [0, 2],
        "test": [7],
    }
    assert [split.standard for split in manifest.splits.values()] == [False, True]


def test_more_scenes_than_qualify_are_noticed_at_the_end(tmp_path: Path) -> None:
    with pytest.raises(
        ObjbenchError, match="split train should have 5 scenes, only 4 of the remaining ones qualify"
    ):
        prepared(tmp_path, "clevr6", sizes={"train": 5})


def test_the_plan_says_what_is_about_so_many() -> None:
    source = DeepMindSource(clevr.request(load_spec().dataset("clevr6"), clevr.FOUR))
    everything = {"file": "data", "start": 0, "stop": 100_000}
    assert source.plan() == [
        SplitPlan("train", **everything, cut=(0, -640), expected=49_360),
        SplitPlan("test", **everything, cut=(-640, -320), expected=320),
        SplitPlan("val", **everything, cut=(-320, None), expected=320),
    ]
    assert [source_plan.size for source_plan in source.plan()] == [None, 320, 320]


def test_a_size_larger_than_the_protocols_is_refused() -> None:
    with pytest.raises(
        RequestError, match=r"--val 321: clevr6 \(deepmind\) has 320 val scenes by its protocol"
    ):
        DeepMindSource(clevr.request(load_spec().dataset("clevr6"), clevr.FOUR, val=321)).plan()


def test_an_incomplete_file_is_refused_unless_all_sizes_are_given(tmp_path: Path) -> None:
    with pytest.raises(ObjbenchError, match=r"holds 4 records; clevr6 \(deepmind\) needs the first 100,000"):
        prepare(load_spec().dataset("clevr6"), "deepmind", tmp_path, raw=clevr.FOUR, workers=1)


def test_an_incomplete_file_is_cut_one_split_after_the_other(tmp_path: Path) -> None:
    raw = clevr.release(tmp_path / "a.tfrecords", ROWS)
    sizes = {"train": 3, "val": 1, "test": 2}
    manifest = prepare(load_spec().dataset("clevr6"), "deepmind", tmp_path, raw=raw, sizes=sizes, workers=1)
    assert indices(tmp_path / "clevr6/deepmind") == {"train": [0, 2, 4], "test": [5, 7], "val": [8]}
    assert ranges(manifest) == {"train": (0, 5, 3), "test": (5, 8, 2), "val": (8, 9, 1)}
    assert not any(split.standard for split in manifest.splits.values())


def damaged(path: Path, record: int, rows: list[int] = ROWS) -> Path:
    """A file with a flipped bit in one record, behind its visibility or not."""
    clevr.release(path, rows)
    content = bytearray(b"".join(map(_framed, rows)))
    size = len(content) // len(rows)
    content[size * record + size // 2] ^= 1
    path.write_bytes(content)
    return path


def _framed(row: int) -> bytes:
    from helpers.tfrecords import framed

    return framed(payloads()[row])


def test_a_first_record_that_is_none_can_be_left_out_too(tmp_path: Path) -> None:
    raw = write(tmp_path / "a.tfrecords", [payloads()[1][:1000], *[payloads()[row] for row in ROWS[1:]]])
    manifest = prepare(dataset("clevr6", 10), "deepmind", tmp_path, raw=raw, workers=1, skip_bad=True)
    assert [scene.index for scene in manifest.splits["train"].skipped] == [0]


def test_a_damaged_record_stops_the_work_and_names_the_way_out(tmp_path: Path) -> None:
    raw = damaged(tmp_path / "a.tfrecords", 4)
    message = r"a\.tfrecords: record 4 \(byte \d+ of the unpacked file\): the record's checksum is wrong.*; --skip-bad"
    with pytest.raises(ObjbenchError, match=message):
        prepare(dataset("clevr6", 10), "deepmind", tmp_path, raw=raw, workers=1)


@pytest.mark.parametrize(("record", "split"), [(4, "train"), (1, "train"), (7, "test"), (9, "val")])
def test_a_damaged_record_can_be_left_out_and_is_listed(tmp_path: Path, record: int, split: str) -> None:
    raw = damaged(tmp_path / "a.tfrecords", record)
    reference = dataset("clevr6", 10)
    manifest = prepare(reference, "deepmind", tmp_path / "data", raw=raw, workers=1, skip_bad=True)
    folder = tmp_path / "data/clevr6/deepmind"
    kept = [i for i, row in enumerate(ROWS) if row == 1 and i != record]
    assert indices(folder) == {"train": kept[:-2], "test": kept[-2:-1], "val": kept[-1:]}
    reason = "the record's checksum is wrong: the file is damaged"
    skipped = {n: [tuple(s.model_dump().values()) for s in v.skipped] for n, v in manifest.splits.items()}
    assert [scene for scenes in skipped.values() for scene in scenes] == [(record, reason)]
    if record != 7:  # a damaged scene between two splits may be listed with either
        assert skipped[split] == [(record, reason)]
    assert sum(value.standard for value in manifest.splits.values()) == 2
    assert reason in (folder / "README.md").read_text()
    assert verify(folder, manifest, deep=True) == []


@pytest.mark.parametrize("written", range(1, 12))
def test_damaged_records_are_listed_alike_wherever_a_prepare_was_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    monkeypatch.setattr("objbench.data.prepare.splits.MOST_SKIPPED", 0.5)
    rows = [1, 3, 0, 1, 3, 1, 1, 2, 3, 1, 3, 3, 1, 0, 1, 3, 1, 3, 1, 1]
    payloads_of = [payloads()[row] for row in rows]
    for bad in (3, 9, 15, 17, 19):
        payloads_of[bad] = payloads_of[bad][:1000]
    raw = write(tmp_path / "a.tfrecords", payloads_of)
    reference = dataset("clevr6@visible_after_crop", len(rows), tail=4)
    reference.spec = reference.spec.model_copy(update={"scenes_per_shard": 1})
    whole = prepare(reference, "deepmind", tmp_path / "whole", raw=raw, workers=1, skip_bad=True)
    add, calls = ShardWriter.add, iter(range(100))

    def failing(writer: ShardWriter, scene: EncodedScene) -> None:
        if next(calls) == written:
            raise KeyboardInterrupt
        add(writer, scene)

    with monkeypatch.context() as patch:
        patch.setattr(ShardWriter, "add", failing)
        with pytest.raises(KeyboardInterrupt):
            prepare(reference, "deepmind", tmp_path / "data", raw=raw, workers=1, skip_bad=True)
    assert prepare(reference, "deepmind", tmp_path / "data", raw=raw, workers=1, skip_bad=True) == whole
    assert sorted(s.index for split in whole.splits.values() for s in split.skipped) == [3, 9, 15, 17, 19]


def test_an_interrupted_prepare_goes_on_by_record_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("objbench.data.sources.deepmind.SCENES_PER_JOB", 1)
    raw = clevr.release(tmp_path / "a.tfrecords", ROWS)
    reference = dataset("clevr6", len(ROWS))
    reference.spec = reference.spec.model_copy(update={"scenes_per_shard": 2})
    whole = prepare(reference, "deepmind", tmp_path / "whole", raw=raw, workers=1)
    with monkeypatch.context() as patch:
        encode, calls = RecordBlock.decode, iter(range(100))

        def failing(block: RecordBlock) -> object:
            if next(calls) == 5:
                raise KeyboardInterrupt
            return encode(block)

        patch.setattr(RecordBlock, "decode", failing)
        with pytest.raises(KeyboardInterrupt):
            prepare(reference, "deepmind", tmp_path / "data", raw=raw, workers=1)
    assert [p.name for p in (tmp_path / "data").rglob("*.tar")] == ["train-000000.tar"]

    parsed: list[int] = []
    decode = RecordBlock.decode

    def watched(block: RecordBlock) -> object:
        parsed.extend(frame.number for frame in block.frames)
        return decode(block)

    monkeypatch.setattr(RecordBlock, "decode", watched)
    again = prepare(reference, "deepmind", tmp_path / "data", raw=raw, workers=1)
    assert parsed == [4, 5, 7, 8]  # records 0 and 2 are in the finished shard
    assert again == whole
    for path in (tmp_path / "whole").rglob("*.tar"):
        assert (tmp_path / "data/clevr6/deepmind" / path.name).read_bytes() == path.read_bytes()


def test_shards_are_the_same_whatever_the_number_of_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("objbench.data.sources.deepmind.SCENES_PER_JOB", 1)
    raw = clevr.release(tmp_path / "a.tfrecords", ROWS)
    one, two = (
        prepare(dataset("clevr6", 10), "deepmind", tmp_path / str(workers), raw=raw, workers=workers)
        for workers in (1, 2)
    )
    assert one == two


def test_the_estimate_counts_what_is_expected(tmp_path: Path) -> None:
    preparation = PrepareRequest(load_spec().dataset("clevr6"), "deepmind", tmp_path, clevr.FOUR).plan()
    assert preparation.scenes == 50_000


def test_a_file_of_sprites_is_recognised(tmp_path: Path) -> None:
    raw = write(tmp_path / "a.tfrecords", [payloads()[0]])
    with pytest.raises(
        ObjbenchError, match=r"image has 230400 values, expected 12288 .*: is its layout clevr\?"
    ):
        DeepMindSource(clevr.request(load_spec().dataset("multi_dsprites"), raw))
