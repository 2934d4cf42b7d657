from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from helpers.sources import scenes
from helpers.tfrecords import MINI, MINI_ARRAYS, request

from objbench.data.sources import emorl
from objbench.data.sources.base import SourceRequest, SplitPlan
from objbench.data.sources.emorl import EmorlSource
from objbench.errors import ObjbenchError, RequestError
from objbench.spec.datasets import DatasetRef

ROWS = {"train": 10, "test": 4}


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    with np.load(MINI_ARRAYS) as file:
        return {"imgs": file["image"], "masks": file["mask"][..., None]}


def write(path: Path, role: str, imgs: np.ndarray, masks: np.ndarray) -> Path:
    with h5py.File(path, "w") as file:
        file[f"{role}/imgs"] = imgs
        file[f"{role}/masks"] = masks
    return path


@pytest.fixture
def folder(tmp_path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """A release of ten train and four test rows."""
    write(tmp_path / "tetrominoes.h5", "train", arrays["imgs"], arrays["masks"])
    write(tmp_path / "tetrominoes_test.h5", "test", arrays["imgs"][:4], arrays["masks"][:4])
    return tmp_path


def opened(raw: Path | None, **sizes: int) -> EmorlSource:
    return EmorlSource(request("emorl", raw, **sizes))


def complete(raw: Path, **sizes: int) -> EmorlSource:
    """The source for which ten train and four test rows are the complete release, two of them for val."""
    full = request("emorl", raw, **sizes)
    spec = full.dataset.spec
    source = spec.sources["emorl"].model_copy(update={"records": ROWS})
    rules = spec.protocols["standard"].sources["emorl"]
    short = {
        "train": rules["train"].model_copy(update={"stop": -2}),
        "val": rules["val"].model_copy(update={"start": -2}),
        "test": rules["test"],
    }
    protocol = spec.protocols["standard"].model_copy(update={"sources": {"emorl": short}})
    changed = spec.model_copy(update={"sources": {"emorl": source}, "protocols": {"standard": protocol}})
    reference = DatasetRef("tetrominoes", "standard", changed)
    return EmorlSource(SourceRequest(reference, "emorl", raw, sizes))


@pytest.mark.parametrize("image_type", ["uint8", "int32", "float32", "float64"])
@pytest.mark.parametrize(
    ("mask_type", "inside"), [("uint8", 255), ("uint8", 1), ("float32", 255), ("bool", 1)]
)
def test_numbers_of_any_type_give_the_same_scenes(
    tmp_path: Path, arrays: dict[str, np.ndarray], image_type: str, mask_type: str, inside: int
) -> None:
    masks = (arrays["masks"] // 255 * inside).astype(mask_type)
    path = write(tmp_path / "tetrominoes.h5", "train", arrays["imgs"].astype(image_type), masks)
    train = scenes(opened(path, train=10, val=0, test=0))["train"]
    assert np.array_equal(train.images, arrays["imgs"])
    assert np.array_equal(train.masks, arrays["masks"][..., 0].argmax(1))
    assert (train.images.dtype, train.masks.dtype) == (np.uint8, np.uint8)
    assert train.index.tolist() == list(range(10))
    assert train.factors == {}


def test_the_standard_plan_holds_the_last_train_rows_out_for_val(folder: Path) -> None:
    source = complete(folder)
    assert source.plan() == [
        SplitPlan("train", "train", 0, 8),
        SplitPlan("val", "train", 8, 10),
        SplitPlan("test", "test", 0, 4),
    ]
    found = scenes(source)
    assert [batch.index.tolist() for batch in found.values()] == [list(range(8)), [8, 9], [0, 1, 2, 3]]
    assert source.files == [folder / "tetrominoes.h5", folder / "tetrominoes_test.h5"]


def test_the_published_sizes_are_those_of_the_design() -> None:
    rules = request("emorl", None).dataset.rule.sources["emorl"]
    records = request("emorl", None).dataset.spec.sources["emorl"].records
    ranges = {s: slice(r.start, r.stop).indices(records[r.file])[:2] for s, r in rules.items()}
    assert ranges == {"train": (0, 59_680), "val": (59_680, 60_000), "test": (0, 320)}


def test_smaller_splits_take_the_first_rows_of_their_place(folder: Path) -> None:
    assert complete(folder, train=3, val=1).plan() == [
        SplitPlan("train", "train", 0, 3, standard=False),
        SplitPlan("val", "train", 8, 9, standard=False),
        SplitPlan("test", "test", 0, 4),
    ]


def test_more_than_the_protocol_has_is_refused(folder: Path) -> None:
    with pytest.raises(RequestError, match=r"--train 9: .* 8 train scenes by its protocol"):
        complete(folder, train=9).plan()


@pytest.mark.parametrize("sizes", [{}, {"train": 5}, {"test": 0, "val": 0}])
def test_files_of_another_length_are_refused_unless_all_sizes_are_given(
    folder: Path, sizes: dict[str, int]
) -> None:
    with pytest.raises(
        ObjbenchError, match=r"tetrominoes.h5: holds 10 records; .*60,000.*--train, --test, --val"
    ):
        opened(folder, **sizes).plan()


def test_files_of_another_length_are_cut_from_their_first_row(folder: Path) -> None:
    assert opened(folder, train=6, val=3, test=2).plan() == [
        SplitPlan("train", "train", 0, 6, standard=False),
        SplitPlan("test", "test", 0, 2, standard=False),
        SplitPlan("val", "train", 6, 9, standard=False),
    ]


def test_more_than_a_short_file_holds_is_refused(folder: Path) -> None:
    with pytest.raises(ObjbenchError, match=r"holds 10 records, but 8 train \+ 3 val are asked for"):
        opened(folder, train=8, val=3, test=0).plan()


@pytest.mark.parametrize("given", ["tetrominoes.h5", "tetrominoes_test.h5"])
def test_one_file_finds_the_other_beside_it(folder: Path, given: str) -> None:
    files = opened(folder / given, train=1, val=1, test=1).files
    assert files == [folder / "tetrominoes.h5", folder / "tetrominoes_test.h5"]


def test_a_file_of_any_name_is_known_by_its_group(folder: Path) -> None:
    renamed = (folder / "tetrominoes_test.h5").rename(folder / "evaluation.h5")
    assert complete(renamed).files == [folder / "tetrominoes.h5", renamed]


def test_a_file_is_needed_only_for_its_splits(folder: Path) -> None:
    (folder / "tetrominoes.h5").unlink()
    source = complete(folder, train=0, val=0)
    assert source.plan() == [SplitPlan("test", "test", 0, 4)]
    assert source.files == [folder / "tetrominoes_test.h5"]


def test_a_missing_file_names_what_it_is_needed_for(folder: Path) -> None:
    (folder / "tetrominoes.h5").unlink()
    message = f"{folder}: holds no tetrominoes.h5 or tetrominoes_train.h5, which train, val of"
    with pytest.raises(ObjbenchError, match=re.escape(message)):
        opened(folder)


def test_without_raw_the_error_says_where_to_get_the_data() -> None:
    with pytest.raises(
        ObjbenchError, match=r"https://zenodo.org/records/4895643 .*--raw PATH.*--source generated"
    ):
        opened(None)


def test_what_is_done_is_left_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emorl, "SCENES_PER_JOB", 3)
    source = complete(folder)
    batches = [
        (split, block.decode().index.tolist())
        for split, block in source.read(source.plan(), {"train": 4, "val": 10})
    ]
    assert batches == [("train", [4, 5, 6]), ("train", [7]), ("test", [0, 1, 2]), ("test", [3])]


def test_a_file_that_is_not_hdf5_is_refused() -> None:
    with pytest.raises(ObjbenchError, match=re.escape(f"{MINI}: not an HDF5 file")):
        opened(MINI)


def test_a_zip_of_the_release_is_named_as_one(tmp_path: Path) -> None:
    path = tmp_path / "release.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tetrominoes.h5", b"scenes")
    with pytest.raises(ObjbenchError, match="a zip archive, and HDF5 cannot be read inside one: unpack it"):
        opened(path)


