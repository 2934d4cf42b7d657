"""Several processes take the steps of one: every method, in double precision."""

from __future__ import annotations

import math
import re

import pytest
import torch
from helpers.ranks import work

from objbench.errors import ObjbenchError
from objbench.methods.base import Losses
from objbench.methods.create import create
from objbench.ranks.group import ALONE, Ranks
from objbench.ranks.share import Share
from objbench.train.shared_step import refuse_drift, sum_gradients

CALM = {
    "optimizer.learning_rate": 1e-7
}  # Adam divides a gradient that is zero but for rounding by its own size
TINY = {
    "objmae": (
        "objmae",
        {"model.width": 24, "model.heads": 2, "model.depth": 1}
        | {"model.decoder_width": 16, "model.decoder_heads": 2, "model.decoder_depth": 1},
    ),
    "slot_attention": ("slot_attention", {"model.channels": 4, "model.slot_width": 6, "model.mlp_width": 8}),
    "slate": (
        "slate",
        {"model.vocabulary": 8, "model.dvae_channels": 4, "model.width": 8, "model.slot_width": 6}
        | {"model.mlp_width": 8, "model.iterations": 2, "model.blocks": 2, "model.heads": 2}
        | {"curriculum.warmup_steps": 0},
    ),
    "comet": (
        "comet:demo",
        {"model.resolution": 7, "model.channels": 4, "model.latent": 3, "descent.steps": 2},
    ),
    "monet": (
        "monet",
        {"model.attention_channels": [2, 4, 4], "model.latent": 3, "model.encoder_channels": [2, 4]}
        | {"model.encoder_hidden": 8, "model.decoder_channels": [2, 2]}
        | CALM,
    ),
    "genesis": (
        "genesis",
        {
            "model.encoder_channels": [4, 6],
            "model.strides": [2, 5],
            "model.features": 8,
            "model.mask_latent": 5,
        }
        | {
            "model.posterior_width": 6,
            "model.prior_width": 7,
            "model.mask_channels": [6, 4, 4],
            "model.latent": 3,
        }
        | {"model.component_channels": [2, 4], "model.component_hidden": 8, "model.decoder_channels": [4]}
        | CALM,
    ),
    "genesis_v2": (
        "genesis_v2",
        {"model.encoder_channels": [16, 16, 16], "model.colors": 3, "model.latent": 4, "model.prior_width": 5}
        | {"model.decoder_channels": [16, 16]}
        | CALM,
    ),
    "efficient_morl": (
        "efficient_morl",
        {"model.channels": 4, "model.encoder_strides": [5, 1], "model.width": 4, "model.hidden": 6}
        | {"model.decoder.channels": 4, "model.decoder.strides": [5], "refinements": [2, 1], "geco.start": 2},
    ),
    "iodine": (
        "iodine",
        {"model.resolution": 7, "model.latent": 4, "model.updates": 2, "model.decoder_channels": [6]}
        | {"model.decoder_kernel": 3, "model.refiner_channels": [6], "model.refiner_kernel": 3}
        | {"model.refiner_hidden": [8], "model.memory": 5},
    ),
    "gnm": ("gnm:demo", {}),
    "spair": ("spair:demo", {}),
    "space": ("space:demo", {"optimizer.background_rate": 1e-5}),
    "marionette": ("marionette:demo", {}),
    "dti_sprites": (
        "dti_sprites",
        {"model.resolution": 14, "model.encoder": "resnet8", "model.pool": 1, "model.hidden": 8}
        | {"model.sprite_size": 6, "model.mask_deviation": 2.0, "reassignment.interval": 2}
        | {"search.empty_cost": None},
    ),
    "ast": (
        "ast:demo",
        {"recipe.background_steps": 2, "recipe.background_batch_size": 3, "recipe.trial_steps": 2}
        | {"model.channels": [4, 6], "model.width": 8, "model.heads": 2, "model.hidden": 8, "model.layers": 1}
        | {"model.what": 3, "model.renderer_channels": [8, 4], "background.model": "auto"}
        | {
            "background.simple.encoder_channels": [4, 4, 4, 3],
            "background.simple.decoder_channels": [4, 4, 4],
        }
        | {"background.complex.encoder_channels": [4, 8, 4, 3]}
        | {"background.complex.decoder_channels": [4, 8, 4]},
    ),
}
QUICK = (
    "slot_attention",
    "efficient_morl",
    "dti_sprites",
)  # plain; gradients within and GECO; norms, buffers, renewals


def gaps(names, size):
    """Of each process: by method, how far what all trained is from what one trained alone."""
    return work(size, "gaps", methods={name: TINY[name] for name in names})


def test_two_processes_equal_one():
    for found in gaps(QUICK, 2):
        assert set(found) == set(QUICK)
        assert all(gap < 1e-10 for gap in found.values()), found


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3])
def test_several_processes_equal_one_for_every_method(size):
    for found in gaps(TINY, size):
        assert set(found) == set(TINY)
        assert all(gap < 1e-10 for gap in found.values()), found


class Two(Ranks):
    """Two processes, of which the other one says `more` of a value than this one."""

    def __init__(self, more: float) -> None:
        super().__init__(0, 2)
        self.more = more

    def gather(self, value):
        return [value, [one + self.more for one in value]]


def test_a_state_that_is_not_a_number_in_all_processes_is_no_drift():
    method = create("grid", "tetrominoes")
    method.register_buffer("unknown", torch.tensor([math.nan, 1.0]))
    refuse_drift(Two(0.0), method)
    method.register_buffer("known", torch.ones(2))
    with pytest.raises(
        ObjbenchError, match=f"^known: {re.escape('not the same in process 1 as in process 0')}"
    ):
        refuse_drift(Two(1.0), method)


def test_a_part_of_the_loss_may_be_a_constant_on_the_cpu():
    parameter = torch.nn.Parameter(torch.ones(3, device="meta"))  # as on a GPU
    parameter.grad = torch.ones(3, device="meta")
    parts = {"kl": torch.tensor(0.0)}
    share = Share(ALONE, 0, 1, 2)
    losses = sum_gradients(share, [parameter], Losses(torch.ones((), device="meta"), parts))
    assert losses.parts["kl"].device == losses.total.device
