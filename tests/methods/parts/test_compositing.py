"""Boxes mixed by importance: each method's formula, and the running form against the plain one."""

from __future__ import annotations

import pytest
import torch

from objbench.methods.parts.compositing import Glimpses, Weighing, canvases, composite, weights
from objbench.methods.parts.spatial_transformer import paste

SIZE = (12, 10)
FORMS = {
    "space": (Weighing(softmax=True), True, 100.0),
    "gnm": (Weighing(eps=1e-15), True, 1.0),
    "spair": (Weighing(floor=0.01), False, 3.0),
}


def scene(boxes=5, premultiplied=True, largest=1.0):
    torch.manual_seed(0)
    maps = [torch.rand(2, boxes, channels, 6, 6).double() for channels in (3, 1, 1, 2)]
    maps[2] = maps[2] * largest
    where = torch.cat([0.2 + 0.5 * torch.rand(2, boxes, 2), torch.rand(2, boxes, 2) - 0.5], dim=2).double()
    leaves = [part.requires_grad_() for part in (*maps, where)]
    return Glimpses(*leaves[:4], premultiplied), where, leaves


def by_hand(name, glimpses, where):
    """Weights as in the papers, one box after another."""
    colours, alpha, importance, summed = (
        paste(part, where, SIZE).unbind(1)
        for part in (glimpses.colours, glimpses.alpha, glimpses.importance, glimpses.summed)
    )
    if name == "spair":
        importance = [torch.maximum(one, torch.tensor(0.01, dtype=torch.float64)) for one in importance]
        colours = [colour * a for colour, a in zip(colours, alpha, strict=True)]
    if name == "space":
        importance = [one.exp() for one in importance]
    total = sum(importance) + (1e-15 if name == "gnm" else 0)
    mixed = sum(i / total * c for i, c in zip(importance, colours, strict=True))
    return mixed, sum(i / total * a for i, a in zip(importance, alpha, strict=True)), sum(summed)


@pytest.mark.parametrize("chunk", [None, 1, 2, 5, 9])
@pytest.mark.parametrize("name", FORMS)
def test_running_sums_are_the_formula_and_so_are_their_gradients(name, chunk):
    weighing, premultiplied, largest = FORMS[name]
    glimpses, where, leaves = scene(premultiplied=premultiplied, largest=largest)
    found, expected = composite(glimpses, where, SIZE, weighing, chunk=chunk), by_hand(name, glimpses, where)
    torch.manual_seed(1)
    cotangents = [torch.randn_like(part) for part in expected]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)
    for one, other in zip(
        torch.autograd.grad(found, leaves, cotangents),
        torch.autograd.grad(expected, leaves, cotangents),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", FORMS)
def test_the_plain_form_gives_the_same_picture(name):
    weighing, premultiplied, largest = FORMS[name]
    glimpses, where, _ = scene(premultiplied=premultiplied, largest=largest)
    found, placed = composite(glimpses, where, SIZE, weighing, chunk=2), canvases(glimpses, where, SIZE)
    share = weights(placed.importance, weighing)
    torch.testing.assert_close((share * placed.colours).sum(1), found.colours)
    torch.testing.assert_close((share * placed.alpha).sum(1), found.alpha)
    torch.testing.assert_close(placed.summed.sum(1), found.summed)


def test_an_importance_of_hundred_does_not_overflow_float32():
    glimpses, where, _ = scene(largest=100.0)
    single = Glimpses(*(part.float() for part in glimpses[:4]))
    for chunk in (None, 2):
        found = composite(single, where.float(), SIZE, Weighing(softmax=True), chunk=chunk)
        exact = composite(glimpses, where, SIZE, Weighing(softmax=True))
        torch.testing.assert_close(found.colours.double(), exact.colours, rtol=1e-3, atol=1e-4)


def test_where_no_box_is_the_softmax_is_even_and_the_sum_gives_nothing():
    glimpses = Glimpses(*(torch.ones(1, 4, channels, 3, 3) for channels in (3, 1, 1)))
    where = torch.tensor([0.2, 0.2, -0.8, -0.8]).expand(1, 4, 4)
    placed = canvases(glimpses, where, (20, 20))
    assert weights(placed.importance, Weighing(softmax=True))[0, :, 0, -1, -1].tolist() == [0.25] * 4
    assert weights(placed.importance, Weighing(eps=1e-15))[0, :, 0, -1, -1].tolist() == [0] * 4


def test_alphas_add_up_to_more_than_one_where_boxes_overlap():
    alpha = torch.full((1, 3, 1, 4, 4), 0.9)
    glimpses = Glimpses(torch.ones(1, 3, 3, 4, 4), alpha, alpha, summed=alpha)
    where = torch.tensor([1.0, 1.0, 0.0, 0.0]).expand(1, 3, 4)
    found = composite(glimpses, where, (4, 4), Weighing(eps=1e-15))
    torch.testing.assert_close(found.summed, torch.full((1, 1, 4, 4), 2.7))
    torch.testing.assert_close(found.alpha, torch.full((1, 1, 4, 4), 0.9))


def held_for_backward(chunk, boxes=16):
    glimpses, where, _ = scene(boxes)
    sizes: dict[int, int] = {}

    def keep(tensor):
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        found = composite(glimpses, where, (64, 64), Weighing(softmax=True), chunk=chunk)
    assert found.colours.requires_grad
    return sum(sizes.values())


def test_a_few_boxes_at_a_time_hold_a_fraction_of_the_canvases():
    assert held_for_backward(4) < 0.2 * held_for_backward(None)


@pytest.mark.parametrize("chunk", [None, 2])
def test_everything_is_float32_under_autocast(chunk):
    glimpses, where, _ = scene()
    half = Glimpses(*(part.bfloat16() for part in glimpses[:4]))
    with torch.autocast("cpu", torch.bfloat16):
        found = composite(half, where.float(), SIZE, Weighing(eps=1e-15), chunk=chunk)
    assert {part.dtype for part in found} == {torch.float32}
