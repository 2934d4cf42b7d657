"""objmae's fast path against the plain one, which is its definition."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from helpers.kernels import needs_interpreter, needs_triton

from objbench.methods.base import Progress
from objbench.testing import random_scenes
from objbench.train.batches import StageScenes
from objbench.train.cuda_graph import CudaGraphStepper
from objbench.train.plain import PlainStepper
from objbench.train.steppers import choose_stepper
from objmae.fast import FastLoss
from objmae.kernels.available import triton_installed

NARROW = {"model__width": 24, "model__heads": 2, "model__decoder_width": 16, "model__decoder_heads": 2}
SMALL = {**NARROW, "recipe__epochs": None, "recipe__batch_size": 4}


def train(method, kind, images, steps):
    """The losses of all steps."""
    stage = method.stages()[0]
    scenes = StageScenes(images, stage, method.recipe.nominal_epochs, seed=0)
    if kind is CudaGraphStepper:
        stepper = CudaGraphStepper(
            method, scenes, stage, FastLoss(method.model, method.settings.schedule, method.normal)
        )
    else:
        stepper = PlainStepper(method, scenes, stage)
    found = []
    for _ in range(steps):
        stepper.advance(1)
        found.append(stepper.losses())
    return found


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize(
    ("dataset", "name"),
    [("tetrominoes", "objmae"), ("tetrominoes", "objmae:no_masking"), ("clevrtex", "objmae")],
)
def test_takes_the_plain_steps_in_float32(build, dataset, name, noise):
    steps = 40 if dataset == "tetrominoes" else 4
    settings = {**SMALL, "recipe__steps": steps, "schedule__token_noise": noise}
    images = random_scenes(12, build(dataset, name, **settings).image_shape)
    methods = [build(dataset, name, **settings) for _ in range(2)]
    plain, fast = (
        train(method, kind, images, steps)
        for method, kind in zip(methods, (PlainStepper, CudaGraphStepper), strict=True)
    )
    assert [list(losses) for losses in fast] == [list(losses) for losses in plain]
    for one, other in zip(plain, fast, strict=True):
        assert other == pytest.approx(one, abs=1e-5)
    for one, other in zip(*(method.parameters() for method in methods), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_stays_close_in_bfloat16(build):
    settings = {**SMALL, "recipe__steps": 30, "recipe__precision": "bf16"}
    images = random_scenes(12, (3, 35, 35))
    plain, fast = (train(build(**settings), kind, images, 30) for kind in (PlainStepper, CudaGraphStepper))
    exact = train(build(**settings | {"recipe__precision": "fp32"}), PlainStepper, images, 30)
    for one, other, true in zip(plain, fast, exact, strict=True):
        assert other == pytest.approx(one, rel=0.01)
        assert other == pytest.approx(true, rel=0.01)


@pytest.fixture(params=["plain", pytest.param("fused", marks=[needs_interpreter, needs_triton])])
def forms(request, monkeypatch):
    """Which forms of the kernels the functions take, on the CPU."""
    if request.param == "fused":
        for name in ("broadcast", "mixture", "residual_norm"):  # attention's is for bfloat16
            monkeypatch.setattr(f"objmae.kernels.{name}.fused", lambda tensor: True)
        monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())


@pytest.mark.usefixtures("forms")
@pytest.mark.parametrize("epoch", [0, 329])
def test_gradients_are_those_of_the_plain_loss(build, epoch):
    method = build(**NARROW, schedule__token_noise=0.1)
    images = random_scenes(3, (3, 35, 35))
    progress = Progress("train", epoch, 330, epoch, 330)
    fast = FastLoss(method.model, method.settings.schedule, method.normal)
    fast.prepare(progress)
    found = []
    for loss in (lambda: fast.loss(images, progress), lambda: method.training_loss(images / 255, progress)):
        torch.manual_seed(3)
        found.append(torch.autograd.grad(loss().total, list(method.parameters())))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)


def test_the_key_tells_shapes_and_noise(build):
    method = build("clevrtex", **NARROW)
    fast = FastLoss(method.model, method.settings.schedule, method.normal)
    keys = [fast.key(Progress("train", e, 330, e, 330)) for e in range(330)]
    assert keys[0] == keys[10] == (16, True)
    assert keys[11] == (16, False)
    assert keys[-1] == (64, False)
    assert len(set(keys)) == 50  # 49 numbers of patches, the first with noise and without


def test_schedules_reach_the_loss(build):
    method = build(**NARROW)
    images = random_scenes(2, (3, 35, 35))
    fast = FastLoss(method.model, method.settings.schedule, method.normal)
    totals = {}
    for epoch in (0, 329):
        progress = Progress("train", epoch, 330, epoch, 330)
        fast.prepare(progress)
        losses = fast.loss(images, progress)
        weights = method.settings.schedule.entropy_weights(epoch)
        parts = losses.parts["reconstruction"] + sum(
            weight * losses.parts[name]
            for weight, name in zip(weights, ("pixel_entropy", "object_entropy"), strict=True)
        )
        totals[epoch] = (losses.total.item(), parts.item())
    assert totals[0][0] == pytest.approx(totals[0][1], rel=1e-6)
    assert totals[329][0] == pytest.approx(totals[329][1], rel=1e-6)


@pytest.mark.parametrize(("precision", "kind"), [("fp32", PlainStepper), ("bf16", CudaGraphStepper)])
def test_on_the_cpu_it_is_taken_in_bfloat16(build, precision, kind):
    method = build(**SMALL, recipe__steps=3, recipe__precision=precision)
    scenes = StageScenes(random_scenes(5, (3, 35, 35)), method.stages()[0], 330, seed=0)
    assert type(choose_stepper(method, scenes, scenes.stage)) is kind


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("dataset", ["tetrominoes", "multi_dsprites", "clevr6", "clevrtex"])
def test_on_cuda_the_first_hundred_steps_are_the_plain_ones(build, dataset, precision):
    steps, whole = (
        100,
        100 if dataset == "tetrominoes" else 100_000,
    )  # all numbers of kept patches, or the first
    settings = {"recipe__epochs": None, "recipe__steps": whole, "recipe__batch_size": 32}
    settings |= {"recipe__precision": precision}
    images = random_scenes(64, build(dataset, **settings).image_shape).cuda()
    plain, fast = (
        train(build(dataset, **settings).cuda(), kind, images, steps)
        for kind in (PlainStepper, CudaGraphStepper)
    )
    for one, other in zip(plain, fast, strict=True):
        if precision == "fp32":
            assert other == pytest.approx(one, abs=1e-5)
        else:
            assert other == pytest.approx(one, rel=0.02, abs=1e-3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_it_is_taken_and_the_kernels_are_there(build):
    method = build(**SMALL, recipe__steps=3).cuda()
    scenes = StageScenes(random_scenes(5, (3, 35, 35)).cuda(), method.stages()[0], 330, seed=0)
    assert type(choose_stepper(method, scenes, scenes.stage)) is CudaGraphStepper
    assert triton_installed()
