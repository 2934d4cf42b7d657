"""Predictions in folders and archives of PNGs."""

from __future__ import annotations

import shutil
import tarfile
import tempfile

import numpy as np
import pytest
import torch
from helpers.raw_png import raw_png
from helpers.special_files import PIPE_AND_LINK
from PIL import Image

from objbench.data.format import png
from objbench.errors import ObjbenchError
from objbench.predictions import Target, batch, files, open_predictions

H, W = 4, 6
KEYS = ["00000007", "00000010", "00000011"]
TARGET = Target("toy test", KEYS, (H, W))
LABELS = np.random.default_rng(0).integers(0, 4, (3, H, W)).astype(np.uint8)
IMAGES = np.random.default_rng(1).integers(0, 256, (3, H, W, 3)).astype(np.uint8)


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch):
    monkeypatch.setattr(batch, "BATCH_IMAGES", 2)


@pytest.fixture
def folder(tmp_path):
    """`<key>.png` of every image."""
    path = tmp_path / "pngs"
    path.mkdir()
    for key, labels in zip(KEYS, LABELS, strict=True):
        Image.fromarray(labels).save(path / f"{key}.png")
    return path


def read(path, by_order=False):
    with open_predictions(path, by_order) as predictions:
        predictions.check(TARGET)
        batches = list(predictions.batches(TARGET, torch.device("cpu")))
    painted = [batch.reconstruction for batch in batches if batch.reconstruction is not None]
    labels = torch.cat([batch.labels for batch in batches]).numpy()
    assert [row for batch in batches for row in batch.rows] == [0, 1, 2]
    return labels, torch.cat(painted) if painted else None


def refusal(path, by_order=False):
    with pytest.raises(ObjbenchError) as caught:
        read(path, by_order)
    assert type(caught.value) is ObjbenchError
    return str(caught.value)


def packed(folder, suffix, inside="preds"):
    path = folder.with_name(f"packed{suffix}")
    with tarfile.open(path, "w" if suffix.lower() == ".tar" else "w:gz") as archive:
        archive.add(folder, inside)
    return path


def identity(path):
    with open_predictions(path) as predictions:
        return predictions.identity()


@pytest.mark.parametrize("form", ["folder", ".tar", ".tar.gz", ".tgz", ".TAR", ".TGZ"])
def test_a_folder_and_its_archives_are_read_alike(folder, form):
    path = folder if form == "folder" else packed(folder, form)
    labels, painted = read(path)
    assert np.array_equal(labels, LABELS)
    assert painted is None
    assert identity(path)["sha256"] == identity(folder)["sha256"]


def test_names_are_those_of_a_shard_or_keys_without_zeros(folder):
    (folder / f"{KEYS[0]}.png").rename(folder / "7.png")
    (folder / f"{KEYS[1]}.png").rename(folder / f"{KEYS[1]}.mask.png")
    assert np.array_equal(read(folder)[0], LABELS)


def test_hidden_files_and_other_types_are_left_alone(folder):
    (folder / "._00000007.png").write_bytes(b"a fork of macOS")
    (folder / "notes.txt").write_text("by model 3")
    assert np.array_equal(read(folder)[0], LABELS)
    assert np.array_equal(read(packed(folder, ".tar"))[0], LABELS)


def test_sixteen_bits_and_palettes_hold_labels(folder):
    wide = LABELS[0].astype(np.uint16) + 300
    Image.fromarray(wide).save(folder / f"{KEYS[0]}.png")
    indexed = Image.fromarray(LABELS[1]).convert("P")
    indexed.putpalette([250, 3, 3, 9, 9, 9, 200, 0, 0, 1, 2, 3])
    indexed.putdata(LABELS[1].ravel().tolist())
    indexed.save(folder / f"{KEYS[1]}.png")
    labels, _ = read(folder)
    assert np.array_equal(labels[0], wide)
    assert np.array_equal(labels[1:], LABELS[1:])


def test_reconstructions_stand_beside_the_label_maps(folder):
    for key, image in zip(KEYS, IMAGES, strict=True):
        (folder / f"{key}.reconstruction.png").write_bytes(png.encode(image))
    _, painted = read(folder)
    assert torch.equal(painted, torch.from_numpy(IMAGES.transpose(0, 3, 1, 2)).double() / 255)


def test_by_order_takes_the_natural_order_of_the_names(tmp_path):
    for name, labels in zip(("img_2", "img_10", "img_10b"), LABELS, strict=True):
        Image.fromarray(labels).save(tmp_path / f"{name}.png")
    assert np.array_equal(read(tmp_path, by_order=True)[0], LABELS)
    assert "no image of it has the key img_2, img_10, img_10b" in (told := refusal(tmp_path))
    assert told.endswith("files are named <key>.png; --by-order takes them in the order of their names")


