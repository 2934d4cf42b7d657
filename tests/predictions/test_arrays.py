"""Predictions in .npz and .npy files: what is accepted, how it is read, and what each refusal says."""

from __future__ import annotations

import errno
import os
import re
import warnings
import zipfile

import numpy as np
import pytest
import torch

from objbench.errors import ObjbenchError, RequestError
from objbench.metrics import Evaluator
from objbench.predictions import Target, batch, open_predictions
from objbench.train.predictions_folder import external_name

H, W = 4, 6
KEYS = ["00000007", "00000010", "00000011", "00000123", "00000200"]
TARGET = Target("toy test", KEYS, (H, W))
CPU = torch.device("cpu")


@pytest.fixture
def labels():
    return np.random.default_rng(0).integers(0, 4, (5, H, W)).astype(np.uint8)


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch):
    monkeypatch.setattr(batch, "BATCH_IMAGES", 2)


def saved(folder, **arrays):
    np.savez(folder / "p.npz", **arrays)
    return folder / "p.npz"


def read(path, target=TARGET):
    """Label maps in the order of the split, and the reconstruction."""
    with open_predictions(path) as predictions:
        predictions.check(target)
        batches = list(predictions.batches(target, CPU))
    rows = [row for batch in batches for row in batch.rows]
    assert sorted(rows) == list(range(len(target.keys)))
    order = np.argsort(rows)
    found = torch.cat([batch.labels for batch in batches])[order].long().numpy()
    painted = [batch.reconstruction for batch in batches if batch.reconstruction is not None]
    return found, torch.cat(painted)[order] if painted else None


def refusal(path, target=TARGET, error=ObjbenchError):
    with pytest.raises(ObjbenchError) as caught:
        read(path, target)
    assert type(caught.value) is error
    return str(caught.value)


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "<i4", ">i4", "u4", "i8", "u8", "f2", "f4", "f8"])
def test_label_maps_of_every_type_are_read(tmp_path, labels, dtype):
    found, painted = read(saved(tmp_path, masks=labels.astype(dtype)))
    assert np.array_equal(found, labels)
    assert painted is None


def test_bool_label_maps_have_two_segments(tmp_path, labels):
    found, _ = read(saved(tmp_path, masks=labels > 1))
    assert np.array_equal(found, labels > 1)


def test_label_maps_may_have_a_channel(tmp_path, labels):
    found, _ = read(saved(tmp_path, masks=labels[:, None]))
    assert np.array_equal(found, labels)


@pytest.mark.parametrize("dtype", ["?", "u1", "i2", ">u2", "u4", "i8", "u8", "f2", "f4", ">f8"])
def test_planes_of_every_type_are_scored_by_their_arg_max(tmp_path, labels, dtype):
    planes = (labels[:, None] == np.arange(4)[:, None, None]).astype(dtype)
    for masks in (planes, planes[:, :, None]):
        found, _ = read(saved(tmp_path, masks=masks))
        assert np.array_equal(found, labels)


@pytest.mark.parametrize("dtype", ["<u8", ">u8"])
def test_the_largest_numbers_are_above_small_ones(tmp_path, labels, dtype):
    planes = np.where(labels[:, None] == np.arange(4)[:, None, None], np.iinfo(np.uint64).max, np.uint64(1))
    found, _ = read(saved(tmp_path, masks=planes.astype(dtype)))
    assert np.array_equal(found, labels)


def test_the_lowest_plane_wins_a_tie(tmp_path):
    masks = np.zeros((5, 3, H, W), np.uint8)
    masks[:, 1:] = 9
    found, _ = read(saved(tmp_path, masks=masks))
    assert (found == 1).all()


@pytest.mark.parametrize("dtype", ["?", "u1", "i8"])
def test_pixels_of_no_plane_are_a_segment_of_their_own(tmp_path, labels, dtype):
    objects = (labels[:, None] == np.arange(1, 4)[:, None, None]).astype(dtype)  # without the background
    found, _ = read(saved(tmp_path, masks=objects))
    assert np.array_equal(found, (labels - 1) % 4)  # 3, one beyond the last plane, for the background
    soft, _ = read(saved(tmp_path, masks=objects.astype("f4")))  # soft masks may tie at 0
    assert np.array_equal(soft, np.maximum(labels, 1) - 1)


def test_an_npy_holds_masks(tmp_path, labels):
    np.save(tmp_path / "p.npy", labels)
    assert np.array_equal(read(tmp_path / "p.npy")[0], labels)


