"""The captured training step. Without CUDA the work is done anew where a graph would be replayed, with all that was
fixed at the capture still fixed; the tests marked gpu replay real graphs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from objbench.methods.base import Losses, Method, Progress, Stage
from objbench.methods.create import build
from objbench.random import seed_from
from objbench.spec.load import load_spec
from objbench.spec.resolve import resolve
from objbench.testing import random_scenes
from objbench.train.batches import StageScenes
from objbench.train.cuda_graph import CudaGraphStepper, MethodLoss
from objbench.train.plain import PlainStepper
from objbench.train.steppers import choose_stepper

STEPS = 9
IMAGES = random_scenes(7, (3, 35, 35))
DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
        ],
    ),
]


def scene(name: str = "toy_geco", device: str = "cpu", **overrides: object) -> tuple[Method, StageScenes]:
    spec = load_spec()
    dataset = spec.dataset("tetrominoes")
    torch.manual_seed(0)
    wanted = {"recipe.steps": STEPS, "recipe.batch_size": 2} | {
        key.replace("__", "."): value for key, value in overrides.items()
    }
    method = build(resolve(spec, name, dataset, wanted), dataset).to(device)
    stage = method.stages()[0]
    return method, StageScenes(IMAGES.to(device), stage, method.recipe.nominal_epochs, seed=0)


def train(kind: Callable[..., PlainStepper | CudaGraphStepper], name: str, device: str, **overrides: object):
    """The losses of all steps, and the method's state after them."""
    method, scenes = scene(name, device, **overrides)
    stepper = kind(method, scenes, scenes.stage)
    losses = []
    for _ in range(STEPS):
        stepper.advance(1)
        losses.append(stepper.losses())
    return losses, method.state_dict()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", ["toy_refiner", "toy_geco"])
@pytest.mark.parametrize("clip_norm", [None, 0.01])
def test_takes_the_steps_of_the_plain_path(name, clip_norm, device):
    plain, plain_state = train(PlainStepper, name, device, recipe__clip_norm=clip_norm)
    captured, state = train(CudaGraphStepper, name, device, recipe__clip_norm=clip_norm)
    assert [list(losses) for losses in captured] == [list(losses) for losses in plain]
    for one, other in zip(plain, captured, strict=True):
        assert other == pytest.approx(one, rel=1e-5)
    for key, value in plain_state.items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(state[key], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("device", DEVICES)
def test_in_bfloat16_it_stays_close_to_the_plain_path(device):
    plain, _ = train(PlainStepper, "toy_geco", device, recipe__precision="bf16")
    captured, state = train(CudaGraphStepper, "toy_geco", device, recipe__precision="bf16")
    for one, other in zip(plain, captured, strict=True):
        assert other == pytest.approx(one, rel=0.02)
    assert state["trunk.0.weight"].dtype is torch.float32


def test_the_weights_that_autocast_would_cast_are_cast_once(monkeypatch):
    seen = {}

    def loss(self: MethodLoss, images, progress):
        seen.update({name: p.dtype for name, p in self.method.named_parameters()})
        return self.method.training_loss(images / 255, progress)

    monkeypatch.setattr(MethodLoss, "loss", loss)
    method, scenes = scene(recipe__precision="bf16")
    CudaGraphStepper(method, scenes, scenes.stage).advance(1)
    assert seen["trunk.0.weight"] == seen["trunk.0.bias"] == seen["head.weight"] == torch.bfloat16
    assert seen["colors"] == torch.float32
    assert {p.dtype for p in method.parameters()} == {torch.float32}
    assert {p.grad.dtype for p in method.parameters() if p.grad is not None} == {torch.float32}


class ByThrees:
    """A loss whose steps share a graph in threes, and that notes which progress its work was done with."""

    def __init__(self, method: Method) -> None:
        self.method, self.worked, self.prepared = method, [], []

    def key(self, progress: Progress) -> int:
        return progress.step // 3

    def prepare(self, progress: Progress) -> None:
        self.prepared.append(progress.step)

    def loss(self, images: torch.Tensor, progress: Progress) -> Losses:
        self.worked.append(progress.step)
        return self.method.training_loss(images / 255, progress)


def test_the_first_step_of_a_key_is_eager_and_the_second_captured_for_all_others():
    method, scenes = scene()
    loss = ByThrees(method)
    CudaGraphStepper(method, scenes, scenes.stage, loss).advance(STEPS)
    assert loss.worked == [0, 1, 1, 3, 4, 4, 6, 7, 7]
    assert loss.prepared == list(range(STEPS))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("first", [PlainStepper, CudaGraphStepper])
@pytest.mark.parametrize("then", [PlainStepper, CudaGraphStepper])
def test_either_path_goes_on_from_the_other(first, then, device):
    whole, whole_state = train(PlainStepper, "toy_refiner", device)
    method, scenes = scene("toy_refiner", device)
    before = first(method, scenes, scenes.stage)
    before.advance(4)
    resumed, again = scene("toy_refiner", device)
    resumed.load_state_dict(method.state_dict())
    after = then(resumed, again, again.stage)
    after.load_state_dict(before.state_dict())
    after.advance(STEPS - 4)
    assert after.losses() == pytest.approx(whole[-1], rel=1e-5)
    for key, value in resumed.state_dict().items():
        torch.testing.assert_close(value, whole_state[key], rtol=1e-5, atol=1e-6)


def test_losses_are_told_as_they_are(monkeypatch):
    found, fine = [], torch.tensor(1 + 2**-40, dtype=torch.float64)
    for kind in (PlainStepper, CudaGraphStepper):
        method, scenes = scene()
        given = method.training_loss
        monkeypatch.setattr(
            method,
            "training_loss",
            lambda *call, loss=given: replace(loss(*call), parts={**loss(*call).parts, "fine": fine}),
        )
        stepper = kind(method, scenes, scenes.stage)
        stepper.advance(1)
        found.append(stepper.losses()["fine"])
    assert found == [1 + 2**-40] * 2


def test_a_state_holds_plain_numbers_only():
    method, scenes = scene()
    stepper = CudaGraphStepper(method, scenes, scenes.stage)
    stepper.advance(2)
    (group,) = stepper.state_dict()["optimizers"][0]["param_groups"]
    assert isinstance(group["lr"], float)
    assert group["lr"] > 0
    assert group["capturable"] is False


def test_a_parameter_group_scales_the_rate(monkeypatch):
    method, scenes = scene()
    slow, fast = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))
    groups = [{"params": [slow], "lr_scale": 0.5}, {"params": [fast]}]
    monkeypatch.setattr(method, "optimizers", lambda stage: [(torch.optim.Adam(groups, 1.0), lambda p: 0.25)])
    monkeypatch.setattr(
        method, "training_loss", lambda images, progress: Losses((slow + fast).sum(), {"error": slow.sum()})
    )
    method.register_parameter("slow", slow)
    method.register_parameter("fast", fast)
    CudaGraphStepper(method, scenes, scenes.stage).advance(1)
    assert slow.item() == pytest.approx(-0.125)  # Adam's first step is the learning rate
    assert fast.item() == pytest.approx(-0.25)