def test_by_order_needs_one_picture_per_image(folder):
    shutil.copy(folder / f"{KEYS[0]}.png", folder / "x.png")
    assert "predictions of 4 images, expected 3" in refusal(folder, by_order=True)


def test_another_content_order_or_name_has_another_identity(folder):
    first = identity(folder)["sha256"]
    (folder / f"{KEYS[0]}.png").rename(folder / "x.png")
    renamed = identity(folder)["sha256"]
    png_of_zeros = png.encode(np.zeros((H, W), np.uint8))
    (folder / "x.png").write_bytes(png_of_zeros)
    assert len({first, renamed, identity(folder)["sha256"]}) == 3


def test_a_missing_picture_is_named(folder):
    (folder / f"{KEYS[1]}.png").unlink()
    assert refusal(folder).endswith("keys 00000007 to 00000011): no prediction for 00000010")


def test_two_pictures_of_one_image_are_named(folder):
    shutil.copy(folder / f"{KEYS[1]}.png", folder / f"{KEYS[1]}.mask.png")
    assert "more than one prediction for 00000010" in refusal(folder)


def test_reconstructions_must_be_of_all_images(folder):
    (folder / f"{KEYS[2]}.reconstruction.png").write_bytes(png.encode(IMAGES[0]))
    assert "without a reconstruction, or the reverse, for 00000007, 00000010; expected" in refusal(folder)


@pytest.mark.parametrize(
    ("picture", "found"),
    [
        (Image.fromarray(IMAGES[0]), "8-bit RGB"),
        (Image.fromarray(IMAGES[0]).convert("RGBA"), "8-bit RGBA"),
        (Image.fromarray(LABELS[0]).convert("LA"), "8-bit gray with alpha"),
    ],
)
def test_colours_are_no_labels(folder, picture, found):
    picture.save(folder / f"{KEYS[0]}.png")
    told = refusal(folder)
    assert told.endswith(
        f"Image.fromarray(labels.astype(np.uint8)).save(name) writes it: 00000007.png ({found})"
    )


def test_a_reconstruction_must_have_colours(folder):
    for key in KEYS:
        Image.fromarray(LABELS[0]).save(folder / f"{key}.reconstruction.png")
    assert "a reconstruction is an 8-bit RGB PNG" in refusal(folder)


def test_every_picture_of_another_size_is_counted(folder):
    for key in KEYS[1:]:
        Image.fromarray(LABELS[0].T).save(folder / f"{key}.png")
    told = refusal(folder)
    assert told.endswith("expected images of 4x6 pixels: 00000010.png (6x4), 00000011.png (6x4)")


def test_labels_beyond_the_limit_are_named(folder):
    Image.fromarray(np.full((H, W), 1024, np.uint16)).save(folder / f"{KEYS[2]}.png")
    assert "labels must be 0 to 1023, 0 being the background: 00000011 (from 1024 to 1024)" in refusal(folder)


def test_damaged_pictures_are_named(folder):
    (folder / f"{KEYS[0]}.png").write_bytes(b"")
    (folder / f"{KEYS[1]}.png").write_bytes(b"GIF89a" + bytes(50))
    assert refusal(folder).endswith("not a PNG, or a damaged one: 00000007.png, 00000010.png")


def test_a_picture_that_breaks_off_is_named(folder):
    path = folder / f"{KEYS[1]}.png"
    path.write_bytes(path.read_bytes()[:45])
    assert "pngs: cannot be decoded: 00000010.png (" in refusal(folder)


