"""The 16 hand-made cases scored by the original ClevrTex evaluator (see the note in the fixture)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from objbench.metrics import score

CASES = json.loads((Path(__file__).parents[1] / "fixtures/eval_golden.json").read_text())["cases"]
NAMES = {
    "acc": "count_accuracy",
    "mIoU": "miou",
    "mIoU_fg": "miou_fg",
    "mIoU_gt": "miou_gt",
    "ARI": "ari",
    "ARI_FG": "ari_fg",
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
    for name, value in compared.items():
        assert scores[name].tolist() == pytest.approx([value] * batch_size, abs=5e-7), name


def test_planes_given_as_masks_score_as_their_labels() -> None:
    for case in CASES:
        labels, true = torch.tensor([case["pred"]]), torch.tensor([case["gt"]])
        masks = torch.nn.functional.one_hot(labels, case["num_slots"]).movedim(-1, 1).float()
        from_masks, from_labels = score(masks, true), score(labels, true)
        assert {k: v.tolist() for k, v in from_masks.items()} == {
            k: v.tolist() for k, v in from_labels.items()
        }


def test_all_cases_are_here() -> None:
    assert len(CASES) == 16