def test_a_group_without_parameters_does_no_harm(monkeypatch):
    method, scenes = scene()
    groups = [{"params": []}, {"params": list(method.parameters())}]
    monkeypatch.setattr(method, "optimizers", lambda stage: [(torch.optim.Adam(groups, 1.0), lambda p: 0.25)])
    before = method.colors.detach().clone()
    CudaGraphStepper(method, scenes, scenes.stage).advance(1)
    moved = (method.colors - before).abs()  # Adam's first step is the learning rate
    torch.testing.assert_close(moved, torch.full_like(moved, 0.25), rtol=1e-4, atol=0)


@pytest.mark.parametrize("option", ["lr_scale", "weight_decay"])
def test_what_after_step_changes_of_an_optimizer_counts_from_the_next_step(monkeypatch, option):
    def after_step(progress: Progress, losses: Losses, optimizers: list[torch.optim.Optimizer]) -> None:
        if progress.step in (3, 6):
            optimizers[0].param_groups[0][option] = 0.5 / progress.step

    states, worked = [], []
    for kind in (PlainStepper, CudaGraphStepper):
        method, scenes = scene()
        monkeypatch.setattr(method, "after_step", after_step)
        optimizer = torch.optim.AdamW(method.parameters(), weight_decay=0.1)
        monkeypatch.setattr(method, "optimizers", lambda stage, one=optimizer: [(one, lambda p: 0.1)])
        options = {} if kind is PlainStepper else {"loss": ByThrees(method)}
        if options:
            options["loss"].key = lambda progress: 0
            worked = options["loss"].worked
        kind(method, scenes, scenes.stage, **options).advance(STEPS)
        states.append(method.state_dict())
    for key, value in states[0].items():
        torch.testing.assert_close(states[1][key], value, rtol=1e-5, atol=1e-6)
    anew = {"lr_scale": [0, 1, 1, 1, 1, 1, 1, 1, 1], "weight_decay": [0, 1, 1, 1, 4, 5, 5, 7, 8]}
    assert worked == anew[option]