@pytest.mark.parametrize("form", ["8 bit", "16 bit", "palette", "reconstruction"])
def test_no_flipped_bit_is_read(folder, form):
    for key, image in zip(KEYS, IMAGES, strict=True):
        (folder / f"{key}.reconstruction.png").write_bytes(png.encode(image))
    path = folder / f"{KEYS[1]}{'.reconstruction' if form == 'reconstruction' else ''}.png"
    if form == "16 bit":
        Image.fromarray(LABELS[1].astype(np.uint16) + 300).save(path)
    elif form == "palette":
        Image.fromarray(LABELS[1]).convert("P").save(path)
    content = path.read_bytes()
    for bit in np.random.default_rng(1).permutation(8 * (len(content) - 33))[:120].tolist():
        damaged = bytearray(content)
        damaged[33 + bit // 8] ^= 1 << bit % 8  # behind the header, which `check` reads first
        path.write_bytes(damaged)
        assert f"pngs: cannot be decoded: {path.name} (" in refusal(folder)
    path.write_bytes(content)
    read(folder)


def test_a_folder_without_pictures_says_what_is_there(tmp_path):
    path = tmp_path / "preds"
    (path / "masks").mkdir(parents=True)
    assert refusal(path).endswith("found only the folders masks/; give one of these")
    (path / "a.jpg").touch()
    assert refusal(path).endswith("expected label maps in PNGs, <key>.png, found a.jpg")
    shutil.rmtree(path)
    path.mkdir()
    assert refusal(path).endswith("found an empty folder")


@pytest.mark.parametrize("suffix", [".tar", ".tgz"])
@pytest.mark.parametrize("kept", [0, 0.3, 0.5])
def test_a_truncated_archive_is_refused(folder, suffix, kept):
    path = packed(folder, suffix)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    assert "damaged" in refusal(path)


def test_an_archive_that_unpacks_to_far_more_than_it_is_stops_at_the_limit(folder, monkeypatch, tmp_path):
    (folder / "zeros.png").write_bytes(bytes(1 << 20))
    path = packed(folder, ".tgz")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(files, "CHUNK", 1 << 12)
    assert "no image of it has the key" in refusal(path)  # 2 GB are allowed
    monkeypatch.setattr(files, "MOST_UNPACKED", 400_000)
    assert refusal(path) == (
        f"{path}: unpacks to more than 0.4 MB, which is the limit for an archive of 0.0 MB; give a .tar, or the folder "
        "itself"
    )
    monkeypatch.setattr(files, "_MOST_RATIO", 1000)
    assert "no image of it has the key" in refusal(path)


def test_an_archive_cut_between_two_files_is_refused(folder):
    path = packed(folder, ".tar")
    with tarfile.open(path) as archive:
        end = archive.getmember(f"preds/{KEYS[1]}.png").offset
    path.write_bytes(path.read_bytes()[:end])
    assert "packed.tar: damaged or cut short after 1 files (no end mark)" in refusal(path)


def test_an_archive_with_a_name_twice_is_refused(folder):
    (folder / "again").mkdir()
    shutil.copy(folder / f"{KEYS[0]}.png", folder / "again")
    assert refusal(packed(folder, ".tar")).endswith("more than one file called 00000007.png")


def tar_of(path, *members, between=b""):
    """An archive of these headers, each followed by `between`."""
    formats = (tarfile.PAX_FORMAT if info.pax_headers else tarfile.GNU_FORMAT for info in members)
    content = (info.tobuf(form) + between for info, form in zip(members, formats, strict=True))
    path.write_bytes(b"".join(content) + bytes(10_240))
    return path


def named(name, size=0, kind=tarfile.REGTYPE, pax_size=None):
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    info.pax_headers = {} if pax_size is None else {"size": pax_size}
    return info


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (named("0.png", pax_size="-5"), "a size of -5 bytes"),
        (named("0.png", pax_size=str(10**20)), "damaged"),
        (named("0.png", size=2**40), "damaged"),
        (named("0.png", size=600, kind=tarfile.GNUTYPE_SPARSE), "is a sparse file"),
        (named("0.png", size=2**62, kind=tarfile.GNUTYPE_LONGNAME), "damaged"),
        (named("0.png", size=2**62, kind=tarfile.XHDTYPE), "damaged"),
    ],
)
def test_sizes_that_an_archive_cannot_hold_are_refused(tmp_path, info, message):
    path = tar_of(tmp_path / "p.tar", info)
    told = refusal(path)
    assert told.startswith(f"{path}: ")
    assert message in told
    assert "\n" not in told


@pytest.mark.parametrize("kind", [b"1", b"2", b"3", b"5", b"6"])  # links, a device, a folder, a pipe
def test_what_is_no_file_in_an_archive_is_left_alone(tmp_path, kind):
    info = named("../../0.png", kind=kind)
    info.linkname = "/etc/passwd"
    path = tar_of(tmp_path / "p.tar", info)
    assert refusal(path) == f"{path}: expected label maps in PNGs, <key>.png, found nothing"


def test_a_chain_of_long_names_is_damage(tmp_path):
    chain = [named("x", size=3, kind=tarfile.GNUTYPE_LONGNAME)] * 3000
    told = refusal(tar_of(tmp_path / "p.tar", *chain, between=b"abc" + bytes(509)))
    assert "not a tar archive, or a damaged one" in told


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_gray_of_few_bits_has_the_same_labels(folder, bits):
    labels = LABELS % 2**bits
    for key, image in zip(KEYS, labels, strict=True):
        packed = np.packbits(np.unpackbits(image[..., None], axis=-1)[..., -bits:].reshape(H, -1), axis=-1)
        (folder / f"{key}.png").write_bytes(raw_png(W, H, bits, 0, [row.tobytes() for row in packed]))
    assert np.array_equal(read(folder)[0], labels)


@pytest.mark.parametrize(("found", "make"), PIPE_AND_LINK)
def test_names_of_label_maps_behind_which_there_is_no_file_are_refused(folder, found, make):
    (folder / f"{KEYS[0]}.png").unlink()
    make(folder / f"{KEYS[0]}.png")
    with (
        pytest.raises(ObjbenchError, match=rf"{KEYS[0]}\.png: {found}, expected a file"),
        open_predictions(folder),
    ):
        pass
