"""objmae as the configuration makes it, whether or not its dataset stands in benchmarks.yaml."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from objbench.methods.base import Progress
from objbench.spec.datasets import DatasetRef
from objbench.spec.load import load_spec
from objbench.spec.resolve import resolve
from objbench.spec.settings import parse
from objmae.method import ObjMAE
from objmae.model import Autoencoder, Model

GEOMETRY = {"tetrominoes": (35, 4), "multi_dsprites": (64, 6), "clevr6": (128, 7), "clevrtex": (128, 11)}

Configure = Callable[..., dict[str, Any]]
Build = Callable[..., ObjMAE]


@pytest.fixture
def configure() -> Configure:
    def resolved(dataset: str = "tetrominoes", name: str = "objmae", **overrides: Any) -> dict[str, Any]:
        spec = load_spec()
        reference = DatasetRef(
            dataset, "standard", spec.datasets["tetrominoes"]
        )  # only the name matters here
        dotted = {key.replace("__", "."): value for key, value in overrides.items()}
        return resolve(spec, name, reference, dotted).config

    return resolved


@pytest.fixture
def build(configure: Configure) -> Build:
    def method(dataset: str = "tetrominoes", name: str = "objmae", **overrides: Any) -> ObjMAE:
        torch.manual_seed(0)
        size, slots = GEOMETRY[dataset]
        return ObjMAE((3, size, size), slots, parse(ObjMAE.Settings, configure(dataset, name, **overrides)))

    return method


@pytest.fixture
def tiny() -> Autoencoder:
    """A network small enough for naive loops: 2x3 patches of 2x2 pixels, 3 slots, with trained-looking tokens."""
    torch.manual_seed(0)
    settings = Model(
        patch=2, width=8, depth=2, heads=2,
        decoder_width=12, decoder_depth=1, decoder_heads=3, mlp_ratio=2,
    )  # fmt: skip
    model = Autoencoder(settings, image_size=(4, 6), slots=3)
    torch.nn.init.normal_(model.class_tokens)  # of the size a training gives them, so that slots differ
    torch.nn.init.normal_(model.mask_token)
    return model


@pytest.fixture
def at_epoch() -> Callable[[int], Progress]:
    """The progress at the start of a nominal epoch of the full training."""
    return lambda epoch: Progress("train", step=epoch, steps=330, epoch=epoch, nominal_epochs=330)
