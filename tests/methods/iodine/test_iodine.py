"""IODINE: its sizes, its likelihoods, what its refiner sees, and gradients that stay where they belong."""

from __future__ import annotations

import gc
import math
import weakref

import pytest
import torch

from objbench import create
from objbench.errors import RequestError
from objbench.methods.base import Progress
from objbench.methods.iodine.refiner import Explanation
from objbench.methods.parts.iterative_inference import iterative_inference
from objbench.methods.parts.position import coordinate_grid, cosine_grid
from objbench.testing import check_method

TINY = {
    "model.resolution": 7,
    "model.latent": 4,
    "model.updates": 2,
    "model.decoder_channels": [6],
    "model.decoder_kernel": 3,
    "model.refiner_channels": [6],
    "model.refiner_kernel": 3,
    "model.refiner_hidden": [8],
    "model.memory": 5,
}
PROGRESS = Progress("train", 0, 10, 0, 1)


def tiny(name="iodine", **overrides):
    torch.manual_seed(0)
    return create(name, "tetrominoes", **{**TINY, **overrides})


def explanation(method, images):
    """Of the first latents."""
    latents = method.first_latents.expand(len(images), method.slots, -1)
    return method._decode(images, latents)


@pytest.mark.parametrize(("valid", "grid", "last"), [(False, (7, 7), (3, 3)), (True, (11, 11), (1, 1))])
def test_without_padding_the_decoder_begins_on_a_larger_grid(valid, grid, last):
    decoder = tiny(**{"model.decoder_channels": [6, 6], "model.decoder_valid": valid}).decoder
    assert (decoder.grid, decoder.layers[-1].kernel_size) == (grid, last)
    assert decoder(torch.zeros(1, 4)).shape == (1, 4, 7, 7)


@pytest.mark.parametrize(("rgb", "colour"), [("linear", 3.0), ("sigmoid", 1 / (1 + math.exp(-3)))])
def test_colours_are_as_the_decoder_paints_them_or_squashed(rgb, colour):
    method = tiny(**{"model.rgb": rgb})
    with torch.no_grad():
        method.decoder.layers[-1].weight.zero_()
        method.decoder.layers[-1].bias.fill_(3)
    components = explanation(method, torch.rand(2, 3, 7, 7)).components
    torch.testing.assert_close(components, torch.full_like(components, colour))


@pytest.mark.parametrize(
    ("name", "dataset", "parameters"),
    [
        # by hand: decoder 151,172 + norms 268 + convolutions 120,640 + MLP 82,432
        #          + LSTM 4 * 256 * (512 + 256 + 2) = 788,480 + head 32,896 + first latents 128
        ("iodine", "clevr6", 1_176_016),
        # counted in DeepMind's code, less what it has for the constants that it appends (on CLEVR6 1,152)
        ("iodine", "tetrominoes", 199_568 - 1_664),
        ("iodine", "multi_dsprites", 339_152 - 1_600),
        # as the reference counts the port, 1.64 million with 196,608 + 512 of layer norms; + 256 first latents
        ("iodine:clevrtex", "clevrtex", 1_636_804 + 256),
        ("iodine", "clevrtex", 1_636_804 + 256),
    ],
)
def test_parameters(name, dataset, parameters):
    with torch.device("meta"):
        method = create(name, dataset)
    assert sum(p.numel() for p in method.parameters()) == parameters


@pytest.mark.parametrize(("variant", "memory"), [("", 0), (":clevrtex", 5)])
def test_keeps_the_contract(variant, memory):
    passed = check_method(f"iodine{variant}", "tetrominoes", overrides={**TINY, "model.memory": memory})
    assert {"gradients", "determinism", "resume", "captured_steps", "batch_size_does_not_matter"} <= set(
        passed
    )


def test_likelihood_of_smaller_pictures_is_that_of_the_images_they_stand_for():
    """Lest the divergence weighs more, the smaller the pictures are."""
    method, small = tiny(), torch.rand(2, 3, 7, 7)
    found = explanation(method, small)
    large = [x.detach().repeat_interleave(5, -1).repeat_interleave(5, -2) for x in found[1:4]]
    densities = method.likelihood.densities(small.repeat_interleave(5, -1).repeat_interleave(5, -2), large[0])
    expected = -(densities + large[2]).logsumexp(1).sum((1, 2, 3))
    torch.testing.assert_close(found.error, expected, atol=1e-2, rtol=1e-5)


