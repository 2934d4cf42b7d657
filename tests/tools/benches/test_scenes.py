from __future__ import annotations

import torch
from benches.scenes import label_maps


def test_label_maps_are_repeatable_and_all_planes_occur():
    pred, true = label_maps(64, 64, 6)
    again, _ = label_maps(64, 64, 6)
    assert torch.equal(pred, again)
    assert pred.unique().tolist() == true.unique().tolist() == list(range(6))
    assert (true > 0).flatten(1).any(1).all()
    assert (true == 0).flatten(1).any(1).all()
