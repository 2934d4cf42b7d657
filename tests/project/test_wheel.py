"""The wheel: what it carries, and what it says of itself."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from email import message_from_bytes

import pytest
from helpers.paths import ROOT

import objbench


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_the_wheel_carries_all_that_is_not_code(wheel) -> None:
    files = {
        path.relative_to(ROOT).as_posix()
        for package in ("objbench", "objmae")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {"objbench/benchmarks.yaml", "objbench/py.typed"} <= files
    assert any(name.startswith("objmae/weights/") for name in files)
    assert files - set(wheel.namelist()) == set()


def test_the_wheel_carries_nothing_else(wheel) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert tops == {"objbench", "objmae", f"objbench-{objbench.__version__}.dist-info"}


def test_the_metadata_name_licence_python_and_readme(wheel) -> None:
    name = f"objbench-{objbench.__version__}.dist-info"
    metadata = message_from_bytes(wheel.read(f"{name}/METADATA"))
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert sorted(metadata.get_all("License-File")) == ["LICENSE", "NOTICE"]
    assert "Programming Language :: Python :: 3.13" in metadata.get_all("Classifier")
    assert str(metadata.get_payload()).startswith("# ")
    assert f"{name}/licenses/LICENSE" in wheel.namelist()
