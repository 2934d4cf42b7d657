"""What all baselines share, at the size of their recipes but without numbers: where they wait, what stays float32."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from objbench.methods.base import Progress
from objbench.methods.create import create

BASELINES = [
    "slot_attention",
    "monet",
    "genesis_v2",
    "efficient_morl",
    "iodine",
    "spair",
    "gnm",
    "space",
    "marionette",
    "dti_sprites",
]
MIDDLE = Progress("train", 5000, 20_000, 0, 330)
# Sums over slots, pixels and time, and what they are made of.
DELICATE = {
    "_softmax",
    "_log_softmax",
    "logsumexp",
    "log_sigmoid_forward",
    "softplus",
    "exp",
    "log",
    "sigmoid",
    "tanh",
}


class HalfPrecision(TorchDispatchMode):
    """Notes the operations that see numbers in bfloat16."""

    def __init__(self):
        super().__init__()
        self.operations = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if any(isinstance(value, torch.Tensor) and value.dtype == torch.bfloat16 for value in args):
            self.operations.add(function._overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


@cache
def step(name):
    """The losses of a training step in bfloat16, and the operations in bfloat16 on the way to them.

    Tensors have shapes and no values: to read one, for which a GPU would be waited for, raises.
    """
    with FakeTensorMode():
        method = create(name, "multi_dsprites")
        images = torch.rand(2, *method.image_shape)
        with torch.autocast("cpu", torch.bfloat16), HalfPrecision() as watch:
            losses = method.training_loss(images, MIDDLE)
        method.after_step(MIDDLE, losses, [])
    return losses, watch.operations


@pytest.mark.parametrize("name", BASELINES)
def test_a_step_reads_no_numbers_from_the_device(name):
    losses, operations = step(name)
    assert {value.dtype for value in (losses.total, *losses.parts.values())} == {torch.float32}
    assert "convolution" in operations  # bfloat16 is on


@pytest.mark.parametrize("name", BASELINES)
def test_masks_likelihoods_and_memories_stay_float32(name):
    assert not step(name)[1] & DELICATE


def test_reading_a_number_would_be_noticed():
    with FakeTensorMode(), pytest.raises(Exception, match="local_scalar_dense"):
        torch.rand(()).item()
