"""Paths that a user named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from objbench.errors import RequestError
from objbench.paths import check_output, walk


def test_an_output_needs_its_folder(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder.png").mkdir()
    check_output(tmp_path / "new.png")
    check_output(tmp_path / "file")
    check_output(Path("/dev/stdout"))
    check_output(Path("new.png"))
    for name, message in {
        "no/such/a.png": f"--output {tmp_path}/no/such/a.png: the folder {tmp_path}/no/such does not exist; make it first",
        "file/a.png": f"--output {tmp_path}/file/a.png: the folder {tmp_path}/file is no folder",
        "folder.png": f"--output {tmp_path}/folder.png: a folder, expected the name of a file",
    }.items():
        with pytest.raises(RequestError, match=re.escape(message)):
            check_output(tmp_path / name)


def test_folders_are_walked_once_through_links_and_without_hidden_ones(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    for folder in ("root/b/.hidden", "root/b/c", "elsewhere/d"):
        (tmp_path / folder).mkdir(parents=True)
    (elsewhere / "d" / "file").write_text("")
    (root / "a").symlink_to(root / "b")
    (root / "b" / "up").symlink_to(root)
    (root / "z").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(tmp_path)
    found = {str(folder.relative_to(tmp_path)): files for folder, _, files in walk(root)}
    assert found["root/z/d"] == ["file"]
    assert {name.partition("/back")[0] for name in found} == {
        "root",
        "root/b",
        "root/b/c",
        "root/z",
        "root/z/d",
    }
    assert sum("file" in files for files in found.values()) == 1
