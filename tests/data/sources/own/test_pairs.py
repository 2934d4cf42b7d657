from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.special_files import PIPE_AND_LINK

from objbench.data.sources.own.pairs import scan
from objbench.errors import ObjbenchError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


@pytest.mark.parametrize(
    ("files", "pairs"),
    [
        (["images/a.jpg", "masks/a.png", "images/b/c.PNG", "masks/b/c.json", "notes.txt"],
         {"a": ("images/a.jpg", "masks/a.png"), "b/c": ("images/b/c.PNG", "masks/b/c.json")}),
        (["a.webp", "a_mask.png", "b/c.jpeg", "b/c.mask.json", "d_mask.jpg", "d_mask_mask.png", ".x.png", ".y/z.png"],
         {"a": ("a.webp", "a_mask.png"), "b/c": ("b/c.jpeg", "b/c.mask.json"),
          "d_mask": ("d_mask.jpg", "d_mask_mask.png")}),
    ],
)  # fmt: skip
def test_files_are_paired_by_name(
    tmp_path: Path, files: list[str], pairs: dict[str, tuple[str, str]]
) -> None:
    found = scan(touch(tmp_path, *files))
    assert {name: (found.images[name], found.labels[name]) for name in found.names} == pairs
    assert found.files == sorted(path for pair in pairs.values() for path in pair)
    name, (image, labels) = next(iter(pairs.items()))
    assert (found.image(name).where, found.image(name).missing) == (str(tmp_path / image), "")
    assert (found.label(name).where, found.label(name).missing) == (str(tmp_path / labels), "")


def test_an_image_that_a_coco_file_lists_twice_is_refused(tmp_path: Path) -> None:
    listed = [
        {"id": i, "file_name": name, "height": 4, "width": 4} for i, name in enumerate(("a.png", "a.jpg"))
    ]
    touch(tmp_path, "images/a.png")
    (tmp_path / "annotations.json").write_text(json.dumps({"images": listed, "annotations": []}))
    with pytest.raises(ObjbenchError, match=r"lists the image .*a twice, under two endings or paths"):
        scan(tmp_path)


def test_a_folder_that_cannot_be_read_is_not_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "images/a.png", "masks/a.png")

    def denied(folder: str) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr("os.scandir", denied)
    with pytest.raises(ObjbenchError, match="Permission denied; see to its permissions and its disk"):
        scan(tmp_path)


def test_files_below_linked_folders_are_found(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "images").symlink_to(touch(tmp_path / "scratch", "a.jpg"))
    (tmp_path / "set" / "masks").symlink_to(touch(tmp_path / "labels", "a.png"))
    found = scan(tmp_path / "set")
    assert {name: found.labels[name] for name in found.names} == {"a": "masks/a.png"}


def test_a_coco_file_has_the_annotations_of_all(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.jpg", "images/b.jpg", "images/c.jpg")
    entry = {"image_id": 1, "segmentation": {"size": [1, 1], "counts": [0, 1]}}
    images = [
        {"id": 1, "file_name": "a.jpg"},
        {"id": 2, "file_name": "b.jpg"},
        {"id": 3, "file_name": "d.jpg"},
    ]
    (tmp_path / "annotations.json").write_text(json.dumps({"images": images, "annotations": [entry]}))
    found = scan(tmp_path)
    assert found.names == ["a", "b", "c", "d"]
    assert found.files == ["annotations.json", "images/a.jpg", "images/b.jpg", "images/c.jpg"]
    assert json.loads(found.label("a").content or b"") == [entry]
    assert json.loads(found.label("b").content or b"") == []
    assert "has no label map" in found.label("c").missing
    assert "has no image for the scene d" in found.image("d").missing
    (tmp_path / "annotations.json").write_text("{}")
    with pytest.raises(
        ObjbenchError, match=r"annotations.json: no COCO file of annotations .it has no list `images`"
    ):
        scan(tmp_path)


def test_what_has_no_partner_says_so(tmp_path: Path) -> None:
    found = scan(touch(tmp_path, "images/a.jpg", "masks/a.png", "images/b.jpg", "masks/c.png"))
    assert found.names == ["a", "b", "c"]
    assert found.label("b").where == str(tmp_path / "images/b.jpg")
    assert found.label("b").missing.startswith("has no label map; expected images/NAME.png")
    assert found.image("c") == (str(tmp_path / "masks/c.png"), "", None, found.image("c").missing)
    assert found.image("c").missing == "has no image for the scene c; add it, or take these labels away"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            ["a.png", "b.png"],
            "found 2 images and 0 label maps, none of the same name; expected images/NAME.png",
        ),
        (["images/a.png"], "found 1 images and 0 label maps"),
        ([], "found no images; expected images/NAME.png"),
        (
            ["images/a.png", "images/a.jpg", "masks/a.png"],
            "images/a.png: the scene a has images/a.jpg already; which one",
        ),
        (
            ["images/a.png", "masks/a.json", "masks/a.png"],
            "masks/a.png: the scene a has masks/a.json already",
        ),
    ],
)
def test_a_folder_that_cannot_be_paired_is_refused(tmp_path: Path, files: list[str], message: str) -> None:
    with pytest.raises(ObjbenchError, match=message):
        scan(touch(tmp_path, *files))


@pytest.mark.parametrize(("found", "make"), PIPE_AND_LINK)
@pytest.mark.parametrize("name", ["images/b.png", "masks/b.png"])
def test_names_of_files_behind_which_there_is_none_are_refused(
    tmp_path: Path, name: str, found: str, make: Callable[[Path], None]
) -> None:
    touch(tmp_path, "images/a.png", "masks/a.png")
    make(tmp_path / name)
    with pytest.raises(ObjbenchError, match=rf"{name}: {found}, expected a file"):
        scan(tmp_path)