def test_a_truncated_file_is_refused(folder: Path) -> None:
    path = folder / "tetrominoes.h5"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ObjbenchError, match=re.escape(f"{path}: damaged or truncated")):
        complete(folder)


def test_a_file_without_the_group_lists_what_it_has(folder: Path) -> None:
    (folder / "tetrominoes_test.h5").rename(folder / "tetrominoes.h5")
    with pytest.raises(ObjbenchError, match=r"tetrominoes.h5: / has no 'train'; it has: test"):
        opened(folder, test=0)


def test_a_group_without_masks_lists_what_it_has(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    with h5py.File(tmp_path / "tetrominoes.h5", "w") as file:
        file["train/imgs"] = arrays["imgs"]
    with pytest.raises(ObjbenchError, match=r"/train has no 'masks'; it has: imgs"):
        opened(tmp_path, test=0)


@pytest.mark.parametrize(
    ("imgs", "masks", "message"),
    [
        ((3, 64, 64, 3), (3, 6, 64, 64, 1), r"imgs has the shape Nx64x64x3, expected Nx35x35x3: is its layout multi_dsprites or objects_room\?"),
        ((3, 3, 35, 35), (3, 4, 35, 35, 1), r"imgs has the shape Nx3x35x35, expected Nx35x35x3"),
        ((3, 35, 35, 3), (3, 35, 35, 4, 1), r"masks has the shape Nx35x35x4x1, expected Nx4x35x35x1"),
        ((3, 35, 35, 3), (2, 4, 35, 35, 1), r"different numbers of rows: \[2, 3\]"),
    ],
)  # fmt: skip
def test_wrong_shapes_are_refused(
    tmp_path: Path, imgs: tuple[int, ...], masks: tuple[int, ...], message: str
) -> None:
    write(tmp_path / "tetrominoes.h5", "train", np.zeros(imgs, np.uint8), np.zeros(masks, np.uint8))
    with pytest.raises(ObjbenchError, match=message):
        opened(tmp_path, test=0)


def test_a_dataset_of_words_is_refused(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    with h5py.File(tmp_path / "tetrominoes.h5", "w") as file:
        file["train/imgs"] = np.zeros((1, 35, 35, 3), "S1")
        file["train/masks"] = arrays["masks"][:1]
    with pytest.raises(ObjbenchError, match=r"/train/imgs holds \|S1, expected numbers"):
        opened(tmp_path, test=0)


def damages() -> Iterator[tuple[str, tuple[int, ...], float, str]]:
    yield "imgs", (6, 1, 2, 0), 256, "the image holds 256, expected whole numbers 0..255"
    yield "imgs", (6, 1, 2, 0), -1, "the image holds -1, expected"
    yield "imgs", (6, 1, 2, 0), 0.5, "the image holds 0.5, expected"
    yield "imgs", (6, 1, 2, 0), np.nan, "the image holds nan, expected"
    yield "masks", (6, 0, 1, 2, 0), 0.25, "the masks hold 0.25, expected"
    yield "masks", (6, 0, 1, 2, 0), 7, "its masks hold 0, 7, 255, expected 0 and 1 or 0 and 255"
    yield "masks", (6, 0, 0, 1, 0), 0, "row 0, column 1 lies in 0 entity masks"


@pytest.mark.parametrize(("name", "place", "value", "message"), list(damages()))
def test_wrong_values_name_the_row(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    place: tuple[int, ...],
    value: float,
    message: str,
) -> None:
    monkeypatch.setattr(emorl, "SCENES_PER_JOB", 4)
    with h5py.File(folder / "tetrominoes.h5", "a") as file:
        values = file[f"train/{name}"][:].astype(np.float32)
        assert values[(6, 0, 0, 1, 0)[: values.ndim]] in (0, 255)
        values[place] = value
        del file[f"train/{name}"]
        file[f"train/{name}"] = values
    with pytest.raises(ObjbenchError, match=rf"tetrominoes.h5: /train, row 6: .*{re.escape(message)}"):
        scenes(complete(folder, test=0))
