from __future__ import annotations

import pytest
import torch

from objbench.errors import ObjbenchError
from objbench.metrics import contingency

LABELS = torch.tensor([[[0, 1], [2, 2]], [[0, 0], [1, 1]]])


def test_contingency_counts_shared_pixels_and_keeps_asked_for_planes() -> None:
    table = contingency(LABELS, LABELS.flip(0), n_pred=4, n_true=3)
    assert table.dtype == torch.int64
    assert table[0].tolist() == [[1, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 0]]


@pytest.mark.parametrize("planes", [1, 2, 15, 16, 17, 256])
def test_contingency_counts_at_every_width_of_its_codes(planes: int) -> None:
    pred, true = torch.randint(0, planes, (2, 2, 40, 40), generator=torch.Generator().manual_seed(0))
    pred[:, 0, 0] = true[:, 0, 0] = planes - 1
    expected = torch.zeros(2, planes, planes, dtype=torch.int64)
    for image, p, t in zip(
        torch.arange(2).repeat_interleave(1600), pred.flatten(), true.flatten(), strict=True
    ):
        expected[image, p, t] += 1
    assert torch.equal(contingency(pred, true), expected)


def test_contingency_refuses_labels_beyond_the_planes() -> None:
    with pytest.raises(ObjbenchError, match="pred holds labels from 0 to 2; expected 0 to 1"):
        contingency(LABELS, LABELS, n_pred=2)


@pytest.mark.parametrize(
    ("pred", "true", "found"),
    [
        (LABELS[:0], LABELS[:0], r"int64 \(0, 2, 2\) and int64 \(0, 2, 2\)"),
        (LABELS[:1], LABELS, r"int64 \(1, 2, 2\) and int64 \(2, 2, 2\)"),
        (LABELS[:, :1], LABELS, r"int64 \(2, 1, 2\) and int64 \(2, 2, 2\)"),
        (LABELS[0], LABELS[0], r"int64 \(2, 2\) and int64 \(2, 2\)"),
        (LABELS + 0.5, LABELS, r"float32 \(2, 2, 2\) and int64 \(2, 2, 2\)"),
    ],
)
def test_contingency_refuses_what_are_no_maps_of_one_shape(
    pred: torch.Tensor, true: torch.Tensor, found: str
) -> None:
    with pytest.raises(ObjbenchError, match=rf"must be integer label maps \(B,H,W\) .*; found {found}"):
        contingency(pred, true)