def test_an_optimizer_that_cannot_be_captured_is_named(monkeypatch):
    method, scenes = scene()
    monkeypatch.setattr(
        method, "optimizers", lambda stage: [(torch.optim.SGD(method.parameters(), 0.1), lambda p: 0.1)]
    )
    with pytest.raises(TypeError, match="SGD cannot be captured"):
        CudaGraphStepper(method, scenes, scenes.stage)


def test_a_parameter_that_plays_no_part_has_no_gradient(monkeypatch):
    method, scenes = scene()
    method.idle = nn.Linear(2, 2)
    method.stages()
    stage = Stage("train", steps=STEPS, batch_size=2, precision="bf16")
    CudaGraphStepper(method, scenes, stage).advance(3)
    assert method.idle.weight.grad is None
    assert method.colors.grad is not None


def test_the_plain_path_is_taken_without_cuda_and_when_asked_for():
    for name, asked in (("toy_geco", "auto"), ("toy_geco", "plain"), ("toy_stepper", "plain")):
        method, scenes = scene(name, recipe__stepper=asked)
        assert type(choose_stepper(method, scenes, scenes.stage)) is PlainStepper
    method, scenes = scene("toy_stepper")
    assert type(choose_stepper(method, scenes, scenes.stage)).__name__ == "CountingStepper"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_the_captured_path_is_taken_where_the_method_allows_it():
    for name, kind in (("toy_geco", CudaGraphStepper), ("toy_two_stages", PlainStepper)):
        method, scenes = scene(name, "cuda")
        assert type(choose_stepper(method, scenes, scenes.stage)) is kind


def test_gradients_that_autograd_shares_are_clipped_once(monkeypatch):
    ends = []
    for kind in (PlainStepper, CudaGraphStepper):
        method, scenes = scene(recipe__clip_norm=0.01)
        method.one, method.two = nn.Parameter(torch.ones(3)), nn.Parameter(torch.zeros(3))
        monkeypatch.setattr(method, "optimizers", lambda stage, m=method: [sgd_like(m.one, m.two)])
        monkeypatch.setattr(
            method, "training_loss", lambda images, progress, m=method: of_the_sum(m.one, m.two)
        )
        kind(method, scenes, scenes.stage).advance(3)
        ends.append(torch.cat([method.one, method.two]))
    torch.testing.assert_close(*ends)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", [PlainStepper, CudaGraphStepper])
@pytest.mark.parametrize(("order", "scale"), [(2.0, 2 / 5), (math.inf, 2 / 4)])
def test_the_stage_says_which_norm_is_clipped(kind, order, scale, device, monkeypatch):
    method, scenes = scene(device=device)
    method.one = nn.Parameter(torch.zeros(2, device=device))
    slope = torch.tensor([3.0, -4.0], device=device)
    monkeypatch.setattr(method, "optimizers", lambda stage: [sgd_like(method.one)])
    monkeypatch.setattr(method, "training_loss", lambda images, progress: sloped(method.one, slope))
    kind(method, scenes, replace(scenes.stage, clip_norm=2.0, clip_order=order)).advance(3)
    clipped = scale * slope
    torch.testing.assert_close(method.one.detach(), -3 * 0.1 * clipped / (clipped.abs() + 1))


def sgd_like(*parameters: nn.Parameter):
    return torch.optim.RMSprop(parameters, 0.1, alpha=0.0, eps=1.0), lambda progress: 0.1


def sloped(one: torch.Tensor, slope: torch.Tensor) -> Losses:
    total = (slope * one).sum()
    return Losses(total, {"error": total})


def of_the_sum(one: torch.Tensor, two: torch.Tensor) -> Losses:
    total = (one + two).square().sum() + one.sum()
    return Losses(total, {"error": total})


def test_a_step_without_a_key_is_eager():
    method, scenes = scene()
    loss = ByThrees(method)
    loss.key = lambda progress: None if progress.step > 5 else 0
    CudaGraphStepper(method, scenes, scenes.stage, loss).advance(STEPS)
    assert loss.worked == [0, 1, 1, 1, 1, 1, 6, 7, 8]


def test_seeding_for_a_step_gives_the_numbers_of_manual_seed():
    _, scenes = scene()
    scenes.reseed(4)
    found = torch.rand(3)
    torch.manual_seed(seed_from(0, "step", "train", 4))
    assert torch.equal(found, torch.rand(3))