def test_upper_case_endings_are_read(tmp_path, labels):
    np.save(tmp_path / "p.npy", labels)
    assert np.array_equal(read((tmp_path / "p.npy").rename(tmp_path / "P.NPY"))[0], labels)
    assert np.array_equal(read(saved(tmp_path, masks=labels).rename(tmp_path / "P.NPZ"))[0], labels)
    assert external_name(tmp_path / "P.NPY", None) == "P"
    assert external_name(tmp_path / "P.Tar.gz", None) == "P"


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO])
def test_what_says_nothing_about_a_file_does_not_call_it_damaged(tmp_path, labels, monkeypatch, code):
    path = saved(tmp_path, masks=labels)

    def failing(*arguments: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(zipfile, "ZipFile", failing)
    with pytest.raises(OSError, match=os.strerror(code)) as refused, open_predictions(path) as predictions:
        predictions.check(TARGET)
    assert refused.value.filename == str(path)


def test_compressed_archives_are_read(tmp_path, labels):
    np.savez_compressed(tmp_path / "p.npz", masks=labels)
    assert np.array_equal(read(tmp_path / "p.npz")[0], labels)


def test_reconstructions_are_in_image_units_and_not_clamped(tmp_path, labels):
    painted = np.random.default_rng(1).uniform(-0.4, 1.4, (5, 3, H, W)).astype(np.float32)
    assert np.array_equal(read(saved(tmp_path, masks=labels, reconstruction=painted))[1], painted)


def test_a_perfect_byte_reconstruction_has_no_error(tmp_path, labels):
    images = np.random.default_rng(1).integers(0, 256, (5, 3, H, W)).astype(np.uint8)
    found, painted = read(saved(tmp_path, masks=labels, reconstruction=images))
    evaluator = Evaluator()
    evaluator.update(torch.from_numpy(found), torch.from_numpy(labels), painted, torch.from_numpy(images))
    assert evaluator.compute()["mse"]["mean"] == 0.0


@pytest.mark.parametrize(
    "keys",
    [
        np.array(KEYS),
        np.array(KEYS, dtype="S"),
        np.array([int(key) for key in KEYS]),
        np.array(["7", "010", "11", "123", "200"]),
    ],
)
def test_keys_say_which_image_it_is(tmp_path, labels, keys):
    order = [3, 0, 4, 2, 1]
    found, _ = read(saved(tmp_path, masks=labels[order], keys=keys[order]))
    assert np.array_equal(found, labels)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ([7, 8, 9, 12, 123], "no image of it has the key 8, 9, 12; no prediction for 00000010, 00000011, "),
        ([7, 7, 10, 10, 11], "more than one prediction for 00000007, 00000010; no prediction for 00000123"),
        ([-7, 10, 11, 123, 200], "no image of it has the key -7; no prediction for 00000007"),
        (
            [1, 2, 3, 4, 5],
            "the key 1, 2, 3 and 2 more; no prediction for 00000007, 00000010, 00000011 and 2 more",
        ),
    ],
)
def test_wrong_keys_are_named(tmp_path, labels, keys, message):
    told = refusal(saved(tmp_path, masks=labels, keys=np.array(keys)))
    assert "p.npz does not fit toy test (5 images, keys 00000007 to 00000200): " in told
    assert message in told


def test_a_partial_prediction_names_the_missing_images(tmp_path, labels):
    told = refusal(saved(tmp_path, masks=labels[:3], keys=np.array(KEYS[:3])))
    assert told.endswith(": no prediction for 00000123, 00000200")


