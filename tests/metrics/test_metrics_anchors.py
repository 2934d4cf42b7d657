"""The documentation's worked examples, and what trivial predictions score on real scenes."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from helpers.paths import ROOT

from objbench.metrics import score
from objbench.registry import names

PAGE = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
CASES = {
    case["name"]: case
    for case in json.loads((ROOT / "tests/fixtures/eval_golden.json").read_text(encoding="utf-8"))["cases"]
}


def worked_examples() -> list[tuple[str, dict[str, str]]]:
    lines = PAGE[PAGE.index("## Worked examples") :].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    heading, _, *body = rows
    return [(row[0], dict(zip(heading[2:], row[2:], strict=True))) for row in body]


def test_every_case_stands_in_the_table() -> None:
    assert [name for name, _ in worked_examples()] == list(CASES)


@pytest.mark.parametrize(("name", "printed"), worked_examples(), ids=[name for name, _ in worked_examples()])
def test_the_worked_examples_hold(name: str, printed: dict[str, str]) -> None:
    pred, true = torch.tensor([CASES[name]["pred"]]), torch.tensor([CASES[name]["gt"]])
    for column, text in printed.items():
        metric, _, definition = column.partition(" ")
        found = float(score(pred, true, definition=definition.strip("()") or "clevrtex")[metric])
        expected = math.nan if text == "-" else float(text)
        assert found == pytest.approx(expected, abs=5.1e-5, nan_ok=True), column


def test_every_metric_and_definition_is_explained() -> None:
    for name in [*names("metrics"), *names("definitions")]:
        assert f"`{name}`" in PAGE


def test_one_slot_on_clevr6_scores_as_the_collapsed_rows_of_table_6() -> None:
    """ARI 0, ARI-FG 0, mIoU 17.3: here on 19 scenes, so within twice the standard error of their mean."""
    true = torch.from_numpy(np.load(ROOT / "tests/fixtures/clevr6_masks/masks.npz")["masks"])
    found = score(torch.zeros_like(true), true)
    assert found["ari"].abs().max() == 0
    assert found["ari_fg"].abs().max() == 0
    background = (true == 0).flatten(1).double().mean(1)
    present = torch.tensor([len(image.unique()) for image in true])
    assert found["miou"].tolist() == pytest.approx((background / present).tolist(), abs=1e-12)
    error = float(found["miou"].std()) / len(true) ** 0.5
    assert abs(float(found["miou"].mean()) - 0.173) < 2 * error < 0.03
