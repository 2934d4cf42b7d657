"""What all baselines share, at the size of their recipes but without numbers: where they wait, what stays float32."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from objbench.methods.base import Progress
from objbench.methods.create import create
from objbench.spec.load import load_spec

BASELINES = [
    name
    for name, method in load_spec().methods.items()
    if not method.trivial and load_spec().method_class(name).startswith("objbench.methods.")
]
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
def steps(name):
    """The losses of a training step of each stage in bfloat16, and the operations in bfloat16 on the way to them.

    Tensors have shapes and no values: to read one, for which a GPU would be waited for, raises.
    """
    found = []
    with FakeTensorMode():
        method = create(name, "multi_dsprites")
        images = torch.rand(2, *method.image_shape)
        for stage in method.stages():
            middle = Progress(stage.name, 5000, 20_000, 0, 330)
            with torch.autocast("cpu", torch.bfloat16), HalfPrecision() as watch:
                losses = method.training_loss(images, middle)
            method.after_step(middle, losses, [])
            found.append((losses, watch.operations))
    return found


@pytest.mark.parametrize("name", BASELINES)
def test_a_step_reads_no_numbers_from_the_device(name):
    for losses, operations in steps(name):
        assert {value.dtype for value in (losses.total, *losses.parts.values())} == {torch.float32}
        assert "convolution" in operations  # bfloat16 is on


@pytest.mark.parametrize("name", BASELINES)
def test_masks_likelihoods_and_memories_stay_float32(name):
    assert not any(operations & DELICATE for _, operations in steps(name))


def test_reading_a_number_would_be_noticed():
    with FakeTensorMode(), pytest.raises(Exception, match="local_scalar_dense"):
        torch.rand(()).item()
