"""The VAE of components: which layers it has with and without hidden layers and norms, what its encoder sees, its laws."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from objbench.methods.parts.component_vae import ComponentVAE
from objbench.methods.parts.gaussian import Gaussian, exp_deviation, squashed


def small(encoder_hidden, norm=None):
    torch.manual_seed(0)
    return ComponentVAE(
        (5, 7),
        2,
        3,
        encoder_channels=[4, 6],
        encoder_hidden=encoder_hidden,
        prior_hidden=5,
        decoder_channels=[4, 4],
        posterior=partial(Gaussian.of, deviation=exp_deviation),
        prior=squashed,
        norm=norm,
    )


def test_layers_of_genesis():
    """These names are in stored weights."""
    shapes = {name: tuple(value.shape) for name, value in small([8]).state_dict().items()}
    assert {name: shape for name, shape in shapes.items() if name.endswith("weight")} == {
        "encoder.0.weight": (4, 4, 3, 3),
        "encoder.2.weight": (6, 4, 3, 3),
        "encoder.5.weight": (8, 6 * 2 * 2),
        "encoder.7.weight": (6, 8),
        "prior.0.weight": (5, 2),
        "prior.2.weight": (5, 5),
        "prior.4.weight": (6, 5),
        "decoder.layers.0.weight": (4, 3 + 2, 3, 3),
        "decoder.layers.2.weight": (4, 4, 3, 3),
        "decoder.layers.4.weight": (3, 4, 1, 1),
    }


def test_layers_of_the_background_of_space():
    vae = small([], nn.BatchNorm2d)
    kinds = [nn.Conv2d, nn.BatchNorm2d, nn.ELU]
    assert [type(layer) for layer in vae.encoder] == [*kinds, *kinds, nn.Flatten, nn.Linear]
    assert [type(layer) for layer in vae.decoder.layers] == [*kinds, *kinds, nn.Conv2d]


def test_the_decoder_convolves_without_padding_from_a_larger_grid():
    vae = small([8])
    assert vae.decoder.grid == (5 + 2 * 2, 7 + 2 * 2)
    assert vae.decode(torch.zeros(2, 4, 3)).shape == (2, 4, 3, 5, 7)


def test_each_component_is_encoded_from_the_image_beside_its_own_mask():
    vae, images, log_masks = small([8]), torch.rand(2, 3, 5, 7), torch.rand(2, 4, 1, 5, 7).log_softmax(1)
    law = vae.encode(images, log_masks)
    raw = vae.encoder(torch.cat([log_masks[1, 2], images[1]])[None])
    torch.testing.assert_close(law.mean[1, 2], raw[0, :3])
    torch.testing.assert_close(law.deviation[1, 2], raw[0, 3:].exp())


def test_the_prior_has_a_law_of_its_own():
    vae, mask_latents = small([8]), torch.randn(2, 4, 2)
    torch.testing.assert_close(
        vae.prior_of(mask_latents).mean, vae.prior(mask_latents)[..., :3].tanh(), rtol=0, atol=0
    )


def test_components_are_decoded_each_by_itself():
    vae, latents = small([8]), torch.randn(2, 4, 3)
    components = vae.decode(latents)
    assert components.shape == (2, 4, 3, 5, 7)
    torch.testing.assert_close(components[1, 2], vae.decoder(latents[1, 2:3])[0].sigmoid())
