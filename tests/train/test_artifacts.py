"""samples.npz keeps images of every evaluation."""

from __future__ import annotations

import errno
import os
import zipfile

import numpy as np
import pytest

from objbench.errors import ObjbenchError
from objbench.train.artifacts import read_samples, sample_names, write_samples


def test_the_test_split_has_bare_names_and_other_sets_their_own(tmp_path):
    ones, twos = np.ones((2, 3)), np.full((4, 3), 2)
    write_samples(tmp_path, {"test": {"images": ones}, "clevrtex@p/official:val": {"images": twos}})
    with np.load(tmp_path / "samples.npz") as arrays:
        assert arrays.files == ["images", "clevrtex@p/official:val/images"]
    found = read_samples(tmp_path)
    assert found.keys() == {"test", "clevrtex@p/official:val"}
    assert read_samples(tmp_path, ["test"]).keys() == {"test"}
    assert sample_names(tmp_path) == {"test": {"images"}, "clevrtex@p/official:val": {"images"}}
    assert np.array_equal(found["clevrtex@p/official:val"]["images"], twos)


def test_nothing_is_kept_where_there_is_no_file(tmp_path):
    assert read_samples(tmp_path) == {}


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04"])
def test_a_damaged_file_is_named_with_the_remedy(tmp_path, content):
    (tmp_path / "samples.npz").write_bytes(content)
    with pytest.raises(ObjbenchError, match=r"samples\.npz: damaged \(.*; remove it"):
        read_samples(tmp_path)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO])
def test_a_file_that_cannot_be_read_is_not_called_damaged(tmp_path, monkeypatch, code):
    write_samples(tmp_path, {"test": {"images": np.arange(9)}})
    monkeypatch.setattr(np, "load", raising(OSError(code, os.strerror(code))))
    with pytest.raises(OSError, match=os.strerror(code)) as refused:
        read_samples(tmp_path)
    assert refused.value.filename == str(tmp_path / "samples.npz")


def raising(error):
    def failing(*arguments, **options):
        raise error

    return failing


def test_a_header_that_is_no_python_is_named(tmp_path):
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (2,  "
    entry = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with zipfile.ZipFile(tmp_path / "samples.npz", "w") as file:
        file.writestr("images.npy", entry)
    with pytest.raises(ObjbenchError, match=r"samples\.npz: damaged \(.*; remove it"):
        read_samples(tmp_path)


def test_a_damaged_directory_that_hides_arrays_is_named(tmp_path):
    """One bit in the length of an entry's comment makes zipfile skip the entries behind it."""
    write_samples(tmp_path, {"test": {name: np.arange(9) for name in ("images", "masks", "truth")}})
    path = tmp_path / "samples.npz"
    content = bytearray(path.read_bytes())
    first = content.index(b"PK\x01\x02")
    content[first + 32] = content.index(b"PK\x05\x06") - first - 46 - len("images.npy")
    path.write_bytes(content)
    with np.load(path) as arrays:
        assert arrays.files == ["images"]  # numpy sees nothing wrong
    with pytest.raises(ObjbenchError, match=r"samples\.npz: damaged \(its directory does not list"):
        read_samples(tmp_path)


@pytest.mark.parametrize("bit", range(8))
def test_a_damaged_name_in_the_directory_is_named(tmp_path, bit):
    write_samples(tmp_path, {"test": {"images": np.arange(9)}, "clevrtex é": {"images": np.arange(3)}})
    path = tmp_path / "samples.npz"
    assert read_samples(tmp_path).keys() == {"test", "clevrtex é"}
    content = bytearray(path.read_bytes())
    content[content.rindex(b"clevrtex")] ^= 1 << bit
    path.write_bytes(content)
    with pytest.raises(ObjbenchError, match=r"samples\.npz: damaged"):
        read_samples(tmp_path)
