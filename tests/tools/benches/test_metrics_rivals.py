from __future__ import annotations

import pytest
from benches.metrics_rivals import naive_torch, scikit_learn_loop, torchmetrics_loop
from benches.scenes import label_maps


def test_the_rivals_compute_the_same_metrics():
    pred, true = label_maps(8, 48, 6)
    loop = scikit_learn_loop(pred.numpy(), true.numpy())
    for name, values in naive_torch(pred, true).items():
        assert values.tolist() == pytest.approx(loop[name].tolist(), abs=1e-6)
    assert torchmetrics_loop(pred, true).tolist() == pytest.approx(loop["ari"].tolist(), abs=1e-5)
