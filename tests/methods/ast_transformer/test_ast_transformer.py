"""AST: sizes as published, its loss by its formula, stages that freeze and resume, refusals, and the method contract."""

from __future__ import annotations

import contextlib

import pytest
import torch
from helpers.known import known_loss, tensors_kept
from torch._subclasses.fake_tensor import FakeTensorMode

from objbench.errors import RequestError
from objbench.methods.ast_transformer import foreground_losses
from objbench.methods.ast_transformer.renderer import Picture
from objbench.methods.base import Progress
from objbench.methods.create import create
from objbench.random import seed_from
from objbench.testing import check_method
from objbench.train.checkpoint import load_checkpoint
from objbench.train.loop import Training

SHORT = {"recipe.background_steps": 2, "recipe.background_batch_size": 2}
TINY = SHORT | {
    "recipe.steps": 4,
    "recipe.batch_size": 2,
    "recipe.checkpoint_steps": 1,
    "recipe.evaluations": 0,
    "model.channels": [4, 6],
    "model.width": 8,
    "model.heads": 2,
    "model.hidden": 8,
    "model.layers": 1,
    "model.what": 3,
    "model.renderer_channels": [8, 4],
    "background.simple.encoder_channels": [4, 4, 4, 3],
    "background.simple.decoder_channels": [4, 4, 4],
    "background.complex.encoder_channels": [4, 8, 4, 3],
    "background.complex.decoder_channels": [4, 8, 4],
}
AUTO = {"background.model": "auto", "recipe.trial_steps": 2}
START = Progress("foreground", 0, 4, 0, 330)


def tiny(**overrides):
    torch.manual_seed(seed_from(0, "init"))
    return create("ast:demo", "tetrominoes", **(TINY | overrides))


@pytest.mark.parametrize(
    ("name", "dataset", "count"),
    [
        ("ast", "tetrominoes", 36_095_629),
        ("ast", "multi_dsprites", 36_100_041),
        ("ast", "clevr6", 38_541_829),
        ("ast", "clevrtex", 95_448_606),  # 25.6 M and 69.8 M of the background
        ("ast:auto", "clevr6", 108_358_641),
        ("ast:clevrtex", "clevr6", 95_439_382),
        ("ast:demo", "tetrominoes", 722_602),
    ],
)
def test_number_of_parameters(name, dataset, count):
    with FakeTensorMode():
        method = create(name, dataset)
    assert sum(parameter.numel() for parameter in method.parameters()) == count


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        AUTO | {"background.variation": 0.0},  # the trial ends with the complex model
        AUTO | {"background.variation": 1.0},
    ],
    ids=["simple", "auto complex", "auto simple"],
)
def test_contract(overrides):
    kit = {name: value for name, value in TINY.items() if not name.startswith("recipe.")}
    passed = check_method("ast:demo", "tetrominoes", overrides=kit | SHORT | overrides)
    assert {"gradients", "determinism", "resume", "captured_steps", "batch_size_does_not_matter"} <= set(
        passed
    )


