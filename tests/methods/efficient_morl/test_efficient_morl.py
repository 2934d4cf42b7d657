"""EfficientMORL: its size, its hierarchy, its losses and refinements, and the contract."""

from __future__ import annotations

import gc
import math

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from objbench.errors import RequestError
from objbench.methods.base import Progress
from objbench.methods.create import create
from objbench.methods.efficient_morl import ENDED, Refiner, loss_weights
from objbench.methods.efficient_morl.hierarchy import BottomUp, TopDown, diagonal, divergence
from objbench.methods.parts.gaussian import Gaussian
from objbench.methods.parts.geco import likelihood_floor
from objbench.testing import check_method, random_scenes

SMALL = {
    "model.channels": 4,
    "model.encoder_strides": [5, 1],
    "model.width": 4,
    "model.hidden": 6,
    "model.decoder.channels": 4,
    "model.decoder.strides": [5],
    "refinements": [2, 1],
}


def make(dataset="tetrominoes", **overrides):
    torch.manual_seed(0)
    return create("efficient_morl", dataset, **overrides)


def small(**overrides):
    return make(**{**SMALL, **overrides})


def at(step, steps=200_000):
    return Progress("train", step, steps, 0, 330)


def images(count=2):
    return random_scenes(count, (3, 35, 35)).float() / 255


@pytest.mark.parametrize(
    ("dataset", "parameters", "grid"),
    [
        ("tetrominoes", 467_236, (41, 41)),
        ("multi_dsprites", 666_500, (74, 74)),
        ("clevr6", 666_500, (138, 138)),
        ("clevrtex", 666_500, (138, 138)),
    ],
)
def test_models_are_as_large_as_published(dataset, parameters, grid):
    method = make(dataset=dataset)
    assert sum(p.numel() for p in method.parameters()) == parameters
    assert method.decoder.grid == grid


@pytest.mark.parametrize(("dataset", "activation"), [("tetrominoes", nn.ReLU), ("clevr6", nn.ELU)])
def test_decoders_have_their_activations(dataset, activation):
    found = {type(layer) for layer in make(dataset=dataset).decoder.layers[1::2]}
    assert found == {activation}


def test_networks_start_small_except_for_the_published_exceptions():
    method = make()
    middle = method.decoder.layers[2]
    assert middle.weight.std().item() == pytest.approx(0.02 * math.sqrt(2 / (2 * 32 * 25)), rel=0.05)
    assert not middle.bias.any()
    step = method.refiner.step.weight  # two maps of width to width
    assert step.std().item() == pytest.approx(0.02 * math.sqrt(2 / (32 + 32)), rel=0.1)
    prior = method.top_down.last.weight  # two maps of 128 to width
    assert prior.std().item() == pytest.approx(0.02 * math.sqrt(2 / (128 + 32)), rel=0.05)
    assert method.encoder.position.projection.weight.abs().max() > 0.1
    assert method.refiner.gru.weight_hh.abs().max() > 0.1
    assert method.bottom_up.gru.weight_state.abs().max() > 2


def test_one_layer_is_attention_two_grus_and_two_mlps():
    torch.manual_seed(0)
    net, features, noise = BottomUp(6, 4, 1), torch.randn(2, 9, 6), torch.randn(2, 1, 3, 4)
    (raw,), attention = net(features, noise)
    z = noise[:, 0] * math.sqrt(math.log1p(math.e) + 1e-5)
    scores = net.key(features) @ net.query(nn.functional.layer_norm(z, (4,))).mT / 2  # sqrt(D)
    expected = scores.softmax(2)
    weights = (expected + 1e-8) / (expected + 1e-8).sum(1, keepdim=True)
    initial = torch.tensor([0.0] * 4 + [1.0] * 4).expand(2, 3, 8)
    mean, variance = net.gru(weights.mT @ net.value(features), initial).chunk(2, dim=-1)
    mean, variance = mean + net.mean_mlp(mean), variance + net.variance_mlp(variance)
    torch.testing.assert_close(attention, expected)
    torch.testing.assert_close(raw, torch.cat([mean, variance], dim=-1))


def test_every_layer_begins_with_a_sample_of_the_one_below():
    torch.manual_seed(0)
    net, features, noise = BottomUp(6, 4, 2), torch.randn(2, 9, 6), torch.randn(2, 2, 3, 4)
    (below, above), _ = net(features, noise)
    torch.testing.assert_close(net(features, noise[:, :1].repeat(1, 2, 1, 1))[0][0], below)
    net.initial = nn.Parameter(below)  # a net of one layer that begins where the first one ended
    net.layers = 1
    torch.testing.assert_close(net(features, noise[:, 1:])[0][0], above)


def test_slots_differ_by_their_noise_alone():
    torch.manual_seed(0)
    net, features, noise = BottomUp(6, 4, 3), torch.randn(2, 9, 6), torch.randn(2, 3, 5, 4)
    order = torch.tensor([3, 0, 4, 1, 2])
    (*_, top), attention = net(features, noise)
    (*_, moved), moved_attention = net(features, noise[:, :, order])
    torch.testing.assert_close(moved, top[:, order])
    torch.testing.assert_close(moved_attention, attention[:, :, order])


