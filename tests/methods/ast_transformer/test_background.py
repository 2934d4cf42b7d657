"""AE-NE: sizes as published, its loss by its formula, how objects are left out, and the choice between two sizes."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from objbench.errors import RequestError
from objbench.methods.ast_transformer.background import (
    Autoencoder,
    Background,
    BackgroundSettings,
    Widths,
    place_weights,
    variation,
)
from objbench.methods.create import create
from objbench.spec.settings import parse

SMALL = {"encoder_channels": [8, 8, 32, 4], "decoder_channels": [8, 32, 8]}  # for 16x16
SETTINGS = {
    "model": "simple",
    "simple": SMALL,
    "complex": {"encoder_channels": [8, 16, 8, 4], "decoder_channels": [8, 16, 8]},
    "tolerance": 0.25,
    "sharpness": 6.0,
    "smoothness": 3.0,
    "pool": 75,
    "variation": 0.24,
}


def settings(**changes):
    return parse(BackgroundSettings, SETTINGS | changes)


@pytest.mark.parametrize(
    ("dataset", "kind", "encoder", "decoder"),
    [
        ("clevr6", "simple", 3_590_944, 9_331_084),  # 3.6 M and 9.3 M
        ("clevrtex", "complex", 21_183_616, 48_633_196),  # 21.2 M and 48.6 M
    ],
)
def test_parameters_at_128x128(dataset, kind, encoder, decoder):
    with FakeTensorMode():
        background = create("ast", dataset).background
    assert background.kind == kind
    assert sum(p.numel() for p in background.model.encoder.parameters()) == encoder
    assert sum(p.numel() for p in background.model.decoder.parameters()) == decoder


@pytest.mark.parametrize(
    ("side", "sides"),
    [
        (128, [64, 32, 16, 8, 4, 2, 1]),
        (64, [32, 16, 8, 4, 2, 1]),
        (35, [18, 9, 5, 2, 1]),
        (6, [3, 1]),
        (3, [1]),
    ],
)
def test_the_encoder_halves_to_one_pixel_and_the_decoder_undoes_it(side, sides):
    widths = Widths(encoder_channels=[4] * len(sides), decoder_channels=[4] * (len(sides) - 1) or [4])
    if len(sides) == 1:
        with pytest.raises(RequestError, match=r"background\.simple\.decoder_channels: expected 0 numbers"):
            Autoencoder(side, widths, "background.simple")
        return
    model = Autoencoder(side, widths, "background.simple")
    found, maps = [], torch.rand(2, 3, side, side)
    for layer in model.encoder:
        maps = layer(maps)
        found.append(maps.shape[-1])
    assert found == sides
    grown = []
    for layer in model.decoder:
        maps = layer(maps)
        grown.append(maps.shape[-1])
    assert grown == [*reversed(sides[:-1]), side]


def test_every_layer_sees_coordinates_and_all_but_the_last_are_normed_without_a_bias():
    model = Autoencoder(16, Widths(**SMALL), "background.simple")
    layers = [*model.encoder, *model.decoder]
    for layer in layers:
        planes = layer[0].planes
        assert planes.shape[0] == 2
        if planes.shape[-1] > 1:
            assert (planes.min().item(), planes.max().item()) == (-0.5, 0.5)
    for layer in layers[:-1]:
        _, convolution, norm, activation = layer
        assert convolution.bias is None
        assert norm.num_groups == max(1, norm.num_channels // 16)
        assert isinstance(activation, nn.CELU)
    assert len(layers[-1]) == 2


def test_loss_is_that_of_images_from_0_to_255_with_places_weighted():
    torch.manual_seed(0)
    background, images = Background(16, settings()), torch.rand(3, 3, 16, 16)
    images[0] = background(images).colours[0].detach() + 0.004  # within the quadratic part
    painted, losses = background(images), background.losses(images)
    wide, close = 255 * painted.colours, 255 * images

    def smooth(difference, beta):
        return torch.where(difference < beta, difference**2 / (2 * beta), difference - beta / 2)

    error = smooth((wide - close).abs(), 3).sum(1) / 255
    weights = (-6 * (error / 0.25).tanh()).exp() / (3 * 16 * 16)  # 16 < 75: pooled over single pixels
    own = smooth((painted.error[:, 0] - error / 3).abs(), 3 / 255)
    torch.testing.assert_close(losses["background"], (weights.detach() * error).sum(), rtol=1e-4, atol=0)
    torch.testing.assert_close(losses["background_error"], (weights.detach() * own).sum(), rtol=1e-4, atol=0)


def test_no_gradient_goes_through_weights_or_the_error_that_is_predicted():
    torch.manual_seed(0)
    background, images = Background(16, settings()), torch.rand(2, 3, 16, 16)
    painted = {}
    model = background.model
    model.register_forward_hook(lambda *_: painted.update(found=_[2]))
    losses = background.losses(images)
    colours = painted["found"].colours
    (through_own,) = torch.autograd.grad(
        losses["background_error"], colours, retain_graph=True, allow_unused=True
    )
    assert through_own is None
    (found,) = torch.autograd.grad(losses["background"], colours)
    error = (colours - images).abs()
    weights = place_weights((error - 1.5 / 255).sum(1, keepdim=True), background.settings) / (2 * 16 * 16)
    linear = error > 3 / 255
    torch.testing.assert_close(
        found[linear], (weights * (colours - images).sign())[linear], rtol=0.05, atol=1e-6
    )


def test_places_are_weighted_by_the_errors_around_them_within_the_image():
    error = torch.zeros(1, 1, 128, 128)
    error[0, 0, 0, 0] = 100.0  # an object in the corner
    weights = place_weights(error, settings())[0, 0]
    around = (weights[0, 0], weights[1, 1], weights[0, 1], weights[2, 2])
    expected = torch.tensor([-6 / 4, -6 / 9, -6 / 6, 0.0]).exp()  # of squares of 3x3, cut at the edges
    torch.testing.assert_close(torch.stack(around), expected)
    assert place_weights(error[..., :64, :64], settings())[0, 0, 0, 1] == 1  # single pixels


def test_the_background_is_learned_behind_objects():
    torch.manual_seed(0)
    images = torch.full((64, 3, 16, 16), 0.2)
    for index, image in enumerate(images):
        y, x = (index * 5) % 11, (index * 7) % 11
        image[:, y : y + 5, x : x + 5] = torch.rand(3, 1, 1)
    background = Background(16, settings())
    adam = torch.optim.AdamW(background.parameters(), 5e-3, weight_decay=0.0)
    for _ in range(300):
        adam.zero_grad()
        sum(background.losses(images).values()).backward()
        adam.step()
    painted = background(images)
    assert (painted.colours - 0.2).abs().mean() < 0.02
    assert (images - 0.2).abs().mean() > 0.03
    objects = (images - 0.2).abs().sum(1, keepdim=True) > 0.3
    assert painted.error[objects].mean() < 1


def test_backgrounds_vary_by_their_distance_from_the_median():
    backgrounds = torch.zeros(5, 3, 2, 2)
    backgrounds[4, :, 0] = 0.25
    # One image of five, half of its pixels, 0.75 away over the three colours.
    expected = torch.tensor(3.0).tanh() / 10
    torch.testing.assert_close(variation(backgrounds, 0.25), expected)


@pytest.mark.parametrize(("threshold", "kind"), [(0.0, "complex"), (1.0, "simple")])
def test_a_trial_chooses_and_the_choice_is_in_the_state(threshold, kind):
    torch.manual_seed(0)
    chosen = settings(model="auto", variation=threshold)
    background, images = Background(16, chosen), torch.rand(4, 3, 16, 16)
    assert background.kind == "simple"
    background.choose(images)
    assert background.kind == kind
    assert background.model is background.models[kind]
    loaded = Background(16, chosen)
    loaded.load_state_dict(background.state_dict())
    assert loaded.kind == kind
    assert torch.equal(loaded(images).colours, background(images).colours)


def test_an_early_state_takes_a_choice_back():
    early, late = (Background(16, settings(model="auto", variation=0.0)) for _ in range(2))
    late.choose(torch.rand(4, 3, 16, 16))
    late.load_state_dict(early.state_dict())
    assert late.kind == "simple"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder_channels": [8, 8]}, r"background\.simple\.encoder_channels: expected 4 numbers for the layers of a"),
        ({"decoder_channels": [8]}, r"background\.simple\.decoder_channels: expected 3 numbers"),
        ({"encoder_channels": [8, 8, 40, 4]}, r"encoder_channels: expected numbers below 32 or multiples of 16"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(change, message):
    with pytest.raises(RequestError, match=message):
        Background(16, settings(simple=SMALL | change))
