"""samples.npz keeps images of every evaluation."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from objbench.errors import ObjbenchError
from objbench.train.artifacts import read_samples, sample_names, samples_key, write_samples


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


def test_definitions_of_the_metrics_share_their_samples():
    assert samples_key("test#emorl") == "test"
    assert samples_key("clevrtex/official:val#emorl") == "clevrtex/official:val"


def test_a_header_that_is_no_python_is_named(tmp_path):
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (2,  "
    entry = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with zipfile.ZipFile(tmp_path / "samples.npz", "w") as file:
        file.writestr("images.npy", entry)
    with pytest.raises(ObjbenchError, match=r"samples\.npz: damaged \(.*; remove it"):
        read_samples(tmp_path)