def test_priors_come_from_fresh_samples_of_the_layer_above():
    torch.manual_seed(0)
    net, noise = TopDown(4, 6), torch.randn(2, 2, 3, 4)
    posteriors = [diagonal(torch.randn(2, 3, 8)) for _ in range(3)]
    low, middle, top = net(posteriors, noise)
    sample = posteriors[1].mean + posteriors[1].deviation * noise[:, 0]
    torch.testing.assert_close(low.mean, net.last(net.first(sample))[..., :4])
    sample = posteriors[2].mean + posteriors[2].deviation * noise[:, 1]
    variance = nn.functional.softplus(net.last(net.first(sample))[..., 4:]) + 1e-5
    torch.testing.assert_close(middle.deviation, variance.sqrt())
    assert not top.mean.any()
    assert (top.deviation == 1).all()


def test_divergence_adds_up_layers_slots_and_dimensions():
    torch.manual_seed(0)
    posteriors, priors = ([diagonal(torch.randn(2, 3, 8)) for _ in range(3)] for _ in range(2))
    expected = sum(
        kl_divergence(Normal(q.mean, q.deviation), Normal(p.mean, p.deviation)).sum((1, 2))
        for q, p in zip(posteriors, priors, strict=True)
    )
    torch.testing.assert_close(divergence(posteriors, priors), expected)


@pytest.mark.parametrize(("refinements", "weights"), [(3, [6 / 4, 5 / 4, 4 / 4, 3 / 4]), (1, [2, 1.5])])
def test_early_losses_weigh_more(refinements, weights):
    assert loss_weights(refinements) == weights


def test_the_loss_is_the_weighted_sum_over_all_refinements():
    method, batch = small(), images()
    torch.manual_seed(1)
    found = method.training_loss(batch, at(0))
    torch.manual_seed(1)
    losses, last, _ = method.infer(batch, at(0))
    assert len(losses) == 3
    expected = (5 * losses[0] + 4 * losses[1] + 3 * losses[2]).mean() / 3
    torch.testing.assert_close(found.total, expected)
    torch.testing.assert_close(found.parts["kl"], last.kl.mean())
    torch.testing.assert_close(found.parts["reconstruction"], last.error.mean())


def test_refined_latents_are_compared_with_the_lowest_prior(monkeypatch):
    method, batch, priors = small(), images(), []
    nn.init.zeros_(method.refiner.step.weight)  # refinement changes nothing
    top_down = method.top_down.forward
    monkeypatch.setattr(method.top_down, "forward", lambda *args: priors.extend(top_down(*args)) or priors)
    losses, last, _ = method.infer(batch, at(0))
    assert len(priors) == 3
    torch.testing.assert_close(last.kl, diagonal(last.latents).kl_to(priors[0]).sum(1))
    assert not torch.isclose(last.kl, diagonal(last.latents).kl_to_standard().sum(1)).any()
    assert len(losses) == 3


def test_what_is_refined_are_the_latents_of_the_highest_layer():
    method, highest = small(), []
    nn.init.zeros_(method.refiner.step.weight)  # refinement changes nothing
    method.bottom_up.register_forward_hook(lambda module, given, found: highest.append(found[0][-1]))
    _, last, _ = method.infer(images(), at(0))
    torch.testing.assert_close(last.latents, highest[0])


def test_refiner_sees_means_and_variances_at_their_own_scales():
    torch.manual_seed(0)
    refiner = Refiner(4, 6)
    latents, gradient, state = torch.randn(2, 3, 8), torch.randn(2, 3, 8), torch.zeros(2, 3, 4)
    scales = torch.tensor([1000.0] * 4 + [100.0] * 4)
    step, after = refiner(latents, 1000 * gradient, state)
    torch.testing.assert_close(
        refiner(latents, scales * gradient, state), (step, after), rtol=1e-4, atol=1e-5
    )
    assert not torch.allclose(refiner(latents, -1000 * gradient, state)[0], step, atol=1e-3)


def test_refinements_get_fewer_as_training_goes_on():
    method = small(refinements=[3, 1, 1])
    counts = [
        len(method.infer(images(1), progress)[0]) - 1
        for progress in (at(0, 300_000), at(99_999, 300_000), at(100_000, 300_000), ENDED)
    ]
    assert counts == [3, 3, 1, 1]


def test_segment_refines_as_often_as_at_the_end_of_training():
    method, decoded = small(refinements=[3, 1]), []
    method.decoder.register_forward_hook(lambda *args: decoded.append(1))
    with torch.no_grad():
        method.eval().segment(images())
    assert len(decoded) == 2


