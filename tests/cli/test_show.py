"""objbench show, as a user gives it."""

from __future__ import annotations

import json
from pathlib import Path

from helpers.commands import call_with_toy
from PIL import Image


def test_show_writes_a_picture_and_prints_its_path(prepared_toy: Path) -> None:
    found = call_with_toy("show", "toy", "--count", "3")
    assert (found.exit_code, found.stdout) == (0, "toy-toy-test.png\n")
    with Image.open("toy-toy-test.png") as sheet:
        assert sheet.format == "PNG"
    found = call_with_toy("show", "toy", "--split", "val", "--output", "sheet.png", "--json")
    assert json.loads(found.stdout) == {"path": "sheet.png", "keys": ["00000000", "00000002", "00000004"]}
    assert Path("sheet.png").is_file()


def test_the_folder_of_a_picture_has_to_be_there(prepared_toy: Path) -> None:
    found = call_with_toy("show", "toy", "--output", "new/sheet.png")
    assert (found.exit_code, found.stdout) == (2, "")
    assert "--output new/sheet.png: the folder new does not exist" in found.stderr
    assert not Path("new").exists()