def test_divergence_is_to_the_prior_of_the_given_variance():
    method, images = tiny(), torch.rand(2, 3, 7, 7)
    with torch.no_grad():
        method.first_latents.normal_()
        found = explanation(method, images)
    mean, raw = method.first_latents.detach().chunk(2)
    posterior = torch.distributions.Normal(mean, torch.nn.functional.softplus(raw).sqrt())
    prior = torch.distributions.Normal(0.0, math.sqrt(math.log(2)))
    expected = method.slots * torch.distributions.kl_divergence(posterior, prior).sum()
    torch.testing.assert_close(found.divergence, expected.expand(2), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("first", "weights"), [(0.0, [0, 0.5, 1]), (0.2, [0.2, 0.6, 1])])
def test_weights_of_the_losses_rise_to_one(monkeypatch, first, weights):
    method = tiny(**{"loss.first_weight": first})
    last = explanation(method, torch.rand(2, 3, 7, 7))
    losses = [torch.tensor([1.0, 3.0]), torch.tensor([10.0, 30.0]), torch.tensor([100.0, 300.0])]
    monkeypatch.setattr(method, "_explain", lambda images: (losses, last))
    with torch.no_grad():
        total = method.training_loss(torch.rand(2, 3, 35, 35), PROGRESS).total
    assert total.item() == pytest.approx(2 * weights[0] + 20 * weights[1] + 200 * weights[2])


def test_each_slot_is_shown_its_own_image():
    """Repeating a batch and then viewing it as (B,K) shows the slots other images of the batch; a known defect."""
    method, images = tiny(), torch.rand(3, 3, 7, 7)
    found = explanation(method, images)
    gradients = torch.autograd.grad(found.loss.sum(), found.watched)
    shown = torch.cat(method.refiner._maps(images, found, gradients), dim=2)
    assert shown.shape == (3, method.slots, 23, 7, 7)  # 15 of the explanation, 8 products of cosines
    for slot in range(method.slots):
        assert torch.equal(shown[:, slot, :3], images)