def scenes():
    return torch.randint(256, (8, 3, 35, 35), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def state(method):
    return {name: value.clone() for name, value in method.state_dict().items()}


def test_the_background_stands_still_while_the_foreground_is_trained_and_the_other_way_round(tmp_path):
    method = tiny()
    start = state(method)
    seen, steps = {}, 0

    def count(amount=1, note="", resumed=0):
        nonlocal steps
        steps += amount
        seen[steps] = state(method)

    Training(method, scenes(), 0, tmp_path).run(count)

    def changed(one, two):
        return {name.split(".")[0] for name in one if not torch.equal(one[name], two[name])} - {"clock"}

    assert changed(start, seen[2]) == {"background"}
    assert changed(seen[2], seen[6]) == {"encoder", "renderer"}


class Killed(Exception):
    """Ends a training."""


@pytest.mark.parametrize("threshold", [0.0, 1.0])
@pytest.mark.parametrize("after", [1, 2, 3, 4, 5, 7])
def test_a_training_killed_in_any_stage_goes_on_with_the_size_that_was_chosen(tmp_path, threshold, after):
    overrides = AUTO | {"background.variation": threshold}
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole = tiny(**overrides)
    Training(whole, scenes(), 0, tmp_path / "whole").run()
    steps = 0

    def kill(amount=1, note="", resumed=0):
        nonlocal steps
        steps += amount
        if steps > after:
            raise Killed

    with contextlib.suppress(Killed):
        Training(tiny(**overrides), scenes(), 0, tmp_path / "killed").run(kill)
    resumed = tiny(**overrides)
    Training(resumed, scenes(), 0, tmp_path / "killed").run()
    one, two = whole.state_dict(), resumed.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert resumed.background.kind == ("complex" if threshold == 0 else "simple")
    loaded = tiny(**overrides)
    loaded.load_state_dict(load_checkpoint(tmp_path / "whole").method)
    images = scenes().float() / 255
    found, expected = (method.eval().segment(images).masks for method in (loaded, whole))
    assert torch.equal(found, expected)


def test_stages_are_the_background_then_objects_with_a_new_optimizer():
    method = create("ast:demo", "tetrominoes")
    behind, objects = method.stages()
    assert (behind.name, behind.steps, objects.name) == ("background", 200, "foreground")
    ((adamw, _),), ((adam, rate),) = method.optimizers(behind), method.optimizers(objects)
    assert isinstance(adamw, torch.optim.AdamW)
    assert adamw.param_groups[0]["weight_decay"] == 0
    assert (adam.param_groups[0]["betas"], adam.param_groups[0]["eps"]) == ((0.9, 0.98), 1e-9)
    owned = {id(p) for optimizer in (adamw, adam) for p in optimizer.param_groups[0]["params"]}
    assert owned == {id(p) for p in method.parameters()}
    assert rate(Progress("foreground", 2, 100, 0, 330)) == pytest.approx(
        5e-4 / 4
    )  # halfway through the warm-up


def test_published_lengths():
    with FakeTensorMode():
        lengths = {
            name: [stage.steps for stage in create("ast", name).stages()] for name in ("clevr6", "clevrtex")
        }
    assert lengths == {"clevr6": [2_500, 125_000], "clevrtex": [500_000, 125_000]}


def test_a_trial_comes_first_where_it_is_to_choose():
    assert [stage.name for stage in tiny(**AUTO).stages()] == ["trial", "background", "foreground"]


def test_losses_of_the_foreground_by_their_formulas():
    torch.manual_seed(0)
    images, layers = torch.rand(2, 3, 4, 5), torch.rand(2, 3, 3, 4, 5)
    masks = torch.rand(2, 3, 4, 5).softmax(1)
    found = foreground_losses(images, Picture(masks.log(), layers), threshold=0.3)
    picture = torch.einsum("bkyx,bkcyx->bcyx", masks, layers)
    error = pixel = shared = 0.0
    for b in range(2):
        for y in range(4):
            for x in range(5):
                distance = sum(abs(picture[b, c, y, x] - images[b, c, y, x]) for c in range(3))
                error += max(distance - 0.3, 0.0) ** 2 / 40
                pixel += sum(m * m.log() for m in masks[b, :, y, x]) ** 2 / 40
        shares = masks[b].mean((1, 2))
        shared += sum(m * m.log() for m in shares) ** 2 / 2
    expected = {"reconstruction": error, "pixel_entropy": pixel, "object_entropy": shared}
    for name, value in expected.items():
        torch.testing.assert_close(found[name], torch.as_tensor(value), rtol=1e-4, atol=1e-6)


def test_a_plane_without_a_pixel_has_no_entropy_and_a_finite_gradient():
    log_masks = torch.tensor([0.0, -200.0])[None, :, None, None].repeat(1, 1, 2, 2).requires_grad_()
    found = foreground_losses(torch.zeros(1, 3, 2, 2), Picture(log_masks, torch.ones(1, 2, 3, 2, 2)), 0.0)
    assert found["pixel_entropy"] == found["object_entropy"] == 0
    sum(found.values()).backward()
    assert log_masks.grad.isfinite().all()


@pytest.mark.parametrize(
    ("step", "pixel", "shared"),
    [(0, 0.0, 0.0), (2_500, 1 / 16, 1 / 4), (5_000, 1 / 4, 1.0), (90_000, 1.0, 1.0)],
)
def test_entropies_weigh_more_with_the_square_of_the_step(step, pixel, shared):
    shown = {
        "model.dropout": 0.0,
        "model.background_activation": 0.0,
    }  # objects are seen, so that entropies count
    method, images = tiny(**shown), torch.rand(2, 3, 35, 35)
    method.clock.step.fill_(step)
    losses = method.training_loss(images, START)
    parts = losses.parts
    assert min(parts["pixel_entropy"], parts["object_entropy"]) > 0.1
    expected = (
        parts["reconstruction"]
        + 1e-2 * pixel * parts["pixel_entropy"]
        + 3e-4 * shared * parts["object_entropy"]
    )
    torch.testing.assert_close(losses.total, expected, rtol=1e-5, atol=0)


def test_a_step_goes_on_in_the_curriculum_however_short_the_training_is():
    method, images = tiny(), torch.rand(2, 3, 35, 35)
    method.after_step(START, method.training_loss(images, START), [])
    assert method.clock.step == 125_000 / 4


def test_a_stage_starts_the_curriculum_anew_and_asks_for_gradients_of_its_own_parameters_alone():
    method, images = tiny(**AUTO), torch.rand(4, 3, 35, 35)
    trained = {"trial": {"background"}, "background": {"background"}, "foreground": {"encoder", "renderer"}}
    for stage in method.stages():
        method.clock.step.fill_(125_000)
        with torch.no_grad():
            method.setup(images, stage)
        assert method.clock.step == 0
        learning = {name for name, parameter in method.named_parameters() if parameter.requires_grad}
        assert {name.split(".")[0] for name in learning} == trained[stage.name]
        unused = (
            "background.models.complex" if method.background.kind == "simple" else "background.models.simple"
        )
        assert not any(name.startswith(unused) for name in learning)


def test_segmentation_is_the_background_and_one_plane_for_every_object():
    method, images = tiny().eval(), torch.rand(3, 3, 35, 35)
    found = method.segment(images)
    assert found.masks.shape == (3, method.slots, 35, 35)
    torch.testing.assert_close(found.masks.sum(1), torch.ones(3, 35, 35))
    assert (found.prediction == 0).all()  # objects do not show before they are trained
    assert found.extras["boxes"].shape == (3, method.slots - 1, 4)
    torch.testing.assert_close(found.extras["presence"], found.masks[:, 1:].amax((2, 3)))
    small = method._input(images)
    painted = method.background(small).colours[:, None]
    torch.testing.assert_close(
        found.components[:, :1], method.resolution.upsample(method.canvas.crop(painted))
    )
    torch.testing.assert_close(found.reconstruction, (found.masks[:, :, None] * found.components).sum(1))


def test_only_error_above_the_threshold_costs():
    images = torch.full((1, 3, 2, 2), 0.5)
    picture = Picture(torch.zeros(1, 1, 2, 2), images[:, None] + 0.05)
    assert foreground_losses(images, picture, 0.16)["reconstruction"] == 0
    assert foreground_losses(images, picture, 0.05)["reconstruction"].item() == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slots": 1}, r"slots: expected at least 2, the background and an object, found 1"),
        ({"model.channels": [4, 4, 4, 4, 4, 4]}, r"model\.canvas: expected a multiple of 32, at least 64, .* found 16"),
        ({"model.resolution": None, "model.canvas": 35}, r"model\.canvas: expected a multiple of 2, .* found 35"),
        ({"model.heads": 3}, r"model\.heads: expected a divisor of model\.width=8, found 3"),
        ({"model.greatest_scale": 1.0}, r"model\.greatest_scale: expected more than 1\.3, found 1\.0"),
        ({"model.renderer_channels": [40, 8]}, r"model\.renderer_channels: expected numbers below 32 or multiples"),
        ({"background.model": "auto"}, r"recipe\.trial_steps: expected at least 1 with background\.model=auto, found 0"),
        ({"background.model": "large"}, r"background\.model"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(change, message):
    with pytest.raises(RequestError, match=message):
        tiny(**change)


GOLDEN = {
    "background": {"total": 2.843161e-03, "background": 2.359133e-03, "background_error": 4.840273e-04},
    "foreground": {
        "total": 0.9788953,
        "reconstruction": 0.9788953,
        "pixel_entropy": 0.1407976,
        "object_entropy": 0.05772438,
    },
}


@pytest.mark.parametrize(("stage", "step", "steps"), [("background", 1, 2), ("foreground", 2, 4)])
def test_a_known_model_has_the_losses_that_it_had(stage, step, steps):
    found = known_loss(tiny(), Progress(stage, step, steps, 0, 330))
    assert found == pytest.approx(GOLDEN[stage], rel=1e-3)


@pytest.mark.parametrize("stage", ["background", "foreground"])
def test_no_tensors_are_kept_from_step_to_step(stage):
    assert tensors_kept(tiny(), Progress(stage, 1, 4, 0, 330)) == 0
