"""objmae behind the method contract: loss, optimizer, segmentation, variants, refusals."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from objbench.errors import RequestError
from objbench.methods.base import Progress, Stage
from objbench.spec.nested import flatten
from objbench.spec.settings import parse
from objmae.method import ObjMAE
from objmae.model import patchify

TINY = {"model__width": 16, "model__depth": 1, "model__decoder_width": 16, "model__decoder_depth": 1}


@pytest.fixture
def tiny_method(build):
    return lambda dataset="tetrominoes", **overrides: build(dataset, **TINY, **overrides)


@pytest.fixture
def images():
    torch.manual_seed(0)
    return torch.rand(2, 3, 35, 35)


def seeded_loss(method: ObjMAE, images: torch.Tensor, progress: Progress) -> torch.Tensor:
    torch.manual_seed(5)
    return method.training_loss(images, progress).total


def test_the_paper_s_recipe_is_one_stage(build):
    assert build().stages() == [Stage("train", steps=None, epochs=330, batch_size=128, precision="fp32")]


@pytest.mark.parametrize(
    ("epoch", "weights"), [(0, (1e-4, 1e-4)), (155, (1.55e-3, 5.05e-3)), (329, (3e-3, 1e-2))]
)
def test_total_is_the_weighted_sum_of_the_parts(tiny_method, images, at_epoch, epoch, weights):
    losses = tiny_method().training_loss(images, at_epoch(epoch))
    parts = losses.parts
    assert list(parts) == ["reconstruction", "pixel_entropy", "object_entropy"]
    expected = (
        parts["reconstruction"] + weights[0] * parts["pixel_entropy"] + weights[1] * parts["object_entropy"]
    )
    torch.testing.assert_close(losses.total, expected)


def test_reconstruction_is_measured_from_minus_one_to_one(tiny_method, at_epoch):
    method = tiny_method()
    nn.init.zeros_(method.model.head.weight)  # so that every pixel is predicted as 0, the middle gray
    losses = method.training_loss(torch.ones(2, 3, 35, 35), at_epoch(0))
    assert losses.parts["reconstruction"].item() == pytest.approx(1)
    losses = method.training_loss(torch.full((2, 3, 35, 35), 0.25), at_epoch(0))
    assert losses.parts["reconstruction"].item() == pytest.approx(0.25)


def test_gradients_reach_every_parameter(tiny_method, images, at_epoch):
    method = tiny_method()
    method.training_loss(images, at_epoch(0)).total.backward()
    assert [name for name, p in method.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_only_a_part_of_the_patches_is_seen_until_the_ramp_ends(tiny_method, images, at_epoch):
    method, seen = tiny_method(), []
    method.model.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[1].shape[1]))
    for epoch in (0, 155, 300):
        method.training_loss(images, at_epoch(epoch))
    assert seen == [12, 30, 49]


def test_random_numbers_come_from_the_default_generator(tiny_method, images, at_epoch):
    method = tiny_method()
    assert torch.equal(seeded_loss(method, images, at_epoch(0)), seeded_loss(method, images, at_epoch(0)))
    assert not torch.equal(
        seeded_loss(method, images, at_epoch(0)), method.training_loss(images, at_epoch(0)).total
    )


def test_token_noise_acts_in_the_warm_up_only(tiny_method, images, at_epoch):
    quiet, noisy = tiny_method(), tiny_method(schedule__token_noise=0.1)
    assert not torch.equal(seeded_loss(quiet, images, at_epoch(10)), seeded_loss(noisy, images, at_epoch(10)))
    assert torch.equal(seeded_loss(quiet, images, at_epoch(11)), seeded_loss(noisy, images, at_epoch(11)))


def test_low_precision_loss_is_close_to_the_exact_one(tiny_method, images, at_epoch):
    method = tiny_method()
    exact = seeded_loss(method, images, at_epoch(155))
    with torch.autocast("cpu", torch.bfloat16):
        low = seeded_loss(method, images, at_epoch(155))
    assert low.dtype is torch.float32
    assert low.item() == pytest.approx(exact.item(), rel=5e-3)


def test_a_few_steps_lower_the_loss(tiny_method, at_epoch):
    method, images = tiny_method(), torch.ones(2, 3, 35, 35)
    [(adamw, _)] = method.optimizers(method.stages()[0])
    first = seeded_loss(method, images, at_epoch(0))
    for _ in range(10):
        loss = seeded_loss(method, images, at_epoch(0))
        adamw.zero_grad()
        loss.backward()
        adamw.step()
    assert seeded_loss(method, images, at_epoch(0)) < 0.9 * first


def test_decay_spares_biases_and_layer_norms_only(build):
    method = build()
    [(adamw, _)] = method.optimizers(method.stages()[0])
    names = {id(p): name for name, p in method.named_parameters()}
    decayed, spared = ({names[id(p)] for p in group["params"]} for group in adamw.param_groups)
    linear = {f"{n}.weight" for n, m in method.named_modules() if isinstance(m, nn.Linear)}
    assert decayed == linear | {"model.class_tokens", "model.mask_token"}
    assert "model.patch_projection.weight" in decayed
    assert spared == set(names.values()) - decayed
    assert [group["weight_decay"] for group in adamw.param_groups] == [0.05, 0]


def test_adamw_has_the_recipe_s_constants(build):
    method = build()
    [(adamw, _)] = method.optimizers(method.stages()[0])
    assert adamw.defaults["betas"] == (0.9, 0.999)
    assert adamw.defaults["eps"] == 1e-8


def test_adamw_has_the_constants_that_are_set(build):
    constants = {"beta1": 0.8, "beta2": 0.95, "eps": 1e-6, "weight_decay": 0.1}
    method = build(**{f"optimizer__{key}": value for key, value in constants.items()})
    [(adamw, _)] = method.optimizers(method.stages()[0])
    assert (adamw.defaults["betas"], adamw.defaults["eps"]) == ((0.8, 0.95), 1e-6)
    assert [group["weight_decay"] for group in adamw.param_groups] == [0.1, 0]


def test_without_masking_the_mask_token_is_the_one_parameter_that_learns_nothing(build, images, at_epoch):
    unmasked = build(**TINY, schedule__mask_ratio=0)
    unmasked.training_loss(images, at_epoch(0)).total.backward()
    still = [name for name, p in unmasked.named_parameters() if p.grad is None or not p.grad.any()]
    assert tuple(still) == unmasked.frozen == ("model.mask_token",)
    assert build(**TINY).frozen == ()


def test_learning_rate_follows_the_nominal_epoch(build):
    method = build()
    [(_, rate)] = method.optimizers(method.stages()[0])
    full = [Progress("train", 468 * epoch, 154_440, epoch, 330) for epoch in (0, 5, 155, 329)]
    short = [Progress("train", epoch, 330, 0, 330) for epoch in (0, 5, 155, 329)]
    assert (
        [rate(p) for p in full]
        == [rate(p) for p in short]
        == [method.settings.schedule.rate(e) for e in (0, 5, 155, 329)]
    )


def test_segmentation_in_image_units(tiny_method, images):
    method = tiny_method()
    found = method.segment(images)
    assert found.masks.shape == (2, 4, 35, 35)
    assert found.reconstruction.shape == (2, 3, 35, 35)
    assert found.components.shape == (2, 4, 3, 35, 35)
    assert found.slots.shape == (2, 4, 16)
    assert found.attention.shape == (2, 4, 7, 7)
    torch.testing.assert_close(found.masks.sum(1), torch.ones(2, 35, 35))
    torch.testing.assert_close(found.attention.sum(1), torch.ones(2, 7, 7))
    torch.testing.assert_close(found.reconstruction, (found.masks[:, :, None] * found.components).sum(1))


def test_segmentation_error_is_the_training_error_on_the_scale_of_images(tiny_method, images, at_epoch):
    method = tiny_method()
    training = method.training_loss(images, at_epoch(329)).parts["reconstruction"]
    found = method.segment(images).reconstruction
    torch.testing.assert_close((found - images).square().mean(), training / 4)


def test_attention_lies_on_the_patch_grid_row_by_row(tiny_method, images):
    method = tiny_method()
    nn.init.normal_(method.model.class_tokens)
    out = method.model(patchify(2 * images - 1, 5), torch.arange(49).expand(2, 49))
    attention = method.segment(images).attention
    for row, column in [(0, 0), (2, 5), (6, 6)]:
        torch.testing.assert_close(attention[0, :, row, column], out.log_attention[0, 7 * row + column].exp())


def test_segmentation_draws_no_random_number_at_any_progress(tiny_method, images, at_epoch):
    method = tiny_method(schedule__token_noise=0.1)
    before = torch.get_rng_state()
    early, late = method.segment(images, at_epoch(0)), method.segment(images)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(early.masks, late.masks)


@pytest.mark.parametrize(
    ("variant", "changes"),
    [
        ("no_object_entropy", {"schedule.object_entropy": 0, "schedule.final_object_entropy": 0}),
        ("no_pixel_entropy", {"schedule.pixel_entropy": 0, "schedule.final_pixel_entropy": 0}),
        (
            "no_entropy",
            {
                "schedule.pixel_entropy": 0,
                "schedule.final_pixel_entropy": 0,
                "schedule.object_entropy": 0,
                "schedule.final_object_entropy": 0,
            },
        ),
        ("no_masking", {"schedule.mask_ratio": 0}),
        ("code_weights", {"schedule.final_pixel_entropy": 1e-2, "schedule.final_object_entropy": 3e-3}),
    ],
)
@pytest.mark.parametrize("dataset", ["tetrominoes", "multi_dsprites", "clevr6", "clevrtex"])
def test_a_variant_changes_what_it_says_and_nothing_else(configure, dataset, variant, changes):
    base, varied = flatten(configure(dataset)), flatten(configure(dataset, f"objmae:{variant}"))
    assert {key: value for key, value in varied.items() if value != base[key]} == changes


@pytest.mark.parametrize("dataset", ["tetrominoes", "multi_dsprites", "clevr6", "clevrtex"])
def test_stable_keeps_masking_and_noise_for_almost_half_of_the_training(configure, dataset):
    base, stable = flatten(configure(dataset)), flatten(configure(dataset, "objmae:stable"))
    changed = {"schedule.warmup_epochs": 150, "schedule.token_noise": 0.1}
    assert stable == base | changed
    schedule = ObjMAE.Settings(**configure(dataset, "objmae:stable")).schedule
    assert schedule.noise(150) == 0.1
    assert schedule.noise(151) == 0
    assert schedule.kept_patches(149, 64) == schedule.kept_patches(0, 64)
    assert schedule.entropy_weights(149) == schedule.entropy_weights(0) == (1e-4, 1e-4)
    assert schedule.rate(10) > 0.99 * schedule.learning_rate  # its warm-up is that of the paper


def test_demo_is_short_and_small(build):
    method = build(name="objmae:demo")
    assert method.stages() == [Stage("train", steps=4500, batch_size=32, clip_norm=1.0, precision="fp32")]
    assert (method.settings.model.width, method.settings.model.decoder_width) == (48, 64)


def test_small_is_the_model_of_demo_in_a_longer_training(build):
    demo, small = build(name="objmae:demo"), build(name="objmae:small")
    assert small.settings.model == demo.settings.model
    assert small.stages() == [Stage("train", steps=9000, batch_size=32, clip_norm=1.0, precision="fp32")]
    schedule = small.settings.schedule
    assert [schedule.noise(step) for step in (2250, 2251)] == [0.3, 0.0]
    assert [schedule.kept_patches(step, 49) for step in (0, 2250, 8499, 8500)] == [24, 24, 48, 49]


def test_images_of_another_size_are_refused(tiny_method, at_epoch):
    message = r"built for images of 3x35x35 \(channels x height x width\), got 3x64x64"
    with pytest.raises(RequestError, match=message):
        tiny_method().segment(torch.rand(2, 3, 64, 64))
    with pytest.raises(RequestError, match=message):
        tiny_method().training_loss(torch.rand(2, 3, 64, 64), at_epoch(0))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"model__patch": 6}, r"model\.patch: expected a divisor of the image size 35x35, found 6"),
        (
            {"schedule__mask_ratio": 0.99},
            r"schedule\.mask_ratio: expected .* one of an image's 49 patches, found 0\.99",
        ),
        (
            {"recipe__nominal_epochs": 100},
            r"schedule\.ramp_end: expected at most recipe\.nominal_epochs=100, found 300",
        ),
    ],
)
def test_impossible_settings_are_refused_with_their_numbers(build, overrides, message):
    with pytest.raises(RequestError, match=message):
        build(**overrides)


def test_the_ramp_may_end_with_the_training(build):
    assert build(**TINY, schedule__ramp_end=330).settings.schedule.ramp_end == 330


def test_an_unknown_key_is_refused_with_the_closest_one(configure):
    config = configure()
    config["schedule"] = {**config["schedule"], "warmup_epoch": 3}
    with pytest.raises(RequestError, match=r"unknown key .*'warmup_epoch': did you mean 'warmup_epochs'"):
        parse(ObjMAE.Settings, config)
