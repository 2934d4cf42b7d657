from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from objbench.errors import ObjbenchError
from objbench.stored import Stored


class Note(Stored):
    """A file for tests."""

    kind: ClassVar[str] = "a note"
    remedy: ClassVar[str] = "write it again"

    count: int
    names: list[str] = []


class ReadableNote(Note):
    """The same for people."""

    indent: ClassVar[int | None] = 1


def test_what_was_saved_is_read(tmp_path: Path) -> None:
    note = Note(count=2, names=["a"])
    note.save(tmp_path / "note.json")
    assert Note.read(tmp_path / "note.json") == note
    assert Note.read_if_valid(tmp_path / "note.json") == note


def test_a_file_is_compact_unless_people_read_it(tmp_path: Path) -> None:
    Note(count=2).save(tmp_path / "compact.json")
    ReadableNote(count=2).save(tmp_path / "readable.json")
    assert (tmp_path / "compact.json").read_text() == '{"count":2,"names":[]}'
    assert (tmp_path / "readable.json").read_text() == '{\n "count": 2,\n "names": []\n}\n'


def test_a_missing_file_is_none(tmp_path: Path) -> None:
    assert Note.read(tmp_path / "none.json") is None
    assert Note.read_if_valid(tmp_path / "none.json") is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"count": 2', r"damaged \(Invalid JSON: EOF while parsing an object.*\); write it again"),
        (b'{"names": ["\xff"]}', r"damaged \(Invalid JSON: invalid unicode.*\); write it again"),
        (b"[]", r"not a note of this version of objbench \(Input should be an object\); write it again"),
        (
            b'{"count": "many"}',
            r"not a note of this version of objbench \(count: Input should be a valid int",
        ),
        (b'{"count": 2, "names": [3]}', r"not a note of .* \(names\.0: Input should be a valid string\)"),
        (b'{"count": 2, "date": 3}', r"not a note of .* \(date: Extra inputs are not permitted\)"),
    ],
)
def test_a_damaged_file_is_named_with_its_first_fault(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "note.json"
    path.write_bytes(content)
    with pytest.raises(ObjbenchError, match=rf"{path}: {message}"):
        Note.read(path)
    assert Note.read_if_valid(path) is None