def test_captured_steps_are_parted_where_refinements_or_geco_change():
    method = small(refinements=[2, 1])
    keys = [method.capture_key(at(step)) for step in (0, 999, 1000, 99_999, 100_000)]
    assert keys == [(2, False), (2, False), (2, True), (2, True), (1, True)]


def test_without_target_the_loss_is_the_evidence_lower_bound():
    method = small(**{"geco.target": None})
    assert method.geco is None
    losses, last, _ = method.infer(images(), at(5000))
    torch.testing.assert_close(losses[-1], last.error + last.kl)


def test_from_the_start_of_geco_on_the_loss_is_its_lagrangian():
    method = small()
    method.geco.average.fill_(-7.0)
    for step, expected in ((999, None), (1000, 7 * math.log1p(math.exp(0.55)))):
        losses, last, _ = method.infer(images(), at(step))
        constraint = last.error if expected is None else torch.tensor(expected)
        torch.testing.assert_close(losses[-1], last.kl + constraint)


def test_geco_makes_likelihood_weigh_more_while_the_target_is_out_of_reach():
    method = small()
    found = method.training_loss(images(), at(5000))
    before = method.geco.multiplier.item()
    method.after_step(at(999), found, [])
    method.after_step(at(1000), found, [])
    assert method.geco.multiplier.item() == before
    method.after_step(at(1001), found, [])
    assert method.geco.multiplier.item() > before


def test_target_of_tetrominoes_lies_below_the_floor_as_published():
    settings = make().settings
    assert settings.geco.target < likelihood_floor(settings.likelihood.sigma, normalised=False)


def test_first_and_refined_latents_get_gradients_in_evaluation_without_leaving_any():
    method = small().eval()
    with torch.no_grad():
        losses, last, _ = method.infer(images(), ENDED)
    assert not any(loss.requires_grad for loss in losses)
    assert not last.loss.requires_grad
    assert all(parameter.grad is None for parameter in method.parameters())


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("refinements", [], r"refinements: expected a non-empty list of whole numbers >= 1, found \[\]"),
        ("refinements", [3, 0], r"refinements\.1: expected a whole number >= 1, found 0"),
        ("likelihood.kind", "mixtures", "likelihood.kind: expected mixture or composed, found 'mixtures'"),
        (
            "model.decoder.activation",
            "rely",
            r"model\.decoder\.activation: expected elu or relu, found 'rely'",
        ),
        ("model.decoder.padding", 40, r"model\.decoder\.padding: expected less \(.*\), found 40"),
        ("geco.start", -1, r"geco\.start: expected a whole number >= 0, found -1"),
        ("geco.target", math.inf, r"geco\.target: expected a number or null, found inf"),
        ("likelihood.sigma", 0.0, r"likelihood\.sigma: expected a number > 0, found 0\.0"),
        ("model.layers", 0, r"model\.layers: expected a whole number >= 1, found 0"),
        (
            "model.decoder.strides",
            [6],
            r"model\.decoder\.strides: expected whole numbers up to model\.decoder\.kernel=5, found \[6\]",
        ),
    ],
)
def test_what_cannot_be_is_refused(key, value, message):
    with pytest.raises(RequestError, match=message):
        small(**{key: value})


def test_it_keeps_the_contract():
    passed = check_method("efficient_morl", "tetrominoes", overrides={**SMALL, "geco.start": 2})
    assert set(passed) >= {"losses", "gradients", "determinism", "resume", "captured_steps"}


def test_it_may_work_at_a_lower_resolution():
    method, batch = small(**{"model.resolution": 10}), images()
    assert method.decoder.grid == (2, 2)
    assert method.geco.goal == pytest.approx(-1.224 * 3 * 10 * 10)
    with torch.no_grad():
        found = method.eval().segment(batch)
    assert found.masks.shape == (2, 4, 35, 35)
    torch.testing.assert_close(found.reconstruction, (found.masks[:, :, None] * found.components).sum(1))


def test_nothing_of_a_refinement_outlives_it():
    method, batch = small(), images()

    def tensors():
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    def step():
        method.training_loss(batch, at(0)).total.backward()
        with torch.no_grad():
            method.segment(batch)

    step()
    before = tensors()
    step()
    assert tensors() == before


def test_it_trains_with_weights_in_bfloat16():
    method, batch = small(), images()
    expected = method.training_loss(batch, at(0)).total
    for module in method.modules():  # as the captured step has them
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            module.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = method.training_loss(batch, at(0)).total
    found.backward()
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0.01, atol=0)


def test_gaussian_of_latents_has_a_floor():
    assert isinstance(diagonal(torch.zeros(2)), Gaussian)
    assert diagonal(torch.tensor([0.0, -200.0])).deviation.item() == pytest.approx(math.sqrt(1e-5))


def test_segments_are_the_same_in_an_inference_mode():
    method, seeds, masks = small().eval(), torch.tensor([3, 4]), []
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            method.seed_images(seeds)
            masks.append(method.segment(torch.full((2, 3, 35, 35), 0.5)).masks)
    assert torch.equal(*masks)
