"""The count of operations against torch's own, and against what the recipes come to."""

from __future__ import annotations

import math

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from objmae.flops import forward_flops, training_flops
from objmae.model import Autoencoder

CONFIGURATIONS = ["tetrominoes", "multi_dsprites", "clevr6", "clevrtex"]
EPOCHS, BATCH = 330, 128


@pytest.mark.parametrize("dataset", CONFIGURATIONS)
@pytest.mark.parametrize("kept", [0.25, 1.0])
def test_forward_flops_are_those_that_torch_counts(build, dataset, kept):
    """No concatenation of the slots with their log-attentions is paid for."""
    method = build(dataset)
    settings, patches = method.settings.model, method.model.patches
    n = math.floor(kept * patches)
    with FakeTensorMode(), sdpa_kernel(SDPBackend.MATH):  # nothing is computed; attention as plain products
        model = Autoencoder(settings, method.image_shape[1:], method.slots)
        images = torch.empty(1, patches, settings.patch**2 * 3)
        with FlopCounterMode(display=False) as counter:
            model(images, torch.empty(1, n, dtype=torch.int64))
    assert forward_flops(model, n) == counter.get_total_flops()


def test_a_training_step_takes_three_forward_passes(build, at_epoch):
    """All but one product: nobody needs the gradient of the images."""
    method = build("tetrominoes")
    epoch = 200
    kept = method.settings.schedule.kept_patches(epoch, method.model.patches)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        method.training_loss(torch.rand(2, 3, 35, 35), at_epoch(epoch)).total.backward()
    assert counter.get_total_flops() == pytest.approx(2 * training_flops(method.model, kept), rel=0.01)


@pytest.mark.parametrize(
    ("dataset", "giga_forward", "tera_step"),
    [
        ("tetrominoes", 0.206, 0.079),
        ("multi_dsprites", 1.448, 0.556),
        ("clevr6", 6.241, 2.40),
        ("clevrtex", 8.884, 3.41),
    ],
)
def test_means_over_the_schedule(build, dataset, giga_forward, tera_step):
    method = build(dataset)
    model, schedule = method.model, method.settings.schedule
    kept = [schedule.kept_patches(epoch, model.patches) for epoch in range(EPOCHS)]
    forward = sum(forward_flops(model, n) for n in kept) / EPOCHS
    step = BATCH * sum(training_flops(model, n) for n in kept) / EPOCHS
    assert forward / 1e9 == pytest.approx(giga_forward, abs=0.0006)
    assert step / 1e12 == pytest.approx(tera_step, rel=0.005)
