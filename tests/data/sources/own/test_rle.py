from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest

from objbench.data.sources.own.rle import annotations_by_image, json_labels, rle_mask

MASK = np.zeros((5, 7), bool)
MASK[1:4, 2:6] = True
MASK[0, 6] = True


def counts_of(mask: np.ndarray) -> list[int]:
    values = np.concatenate([[False], mask.T.ravel()])
    edges = np.flatnonzero(np.diff(values)) + 1
    return np.diff([0, *(edges - 1), mask.size]).tolist()


def rle(mask: np.ndarray) -> dict[str, Any]:
    return {"size": list(mask.shape), "counts": counts_of(mask)}


def text_of(counts: list[int]) -> str:
    """The compact text, by its definition: five bits per letter, lowest first, differences from the fourth on."""
    letters = ""
    for i, count in enumerate(counts):
        value = count - counts[i - 2] if i > 2 else count
        while True:
            bits, value = value & 31, value >> 5
            more = value not in (0, -1) or (value == -1) != bool(bits & 16)
            letters += chr(48 + (bits | 32 * more))
            if not more:
                break
    return letters


def test_runs_go_down_the_columns() -> None:
    assert counts_of(MASK) == [11, 3, 2, 3, 2, 3, 2, 3, 1, 1, 4]
    assert np.array_equal(rle_mask(rle(MASK)), MASK)


@pytest.mark.parametrize("seed", range(5))
def test_the_compact_text_is_the_same_mask(seed: int) -> None:
    mask = np.random.default_rng(seed).random((60, 70)) < 0.01 * 10 ** (seed % 3)
    mask[:, 20:40] |= seed % 2 == 0
    found = rle_mask({"size": [60, 70], "counts": text_of(counts_of(mask))})
    assert np.array_equal(found, mask)


def test_a_text_worked_out_by_hand() -> None:
    """30 takes two letters, as its fifth bit would be a sign; from the fourth run on there are differences."""
    counts = [30, 4, 5, 4, 5, 4, 5, 4, 20]
    assert text_of(counts) == "n04500000?"
    mask = rle_mask({"size": [9, 9], "counts": "n04500000?"})
    assert mask.sum() == 16
    assert mask[3:7, 3:7].all()


def test_later_annotations_lie_over_earlier_ones_and_crowds_are_left_out() -> None:
    first, hidden, last, crowd = (np.zeros((4, 4), bool) for _ in range(4))
    first[:3, :3], hidden[2:, 2:], last[2:, 1:], crowd[0, 3] = True, True, True, True
    entries = [{"segmentation": rle(mask)} for mask in (first, hidden, last)] + [
        {"segmentation": rle(crowd), "iscrowd": 1}
    ]
    expected = [[1, 1, 1, 0], [1, 1, 1, 0], [1, 2, 2, 2], [0, 2, 2, 2]]
    for content in (entries, {"image": {}, "annotations": entries}):
        assert json_labels(json.dumps(content).encode(), MASK.shape).tolist() == expected
    assert json_labels(json.dumps([rle(first), rle(last)]).encode(), MASK.shape).tolist() == expected


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([[0, 0, 3, 0, 3, 3]], "is a list of polygons: which pixels .* pycocotools"),
        ({"size": [2], "counts": [4]}, r"has the size \[2\], expected \[height, width\]"),
        ({"size": [2, True], "counts": [4]}, "has the size"),
        ({"size": [0, 4], "counts": []}, "has the size"),
        ({"size": [99999, 99999], "counts": [99999**2]}, "expected at most 16,777,216 pixels"),
        ({"size": [2, 2], "counts": [3]}, "has `counts` for 3 pixels, expected 4"),
        ({"size": [2, 2], "counts": [5, -1]}, "other `counts`"),
        ({"size": [2, 2], "counts": [1.0, 3.0]}, "other `counts`"),
        ({"size": [2, 2], "counts": None}, "other `counts`"),
        ({"size": [2, 2], "counts": "\x01"}, "no text of COCO's"),
        ({"size": [2, 2], "counts": "oooooooooo"}, "no text of COCO's"),
        ({"size": [2, 2], "counts": "o"}, "end inside a number"),
        ("text", "has the size None"),
    ],
)
def test_a_malformed_mask_is_refused(segmentation: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"the segmentation of annotation 1 .*{message}"):
        json_labels(json.dumps([{"segmentation": segmentation}]).encode(), MASK.shape)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "cannot be parsed"),
        (b"[" * 100_000, "cannot be parsed"),
        (b"{}", "holds no list of annotations"),
        (b"[1]", "holds no list of annotations"),
        (json.dumps([rle(MASK)] * 1001).encode(), "holds 1,001 annotations"),
        (json.dumps([rle(MASK), rle(MASK.T)]).encode(), "annotation 2 is of 7x5, the first one of 5x7"),
    ],
)
def test_a_malformed_text_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        json_labels(content, MASK.shape)


@pytest.mark.parametrize("content", [[], [{**rle(MASK), "iscrowd": 1}]])
def test_an_image_without_annotations_has_no_objects(content: list[Any]) -> None:
    found = json_labels(json.dumps(content).encode(), MASK.shape)
    assert (found.shape, found.dtype, found.any()) == (MASK.shape, np.uint8, False)


COCO = {
    "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 9, "file_name": "b/c.jpg"}],
    "annotations": [{"image_id": 9, "id": 1}, {"image_id": 7, "id": 2}, {"image_id": 9, "id": 3}],
}


def test_annotations_are_found_by_their_image() -> None:
    found = annotations_by_image(COCO)
    assert {name: [entry["id"] for entry in entries] for name, entries in found.items()} == {
        "a.jpg": [2],
        "b/c.jpg": [1, 3],
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {**COCO, "images": [{"id": 7, "file_name": "a.jpg"}]},
            "an annotation is of the image 9, which is not listed",
        ),
        (
            {**COCO, "images": [{"id": 7}, {"id": 9, "file_name": "a"}]},
            "must each have an `id` and a `file_name`",
        ),
        (
            {"images": [], "annotations": [{"image_id": [7]}]},
            "entry 1 of `annotations` has the image_id [7], expected a",
        ),
        (
            {"images": [{"id": {}, "file_name": "a"}], "annotations": []},
            "entry 1 of `images` has the id {}, expected a",
        ),
        (
            {"images": [{"file_name": "a"}], "annotations": []},
            "entry 1 of `images` has the id None, expected a",
        ),
        ({"images": []}, "it has no list `annotations`"),
        ([], "it has no list `images`"),
    ],
)
def test_a_malformed_coco_file_is_refused(content: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        annotations_by_image(content)