def zeros(*shape, dtype="f4"):
    return np.zeros(shape, dtype)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"mask": zeros(5, H, W)}, "unknown array 'mask': did you mean 'masks'?"),
        ({"masks": zeros(5, H, W), "image": zeros(5)}, "unknown array 'image'"),
        ({"keys": np.arange(5)}, "no array 'masks'; found keys"),
        ({"masks": zeros(4, H, W, dtype="u1")}, "predictions of 4 images, expected 5: all of toy test"),
        ({"masks": zeros(5, W, H, dtype="u1")}, "expected images of 4x6, found 6x4 (shape (5, 6, 4))"),
        ({"masks": zeros(5, 3, 8, 12)}, "expected images of 4x6, found 8x12"),
        ({"masks": zeros(5, H, W, 3)}, "planes in last place, expected them before height and width: save np.moveaxis(masks, -1, 1)"),
        ({"masks": zeros(5, 3, H, W, 1)}, "save np.moveaxis(masks, -1, 2)"),
        ({"masks": zeros(5, 2, 3, H, W)}, "expected label maps (N,H,W) or planes (N,M,H,W), found"),
        ({"masks": zeros(H, W)}, "expected label maps (N,H,W) or planes (N,M,H,W), found float32 (4, 6)"),
        ({"masks": np.float32(0)}, "masks is a single value, expected one entry per image"),
        ({"masks": zeros(5, 1, H, W)}, "is a single plane, whose arg-max is 0 everywhere"),
        ({"masks": zeros(5, 1, H, W, dtype="?")}, "is a single plane"),
        ({"masks": zeros(5, 0, H, W)}, "has 0 planes, expected 2 to 1,024"),
        ({"masks": zeros(5, 1025, H, W, dtype="?")}, "has 1,025 planes, expected 2 to 1,023"),
        ({"masks": zeros(5, H, W, dtype="c8")}, "of integers, bool or float16 to float64, found complex64"),
        ({"masks": zeros(5, H, W, dtype="U3")}, "found <U3"),
        ({"masks": np.array([None] * 5)}, "an array of Python objects, which is not read because that would run code"),
        ({"masks": np.asfortranarray(zeros(5, H, W))}, "in Fortran order, which cannot be read image by image"),
        ({"masks": zeros(5, H, W), "keys": np.arange(4)}, "masks are of 5 images, keys of 4"),
        ({"masks": zeros(5, H, W), "keys": zeros(5)}, "expected one string or integer per image, found float32 (5,)"),
        ({"masks": zeros(5, H, W), "reconstruction": zeros(4, 3, H, W)}, "masks are of 5 images, reconstruction of 4"),
        ({"masks": zeros(5, H, W), "reconstruction": zeros(5, H, W, 3)}, "channels in last place, expected them before height and width: save np.moveaxis(reconstruction, -1, 1)"),
        ({"masks": zeros(5, H, W), "reconstruction": zeros(5, 3, 8, 8)}, "reconstruction: expected images of 4x6, found 8x8"),
        ({"masks": zeros(5, H, W), "reconstruction": zeros(5, 1, H, W)}, "expected (N,3,H,W), float in [0,1] or uint8, found float32 (5, 1, 4, 6)"),
        ({"masks": zeros(5, H, W), "reconstruction": zeros(5, 3, H, W, dtype="i4")}, "float in [0,1] or uint8, found int32"),
    ],
)  # fmt: skip
def test_what_the_headers_say_is_refused_before_any_value_is_read(tmp_path, arrays, message):
    told = refusal_of_fit(saved(tmp_path, **arrays))
    assert str(tmp_path / "p.npz") in told
    assert message in told


def refusal_of_fit(path):
    with pytest.raises(ObjbenchError) as caught, open_predictions(path) as predictions:
        predictions.check(TARGET)
    return str(caught.value)


def spoilt(values, image, value):
    values = values.copy()
    values[image, ..., 1, 2] = value
    return values


def test_nan_in_masks_is_named_by_key_over_all_batches(tmp_path):
    masks = zeros(5, 3, H, W)
    for image in (0, 2, 3, 4):
        masks = spoilt(masks, image, np.nan)
    told = refusal(saved(tmp_path, masks=masks))
    assert told.endswith("p.npz: masks hold NaN: 00000007, 00000011, 00000123 and 1 more")


def test_infinite_logits_are_ordinary_values(tmp_path):
    masks = zeros(5, 3, H, W)
    masks[:, 0], masks[:, 2] = -np.inf, np.inf
    assert (read(saved(tmp_path, masks=masks))[0] == 2).all()


@pytest.mark.parametrize(
    ("dtype", "value", "message"),
    [
        ("i4", -1, "labels must be 0 to 1023, 0 being the background: 00000123 (from -1 to 0)"),
        ("u2", 1024, "00000123 (from 0 to 1024)"),
        ("u8", 2**64 - 1, "labels must be 0 to 1023"),
        ("f4", 0.5, "float label maps must hold whole numbers: 00000123"),
        ("f4", np.nan, "masks hold NaN: 00000123"),
        ("f4", np.inf, "labels must be 0 to 1023, 0 being the background: 00000123 (from 0 to inf)"),
    ],
)
def test_labels_that_are_none_are_named_by_key(tmp_path, dtype, value, message):
    told = refusal(saved(tmp_path, masks=spoilt(zeros(5, H, W, dtype=dtype), 3, value)))
    assert message in told


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_a_reconstruction_that_is_not_finite_is_named_by_key(tmp_path, labels, value):
    painted = spoilt(zeros(5, 3, H, W), 1, value)
    told = refusal(saved(tmp_path, masks=labels, reconstruction=painted))
    assert told.endswith("the reconstruction holds NaN or infinity: 00000010")


def test_label_1023_is_the_last_that_is_accepted(tmp_path):
    masks = np.full((5, H, W), 1023, np.uint16)
    assert (read(saved(tmp_path, masks=masks))[0] == 1023).all()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("kept", [0, 0.1, 0.6, 0.95])
def test_a_truncated_npz_is_refused(tmp_path, labels, save, kept):
    path = tmp_path / "p.npz"
    save(path, masks=labels)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    assert "p.npz: damaged or cut short (" in refusal(path)


