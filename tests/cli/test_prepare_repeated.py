"""Images of val and test that train has, too: who says so, from prepare to the report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.commands import call
from helpers.own import png, scene, write_folder

PREPARE = ["prepare", "my_set", "--source", "folder", "--raw", "pictures", "--slots", "4", "--size", "16"]


def test_an_image_of_test_that_train_has_too_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    images = {"train": [0, 1, 2, 1, 1], "val": [3, 3], "test": [2, 4, 0, 2]}  # numbers of scenes
    for split, scenes in images.items():
        for at, number in enumerate(scenes):
            image, labels = scene(number)
            write_file(tmp_path / "pictures" / split / "images" / f"{at}.png", png(image))
            write_file(tmp_path / "pictures" / split / "masks" / f"{at}.png", png(labels[:, ::-1] * (at % 2)))
    result = call(*PREPARE)
    assert result.exit_code == 0, result.output
    train = "train: 2 of its 5 images stand there a second time"
    test = "test: 3 of its 4 images are in train, too"
    assert [line for line in result.stderr.splitlines() if " of its " in line] == [train, test]
    folder = tmp_path / "data/my_set/folder"
    splits = json.loads((folder / "manifest.json").read_text())["splits"]
    assert {name: split["repeated"] for name, split in splits.items()} == {"train": 2, "val": 0, "test": 3}
    card = (folder / "README.md").read_text()
    assert (
        "**train: 2 of its 5 images stand there a second time** (equal in every pixel).\n\n**test: 3" in card
    )
    assert test in call("verify", "my_set", "--deep").stderr
    assert f"my_set from folder; {train}; {test}" in " ".join(call("info", "my_set").stdout.split())
    assert "(4 images, 3 of the training split)" in call("run", "grid", "--dataset", "my_set").stdout
    run = next((tmp_path / "runs/my_set/folder").glob("grid*/seed-0"))
    for split in ("test", "val", "train"):
        call("evaluate", run, "--dataset", "my_set", "--split", split)
    report = json.loads(call("report", "--dataset", "my_set", "--format", "json").stdout)
    assert {row["split"]: row["repeated"] for row in report if row["kind"] == "run"} == {
        "test": 3,
        "val": None,
        "train": None,
    }
    assert "3 of 4 images are in the training split, too" in call("report", "--dataset", "my_set").stdout


def test_without_train_nobody_knows_what_it_repeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "pictures", 30)
    assert call(*PREPARE, "--train", 0).exit_code == 0
    splits = json.loads((tmp_path / "data/my_set/folder/manifest.json").read_text())["splits"]
    assert {name: split["repeated"] for name, split in splits.items()} == {"val": None, "test": None}


def write_file(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
