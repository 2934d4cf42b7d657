"""The wheel: what it carries, and what it says of itself."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest
from helpers.paths import ROOT
from helpers.project import REPOSITORY, SITE

import objbench

ADDRESS = re.compile(
    r"https://(?:(?:raw\.)?github(?:usercontent)?\.com/[\w-]+|[\w-]+\.github\.io)/objbench\b"
)
LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the sdist, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("built")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Iterator[zipfile.ZipFile]:
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    return message_from_bytes(wheel.read(f"objbench-{objbench.__version__}.dist-info/METADATA"))


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


def test_the_metadata_name_licence_python_and_readme(wheel, metadata) -> None:
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert sorted(metadata.get_all("License-File")) == ["LICENSE", "NOTICE"]
    assert "Programming Language :: Python :: 3.13" in metadata.get_all("Classifier")
    assert f"Homepage, {REPOSITORY}" in metadata.get_all("Project-URL")
    assert f"objbench-{objbench.__version__}.dist-info/licenses/LICENSE" in wheel.namelist()


def test_the_links_of_readme_hold_on_pypi(metadata) -> None:
    """PyPI resolves no relative links: files lead to the repository, pictures to their content."""
    readme, described = (ROOT / "README.md").read_text(), metadata.get_payload(decode=True).decode()
    raw = REPOSITORY.replace("https://github.com", "https://raw.githubusercontent.com")
    links, found = LINK.findall(readme), LINK.findall(described)
    assert len(links) == len(found)
    assert any(link.endswith(".png") for link in links)
    for link, absolute in zip(links, found, strict=True):
        if link.startswith(("https:", "#")):
            assert absolute == link
        else:
            base = f"{raw}/main" if link.endswith(".png") else f"{REPOSITORY}/blob/main"
            assert absolute == f"{base}/{link}"
    assert LINK.sub("", described) == LINK.sub("", readme)


def test_the_package_index_takes_both(built: Path) -> None:
    files = sorted(map(str, built.iterdir()))
    assert len(files) == 2
    command = [sys.executable, "-m", "twine", "check", "--strict", *files]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_file_names_the_same_repository_and_site() -> None:
    """pyproject.toml states the addresses; whoever moves the project finds here what else names them."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    texts = {".cff", ".cfg", ".ipynb", ".jinja", ".json", ".md", ".py", ".toml", ".yaml", ".yml"}
    paths = [ROOT / name for name in listed.splitlines() if Path(name).suffix in texts]
    named = {path.name: ADDRESS.findall(path.read_text(encoding="utf-8")) for path in paths if path.is_file()}
    for name in ("CITATION.cff", "mkdocs.yml", "pyproject.toml"):
        assert {REPOSITORY, SITE.rstrip("/")} <= set(named[name]), name
    raw = REPOSITORY.replace("github.com", "raw.githubusercontent.com")
    known = {REPOSITORY, SITE.rstrip("/"), raw}
    assert {name: found for name, found in named.items() if set(found) - known} == {}
