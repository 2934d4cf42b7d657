"""The matrix products of a step are found, and computed again in the same shapes."""

from __future__ import annotations

import pytest
import torch
from benches.train_products import Product, ProductCounter, again, by_themselves, products_of_a_step
from benches.train_race import Work
from torch import nn

from objbench.spec.load import load_spec
from objbench.spec.resolve import resolve
from objmae.flops import training_flops

MODEL = {"width": 64, "depth": 2, "heads": 4, "decoder_width": 64, "decoder_depth": 1, "decoder_heads": 4}


@pytest.fixture
def work():
    spec = load_spec()
    dataset = spec.dataset("tetrominoes")
    overrides = {f"model.{key}": value for key, value in MODEL.items()} | {"recipe.batch_size": 4}
    images = torch.randint(256, (8, *dataset.spec.image_shape), dtype=torch.uint8)
    return Work(dataset, resolve(spec, "objmae", dataset, overrides), images, 4)


def test_counts_forward_and_backward():
    linear, x = nn.Linear(3, 2), torch.randn(5, 3, requires_grad=True)
    with ProductCounter() as counter:
        linear(x).sum().backward()
    shapes = sorted(product.shapes for product in counter.found)
    assert shapes == [((2, 5), (5, 3)), ((5, 2), (2, 3)), ((5, 3), (3, 2))]
    assert counter.found.total() == 3


def test_the_products_of_a_step_are_its_operations(work):
    """The formula of objmae's operations counts these products; the slots' rank-1 parts it counts are no products."""
    found = products_of_a_step(work, 1.0)
    operations = sum(
        times * 2 * torch.Size(product.shapes[0]).numel() * product.shapes[1][-1]
        for product, times in found.items()
    )
    method, _ = work.begin()
    assert operations == pytest.approx(4 * training_flops(method.model, 49), rel=0.02)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_random_matrices_lie_as_those_of_the_step(dtype):
    taken = []
    product = Product(lambda a, b: taken.append((a, b)), ((2, 3, 4), (2, 4, 5)), ((12, 1, 3), (0, 5, 1)))
    product.random(dtype, torch.device("cpu"))()
    ((a, b),) = taken
    assert (a.shape, b.shape) == ((2, 3, 4), (2, 4, 5))
    assert a.stride() == (12, 1, 3)
    assert a.dtype is b.dtype is dtype
    assert a.float().std() > 0.1


def test_all_products_are_computed_again(work):
    found = products_of_a_step(work, 0.0)
    with ProductCounter() as counter:
        again(found, torch.float32, work.device)()
    assert counter.found == found


def test_times_every_turn(work):
    timing = by_themselves(work, [0.0, 1.0], torch.float32, 2)
    assert len(timing.seconds) == 2
    assert all(seconds > 0 for seconds in timing.seconds)