def test_a_flipped_bit_is_seen_by_the_checksum(tmp_path, labels):
    path = saved(tmp_path, masks=labels)
    content = bytearray(path.read_bytes())
    content[content.index(labels.tobytes()) + 60] ^= 1
    path.write_bytes(content)
    assert "damaged or cut short (Bad CRC-32" in refusal(path)


@pytest.mark.parametrize("kept", [3, 40, 200])
def test_a_truncated_npy_is_refused(tmp_path, labels, kept):
    path = tmp_path / "p.npy"
    np.save(path, labels)
    path.write_bytes(path.read_bytes()[:kept])
    assert re.search("p.npy: damaged, or not an array|p.npy: damaged or cut short", refusal(path))


def test_by_order_is_for_pictures(tmp_path, labels):
    path = saved(tmp_path, masks=labels)
    with pytest.raises(RequestError, match="--by-order is for PNGs"), open_predictions(path, by_order=True):
        pass


@pytest.mark.parametrize("name", ["nothing.npz", "masks.h5", "masks.zip"])
def test_anything_else_is_a_wrong_request(tmp_path, name):
    (tmp_path / "masks.h5").write_bytes(b"")
    message = refusal(tmp_path / name, error=RequestError)
    assert "expected the folder of a run, or predictions: an .npz or .npy of masks" in message


def test_only_one_batch_is_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "BATCH_BYTES", 3 * H * W * 4)
    sizes = []
    with open_predictions(saved(tmp_path, masks=zeros(5, 3, H, W))) as predictions:
        predictions.check(TARGET)
        sizes += [len(batch.rows) for batch in predictions.batches(TARGET, CPU)]
    assert sizes == [1] * 5


def header(text, version=1):
    """The bytes of an .npy whose header is this text."""
    size = len(text).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + size + text.encode("latin-1")


def described(descr="'|u1'", shape=f"(5, {H}, {W})", order="False"):
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}}}\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (described(shape=f"(-5, {H}, {W})"), f"its shape is (-5, {H}, {W})"),
        (
            described(shape=f"({10**30}, {H}, {W})"),
            "predictions of 1,000,000,000,000,000,000,000,000,000,000 images",
        ),
        (described(shape=f"(5, {10**9}, {H}, {W})"), "has 1,000,000,000 planes"),
        (described(shape="'abc'"), "damaged, or not an array"),
        (described(descr="'<f999999999999999999999'"), "damaged, or not an array"),
        (described(descr="[('a', '<f4', 99999999999999)]"), "damaged, or not an array"),
        (described(descr="9"), "damaged, or not an array"),
        (described(descr="'|O'"), "an array of Python objects"),
        ("[" * 4000, "damaged, or not an array"),
        ("{'descr': " + "9" * 5000 + "}", "damaged, or not an array"),
        ("{'descr': \n'", "damaged, or not an array"),
        ("{1L: (", "damaged, or not an array"),
        ("-" * 9000 + "1", "damaged, or not an array"),
        ("x" * 60000, "damaged, or not an array"),
    ],
)
def test_a_hostile_header_is_one_plain_refusal(tmp_path, content, message):
    (tmp_path / "p.npy").write_bytes(header(content) + bytes(5 * H * W))
    told = refusal(tmp_path / "p.npy")
    assert told.startswith(str(tmp_path / "p.npy"))
    assert message in told
    assert "\n" not in told


@pytest.mark.parametrize("dtype", ["<U400000000", "<U2147483647", "|S400000000"])
def test_keys_that_would_fill_the_memory_are_refused(tmp_path, labels, dtype):
    with zipfile.ZipFile(tmp_path / "p.npz", "w") as file:
        with file.open("masks.npy", "w") as member:
            np.save(member, labels)
        file.writestr("keys.npy", header(described(f"'{dtype}'", "(5,)")) + bytes(99))
    told = refusal(tmp_path / "p.npz")
    assert "p.npz: keys: " in told
    assert "needs more than 268 MB" in told or "damaged, or not an array" in told


def test_an_array_that_stands_twice_is_refused(tmp_path, labels):
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(tmp_path / "p.npz", "w") as file:
        for values in (labels, 1 - labels):
            with file.open("masks.npy", "w") as member:
                np.save(member, values)
    assert (
        refusal(tmp_path / "p.npz")
        == f"{tmp_path / 'p.npz'}: holds an array twice; found masks.npy, masks.npy"
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("é.npy".encode(), b"\xff\xa9.npy"),
        (b"PK\x03\x04\x2d", b"PK\x03\x04\xff"),
        (b"masks.npy", b"masks\n" * 600),
    ],
)
def test_damaged_names_in_an_npz_are_told_in_one_short_line(tmp_path, labels, old, new):
    path = saved(tmp_path, masks=labels, **{"é": labels})
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(ObjbenchError, match=re.escape(f"{path}: ")) as refused:
        read(path)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < len(str(path)) + 400
