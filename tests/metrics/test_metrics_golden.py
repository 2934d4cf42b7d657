"""The 16 hand-made cases scored by the original evaluators (see the note in the fixture)."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from helpers.paths import FIXTURES

from objbench.metrics import score

CASES = json.loads((FIXTURES / "eval_golden.json").read_text())["cases"]
NAMES = {
    "acc": "count_accuracy",
    "mIoU": "miou",
    "mIoU_fg": "miou_fg",
    "mIoU_gt": "miou_gt",
    "ARI": "ari",
    "ARI_FG": "ari_fg",
    "mSC": "msc_clevrtex",
    "DICE": "dice",
    "DICE_FG": "dice_fg",
}


@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_equals_the_original_evaluator(case: dict[str, Any], batch_size: int) -> None:
    pred = torch.tensor([case["pred"]] * batch_size)
    true = torch.tensor([case["gt"]] * batch_size, dtype=torch.uint8)
    scores = score(pred, true)
    expected = case["expected"][f"clevrtex_labels_B{batch_size}"]
    compared = {NAMES[name]: value for name, value in expected.items() if name in NAMES}
    assert set(compared) >= {"count_accuracy", "miou", "miou_fg", "miou_gt"}
    if batch_size == 1:  # there the evaluator's mSC looks at the top row of pixels
        compared.pop("msc_clevrtex", None)
    for name, value in compared.items():
        assert scores[name].tolist() == pytest.approx([value] * batch_size, abs=5e-7), name


@pytest.mark.parametrize("definition", ["deepmind", "emorl"])
@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_equals_the_other_evaluators(case: dict[str, Any], definition: str) -> None:
    expected = case["expected"][definition]
    ari_fg = expected["ARI_FG_drop_bg_column" if definition == "deepmind" else "ARI_FG"]
    found = score(torch.tensor([case["pred"]]), torch.tensor([case["gt"]]), definition=definition)
    assert set(found) == {"ari", "ari_fg"}
    assert float(found["ari"]) == pytest.approx(expected["ARI"], abs=5e-7)
    undefined = math.nan if ari_fg is None else ari_fg
    assert float(found["ari_fg"]) == pytest.approx(undefined, abs=5e-7, nan_ok=True)


def test_undefined_cases_are_among_them() -> None:
    assert sum(case["expected"]["deepmind"]["ARI_FG_drop_bg_column"] is None for case in CASES) == 2
    assert sum("mSC" in case["expected"]["clevrtex_labels_B2"] for case in CASES) == 15


def test_planes_given_as_masks_score_as_their_labels() -> None:
    for case in CASES:
        labels, true = torch.tensor([case["pred"]]), torch.tensor([case["gt"]])
        masks = torch.nn.functional.one_hot(labels, case["num_slots"]).movedim(-1, 1).float()
        from_masks, from_labels = score(masks, true), score(labels, true)
        assert {k: str(v.tolist()) for k, v in from_masks.items()} == {
            k: str(v.tolist()) for k, v in from_labels.items()
        }


def test_all_cases_are_here() -> None:
    assert len(CASES) == 16