@pytest.mark.parametrize("logarithms", [False, True])
def test_refiner_sees_all_of_an_explanation(logarithms):
    sees = "logarithms" if logarithms else "probabilities"
    method = tiny(
        **{"model.cosines": 0, "model.refiner_sees": sees, "loss.scale": 0.3}
    )  # no differences of equals
    images = torch.rand(2, 3, 7, 7)
    found = explanation(method, images)
    gradients = torch.autograd.grad(found.loss.sum(), found.watched)
    shown = torch.cat(method.refiner._maps(images, found, gradients), dim=2)
    assert shown.shape[2] == 17

    def normalised(x):
        flat = x.flatten(2)
        spread = (flat.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        return ((flat - flat.mean(-1, keepdim=True)) / spread).view_as(x)

    masks = found.logits.softmax(1)
    likelihood = (found.densities + masks.log()).logsumexp(1, keepdim=True)
    pixels = found.densities.exp()
    # by hand: d(-log sum_k m_k p_k)/d log m_k = -m_k p_k / sum_j m_j p_j, d/d logit_k = that + m_k
    mask_gradient = -masks * pixels / (masks * pixels).sum(1, keepdim=True)
    if logarithms:
        ownership = found.densities - found.densities.logsumexp(1, keepdim=True)
    else:
        ownership = pixels / (pixels.sum(1, keepdim=True) + 1e-6)
        mask_gradient = mask_gradient + masks
    for channels, expected in [
        (slice(3, 6), found.components),
        (slice(6, 7), found.logits),
        (slice(7, 8), masks.log() if logarithms else masks),
        (slice(8, 9), ownership),
        (slice(12, 13), normalised(mask_gradient * method.resolution.pixels)),
        (
            slice(13, 14),
            normalised(likelihood * method.resolution.pixels).expand(-1, method.slots, -1, -1, -1),
        ),
        (slice(15, 17), coordinate_grid(7, 7).expand(2, method.slots, -1, -1, -1)),
    ]:
        torch.testing.assert_close(shown[:, :, channels], expected, atol=1e-3, rtol=1e-3)


def test_first_weights_are_those_of_the_published_code():
    torch.manual_seed(0)
    method = create("iodine", "clevr6", **{"model.resolution": 8})
    lstm = method.refiner.lstm
    for weight, inputs in [
        (method.decoder.layers[2].weight, 64 * 9),
        (method.refiner.mlp[0].weight, 64),
        (lstm.weight_ih, 512 + 256),
        (lstm.weight_hh, 512 + 256),
    ]:
        assert weight.std().item() == pytest.approx(
            0.8796 / math.sqrt(inputs), rel=0.02
        )  # 0.8796: of the cut normal
        assert weight.abs().max().item() == pytest.approx(2 / math.sqrt(inputs), rel=0.05)
    gates = (lstm.bias_ih + lstm.bias_hh).view(4, 256)
    assert gates.tolist() == [[0] * 256, [1] * 256, [0] * 256, [0] * 256]
    assert not method.refiner.change.bias.any()
    assert method.first_latents.abs().max().item() == pytest.approx(math.sqrt(3 / 128), rel=0.05)
    assert method.first_latents.std().item() == pytest.approx(math.sqrt(1 / 128), rel=0.15)


def test_first_weights_of_the_clevrtex_benchmark_are_its_own():
    method = tiny("iodine:clevrtex")
    assert method.first_latents.tolist() == [0] * 4 + [1] * 4
    assert method.refiner.lstm.bias_ih.any()  # as torch makes it


@pytest.mark.parametrize(
    ("variant", "last"), [("iodine", torch.nn.Linear), ("iodine:clevrtex", torch.nn.ELU)]
)
def test_the_refiners_last_hidden_layer_is_linear_but_in_the_clevrtex_benchmark(variant, last):
    method = tiny(variant, **{"model.refiner_hidden": [8, 6]})
    assert [type(layer) for layer in method.refiner.mlp][1:] == [torch.nn.ELU, torch.nn.Linear, torch.nn.ELU][
        : 2 if last is torch.nn.Linear else 3
    ]


@pytest.mark.parametrize(("variant", "shape"), [("iodine", [3, 1, 1]), ("iodine:clevrtex", [3, 7, 7])])
def test_norms_scale_channels_or_elements(variant, shape):
    norm, x = tiny(variant).refiner.component_norm, torch.randn(2, 4, 3, 7, 7)
    parameters = dict(norm.named_parameters())
    assert {tuple(p.shape) for p in parameters.values()} == {tuple(shape)}
    with torch.no_grad():
        scale, shift = parameters.values()
        scale[1], shift[2] = 3.0, 5.0
    expected = torch.nn.functional.layer_norm(x, (3, 7, 7))
    expected = torch.stack([expected[:, :, 0], 3 * expected[:, :, 1], expected[:, :, 2] + 5], dim=2)
    torch.testing.assert_close(norm(x), expected)


def test_gradients_shown_are_constants_but_latents_are_differentiated_through():
    method, images = tiny(), torch.rand(2, 3, 7, 7)
    found = explanation(method, images)
    gradients = torch.autograd.grad(found.loss.sum(), found.watched, retain_graph=True)
    assert not any(gradient.requires_grad for gradient in gradients)
    latents, _ = method.refiner(images, found, gradients, None)
    (gradient,) = torch.autograd.grad(latents.sum(), method.first_latents, retain_graph=True)
    assert bool((gradient != 0).all())
    losses, _ = method._explain(images)
    (gradient,) = torch.autograd.grad(losses[-1].sum(), method.first_latents)
    assert bool((gradient != 0).any())


def test_slots_are_equivariant(monkeypatch):
    """Noise in another order of the slots gives the same explanation with its slots in that order."""
    method, images, order = tiny(), torch.rand(2, 3, 35, 35), torch.tensor([2, 0, 3, 1])
    noises = torch.randn(3, 2, 4, 4)

    def segment(noises):
        given = iter(noises)
        monkeypatch.setattr(method, "normal", lambda images, *shape: next(given))
        with torch.no_grad():
            return method.segment(images)

    found, permuted = segment(noises), segment(noises[:, :, order])
    torch.testing.assert_close(permuted.masks, found.masks[:, order], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(permuted.slots, found.slots[:, order], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(permuted.reconstruction, found.reconstruction, atol=1e-4, rtol=1e-4)


def test_segments_with_gradients_inside_and_none_outside():
    method, images = tiny().eval(), torch.rand(2, 3, 35, 35)
    with torch.no_grad():
        found = method.segment(images)
    assert found.masks is not None
    assert not found.masks.requires_grad
    assert all(parameter.grad is None for parameter in method.parameters())


def test_refining_lowers_the_loss_when_the_refiner_descends():
    """The loop with plain gradient descent in the refiner's place: attempts and gradients fit together."""
    method, images = tiny("iodine:paper"), torch.rand(2, 3, 7, 7)
    noise = torch.randn(2, method.slots, 4)
    method.normal = lambda images, *shape: noise
    first = method.first_latents.expand(2, method.slots, -1)
    losses, _ = iterative_inference(
        first,
        5,
        lambda latents, step: method._decode(images, latents),
        lambda found, gradients: found.latents - 3e-5 * gradients[0],
    )
    means = [loss.mean().item() for loss in losses]
    assert means == sorted(means, reverse=True)
    assert means[-1] < means[0]


@pytest.mark.parametrize("training", [True, False])
def test_no_memory_is_kept_whatever_the_number_of_updates(training, monkeypatch):
    made = []
    plain = Explanation.__new__

    def noted(cls, *values):
        made.append(weakref.ref(values[1]))  # the components
        return plain(cls, *values)

    monkeypatch.setattr(Explanation, "__new__", noted)
    method, images = tiny(**{"model.updates": 6}), torch.rand(2, 3, 35, 35)
    gc.disable()
    try:
        if training:
            method.training_loss(images, PROGRESS).total.backward()
        else:
            with torch.no_grad():
                method.segment(images)
        assert len(made) == 7
        assert [ref() for ref in made] == [None] * 7
    finally:
        gc.enable()


def test_learns_one_picture():
    """Forty steps on one batch bring the error of the last explanation far down."""
    method = tiny("iodine:demo")
    images = torch.zeros(4, 3, 35, 35)
    images[:, 0, 5:15, 5:25] = 1.0
    images[:, 2, 20:30, 10:30] = 1.0
    optimizer = torch.optim.Adam(method.parameters(), 3e-3)
    found = []
    for _ in range(40):
        optimizer.zero_grad()
        losses = method.training_loss(images, PROGRESS)
        losses.total.backward()
        optimizer.step()
        found.append(losses.parts["reconstruction"].item())
    assert found[-1] < 0.3 * found[0]


def test_a_single_slot_is_refused():
    method = tiny()
    with pytest.raises(RequestError, match=r"slots: expected at least 2 \(.*\), found 1"):
        type(method)((3, 35, 35), 1, method.settings)


def test_the_refiner_knows_places_by_cosines_the_decoder_by_coordinates():
    cosine, linear = tiny(), tiny(**{"model.cosines": 0})
    assert torch.equal(cosine.refiner.coordinates, cosine_grid(7, 7, 3))
    assert torch.equal(linear.refiner.coordinates, coordinate_grid(7, 7))
    for method in (cosine, linear):
        assert torch.equal(method.decoder.position.planes, coordinate_grid(7, 7))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"model.updates": 0}, "model.updates: expected a whole number >= 1, found 0"),
        ({"model.cosines": 1}, "model.cosines: expected 0 or a whole number >= 2, found 1"),
        ({"model.refiner_channels": [0]}, "model.refiner_channels.0: expected a whole number >= 1, found 0"),
        ({"model.xavier_gain": -1.0}, "model.xavier_gain: expected a number > 0 or null, found -1"),
        ({"optimizer.beta1": 1.0}, "optimizer.beta1: expected a number >= 0 and < 1, found 1.0"),
        ({"model.rgb": "sigmod"}, "model.rgb: expected linear or sigmoid, found 'sigmod'"),
        ({"loss.mixing": "pixels"}, "loss.mixing: expected pixel or channel, found 'pixels'"),
        ({"loss.distribution": "logistics"}, "loss.distribution: expected logistic or gaussian"),
        ({"loss.scale": 0.0}, "loss.scale: expected a number > 0, found 0.0"),
    ],
)
def test_bad_settings_are_refused(overrides, message):
    with pytest.raises(RequestError, match=message):
        tiny(**overrides)


def test_segments_are_the_same_in_an_inference_mode():
    method, seeds, masks = tiny().eval(), torch.tensor([3, 4]), []
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            method.seed_images(seeds)
            masks.append(method.segment(torch.full((2, 3, 35, 35), 0.5)).masks)
    assert torch.equal(*masks)
