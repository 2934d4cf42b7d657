"""Every method refuses what is no batch of images, in the same words."""

from __future__ import annotations

import re

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from objbench.errors import RequestError
from objbench.methods.base import Method, Segmentation
from objbench.methods.create import create
from objbench.spec.load import load_spec

METHODS = {name: next(iter(method.datasets), "tetrominoes") for name, method in load_spec().methods.items()}


@pytest.mark.parametrize(("name", "dataset"), METHODS.items())
def test_one_image_without_an_axis_of_batches(name, dataset):
    with FakeTensorMode():  # shapes without values: the networks cost nothing
        method = create(name, dataset)
        expected = (
            f"expected float images in [0,1] of shape (B,{','.join(map(str, method.image_shape))}), got "
        )
        found = f"float32 {method.image_shape}; images[None] is a batch of one"
        with pytest.raises(RequestError, match=re.escape(expected + found)):
            method.segment(torch.zeros(method.image_shape))
        for images, found in (
            (torch.zeros(2, *method.image_shape, dtype=torch.uint8), "images / 255 is float"),
            (torch.zeros(2, 1, *method.image_shape[1:]), "float32 (2, 1, "),
            ("a.png", "str"),
        ):
            with pytest.raises(RequestError, match=re.escape(expected) + ".*" + re.escape(found)):
                method.segment(images)


def test_a_batch_reaches_the_method():
    class Mine(Method):
        def segment(self, images, progress=None):
            return images, progress

    mine = Mine((3, 2, 2), 2, settings=None)
    images = torch.zeros(1, 3, 2, 2)
    assert mine.segment(images, "then") == (images, "then")
    assert Mine.segment.__name__ == "segment"


def test_a_segmentation_shows_shapes():
    found = Segmentation(
        masks=torch.zeros(2, 3, 4, 4),
        slots=torch.zeros(2, 3, 8),
        partition=False,
        extras={"boxes": torch.zeros(2, 3, 4)},
    )
    assert (
        repr(found)
        == "Segmentation(masks (2, 3, 4, 4), slots (2, 3, 8), extras.boxes (2, 3, 4); no partition)"
    )
