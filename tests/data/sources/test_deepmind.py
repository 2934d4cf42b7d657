from __future__ import annotations

import gzip
import os
import re
from pathlib import Path

import numpy as np
import pytest
from helpers.sources import scenes
from helpers.tfrecords import MINI, MINI_ARRAYS, bytes_feature, example, request, tetrominoes, write

from objbench.data.scene import SceneBatch
from objbench.data.sources import deepmind
from objbench.data.sources.base import SplitPlan
from objbench.data.sources.deepmind import DeepMindSource
from objbench.errors import ObjbenchError, RequestError

ALL = SplitPlan("train", "data", 0, 10)


def opened(raw: Path | None, dataset: str = "tetrominoes", **sizes: int) -> DeepMindSource:
    return DeepMindSource(request("deepmind", raw, dataset, **sizes))


@pytest.fixture(scope="module")
def mini() -> SceneBatch:
    return scenes(opened(MINI), [ALL])["train"]


@pytest.fixture(scope="module")
def long_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many records as the protocol names, in the order of the mini file, again and again."""
    path = tmp_path_factory.mktemp("long") / "tetrominoes_train.tfrecords"
    content = gzip.decompress(MINI.read_bytes())
    ten = gzip.compress(content, 1)
    path.write_bytes(ten * 6064)  # members of a gzip file may follow one another
    return path


def test_images_and_masks_are_those_of_the_decoded_arrays(mini: SceneBatch) -> None:
    with np.load(MINI_ARRAYS) as arrays:
        assert np.array_equal(mini.images, arrays["image"])
        for entity in range(4):
            assert np.array_equal(mini.masks == entity, arrays["mask"][:, entity] == 255)
        for name in ("x", "y", "shape", "visibility", "color"):
            assert np.array_equal(mini.factors[name], arrays[name])
            assert mini.factors[name].dtype == np.float32
    assert set(mini.factors) == {"x", "y", "shape", "visibility", "color"}
    assert (mini.images.dtype, mini.masks.dtype) == (np.uint8, np.uint8)
    assert mini.index.tolist() == list(range(10))


def test_the_real_records_decode_to_what_was_measured_on_them(mini: SceneBatch) -> None:
    sums = [63600, 95400, 79500, 79500, 63600, 63600, 79500, 63600, 79500, 79500]
    assert mini.images.sum(axis=(1, 2, 3)).tolist() == sums
    areas = [np.bincount(mask.ravel(), minlength=4).tolist() for mask in mini.masks]
    assert areas == [[925, 100, 100, 100]] * 10
    assert mini.factors["shape"][:, 1:].tolist() == [
        [6, 5, 15], [9, 14, 5], [13, 5, 2], [14, 11, 16], [18, 17, 13],
        [7, 19, 16], [12, 7, 18], [9, 16, 16], [15, 15, 3], [10, 3, 2],
    ]  # fmt: skip
    assert mini.factors["x"][0, 1:].tolist() == [22, 11, 24]
    assert mini.factors["y"][0, 1:].tolist() == [0, 19, 20]
    yellow, green, blue = [1, 1, 0], [0, 1, 0], [0, 0, 1]
    assert mini.factors["color"][0, 1:].tolist() == [yellow, green, blue]


def test_a_folder_is_searched_for_the_released_name(tmp_path: Path) -> None:
    path = tmp_path / "tetrominoes_train.tfrecords"
    path.write_bytes(MINI.read_bytes())
    assert opened(tmp_path).files == [path]


def test_a_folder_without_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ObjbenchError, match=re.escape(f"{tmp_path}: holds no tetrominoes_train.tfrecords")):
        opened(tmp_path)


def test_without_raw_the_error_says_where_to_get_the_data() -> None:
    with pytest.raises(ObjbenchError) as caught:
        opened(None)
    assert caught.value.exit_code == 1
    url = "https://storage.googleapis.com/multi-object-datasets/tetrominoes/tetrominoes_train.tfrecords"
    for word in (url, "--raw PATH", "--source generated"):
        assert word in str(caught.value)


def test_a_pipe_and_a_device_are_refused_before_they_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tfrecords")
    for path in (tmp_path / "pipe.tfrecords", Path("/dev/zero")):
        with pytest.raises(ObjbenchError, match=f"--raw {path}: a pipe or device, expected a file or folder"):
            opened(path)


def test_raw_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ObjbenchError, match=r"absent: no such file or folder"):
        opened(tmp_path / "absent")


def test_the_file_is_checked_on_opening(tmp_path: Path) -> None:
    path = tmp_path / "wrong.tfrecords"
    path.write_bytes(b"something else")
    with pytest.raises(ObjbenchError, match="not a TFRecord file"):
        opened(path)


def test_another_dataset_is_recognised_by_its_size(tmp_path: Path) -> None:
    sprites = example({"image": bytes_feature(np.zeros((64, 64, 3), np.uint8))})
    path = write(tmp_path / "sprites.tfrecords", [sprites])
    message = r"record 0 .*image has 12288 values, expected 3675 = 35x35x3: is its layout multi_dsprites or objects_room\?"
    with pytest.raises(ObjbenchError, match=message):
        opened(path)


def test_the_standard_plan_is_the_protocols() -> None:
    assert opened(MINI).plan() == [
        SplitPlan("train", "data", 0, 60_000),
        SplitPlan("test", "data", 60_000, 60_320),
        SplitPlan("val", "data", 60_320, 60_640),
    ]


def test_a_smaller_split_takes_the_first_records_and_leaves_the_others_standard() -> None:
    assert opened(MINI, train=100, val=0).plan() == [
        SplitPlan("train", "data", 0, 100, standard=False),
        SplitPlan("test", "data", 60_000, 60_320),
    ]


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_more_than_the_protocol_has_is_refused(split: str) -> None:
    with pytest.raises(RequestError, match=rf"--{split} 60001: .* scenes by its protocol 'standard'"):
        opened(MINI, **{split: 60_001}).plan()


def test_a_short_file_is_cut_train_test_val_when_all_sizes_are_given() -> None:
    source = opened(MINI, train=5, val=2, test=3)
    plans = source.plan()
    assert plans == [
        SplitPlan("train", "data", 0, 5, standard=False),
        SplitPlan("test", "data", 5, 8, standard=False),
        SplitPlan("val", "data", 8, 10, standard=False),
    ]
    found = scenes(source)
    assert list(found) == ["train", "test", "val"]
    assert [batch.index.tolist() for batch in found.values()] == [[0, 1, 2, 3, 4], [5, 6, 7], [8, 9]]


def test_a_short_file_is_cut_without_the_splits_of_size_zero() -> None:
    assert opened(MINI, train=4, val=2, test=0).plan() == [
        SplitPlan("train", "data", 0, 4, standard=False),
        SplitPlan("val", "data", 4, 6, standard=False),
    ]


def test_more_than_a_short_file_holds_is_refused() -> None:
    with pytest.raises(
        ObjbenchError, match=r"holds 10 records, but 8 train \+ 2 test \+ 1 val are asked for"
    ):
        opened(MINI, train=8, val=1, test=2).plan()


@pytest.mark.parametrize("sizes", [{}, {"train": 5}, {"train": 5, "test": 5}])
def test_a_short_file_is_refused_unless_all_sizes_are_given(sizes: dict[str, int]) -> None:
    with pytest.raises(ObjbenchError) as caught:
        scenes(opened(MINI, **sizes))
    assert caught.value.exit_code == 1
    for word in (str(MINI), "holds 10 records", "60,640", "--train, --test, --val"):
        assert word in str(caught.value)


def test_a_whole_file_keeps_the_standard_places_of_smaller_splits(long_file: Path, mini: SceneBatch) -> None:
    source = opened(long_file, train=3, val=2, test=320)
    assert source.plan() == [
        SplitPlan("train", "data", 0, 3, standard=False),
        SplitPlan("test", "data", 60_000, 60_320),
        SplitPlan("val", "data", 60_320, 60_322, standard=False),
    ]
    found = scenes(source)
    assert found["val"].index.tolist() == [60_320, 60_321]
    assert np.array_equal(found["val"].images, mini.images[:2])


@pytest.mark.parametrize("done", [0, 2, 5, 6])
def test_what_is_done_is_left_out(mini: SceneBatch, done: int) -> None:
    plans = [SplitPlan("train", "data", 1, 6), SplitPlan("val", "data", 8, 10)]
    found = scenes(opened(MINI), plans, train=done)
    rest = found["train"].index.tolist() if "train" in found else []
    assert rest == list(range(max(1, done), 6))
    assert found["val"].index.tolist() == [8, 9]
    assert np.array_equal(found["val"].images, mini.images[8:])


def test_splits_may_share_records() -> None:
    plans = [SplitPlan("train", "data", 0, 10), SplitPlan("val", "data", 2, 4, in_train=True)]
    assert scenes(opened(MINI), plans)["val"].index.tolist() == [2, 3]


@pytest.mark.parametrize(("name", "limit"), [("SCENES_PER_JOB", 4), ("BYTES_PER_JOB", 100_000)])
def test_blocks_follow_each_other(monkeypatch: pytest.MonkeyPatch, name: str, limit: int) -> None:
    monkeypatch.setattr(deepmind, name, limit)
    batches = [block.decode().index.tolist() for _, block in opened(MINI).read([ALL], {})]
    assert batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def planes(row: int) -> np.ndarray:
    with np.load(MINI_ARRAYS) as arrays:
        return arrays["mask"][row].copy()


def covered_twice(masks: np.ndarray) -> None:
    masks[2, 7, 9] = masks[1, 7, 9] = 255


def not_covered(masks: np.ndarray) -> None:
    masks[:, 7, 9] = 0


def halfway(masks: np.ndarray) -> None:
    masks[0, 7, 9] = 128


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (covered_twice, "row 7, column 9 lies in [23] entity masks, expected exactly 1"),
        (not_covered, "row 7, column 9 lies in 0 entity masks"),
        (halfway, "masks hold 0, 128, 255, expected 0 and 255"),
        (lambda masks: np.floor_divide(masks, 255, out=masks), "masks hold 0, 1, expected 0 and 255"),
    ],
)
def test_masks_that_are_no_partition_name_the_record(tmp_path: Path, damage, what: str) -> None:
    broken = planes(1)
    damage(broken)
    path = write(tmp_path / "a.tfrecords", [tetrominoes(0), tetrominoes(1, mask=broken)])
    with pytest.raises(ObjbenchError, match=rf"a.tfrecords: record 1 \(.*{what}"):
        scenes(opened(path), [SplitPlan("train", "data", 0, 2)])


def test_a_damaged_record_further_on_is_named(tmp_path: Path) -> None:
    content = bytearray(gzip.decompress(MINI.read_bytes()))
    content[3 * 25960 + 500] ^= 1
    path = tmp_path / "a.tfrecords"
    path.write_bytes(content)
    with pytest.raises(ObjbenchError, match=r"a.tfrecords: record 3 \(byte 77880 .*checksum is wrong"):
        scenes(opened(path), [ALL])


def test_a_missing_factor_is_named(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.tfrecords", [example({"image": bytes_feature(np.zeros((35, 35, 3), np.uint8))})]
    )
    with pytest.raises(ObjbenchError, match=r"record 0 .*feature 'mask' is missing \(found: image\)"):
        opened(path)
