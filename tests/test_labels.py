from __future__ import annotations

import pytest
import torch

from objbench.errors import ObjbenchError
from objbench.labels import hard_labels


@pytest.mark.parametrize(("planes", "dtype"), [(1, torch.uint8), (256, torch.uint8), (257, torch.int64)])
def test_the_largest_plane_of_each_pixel_in_the_narrowest_type(planes: int, dtype: torch.dtype) -> None:
    masks = torch.rand(2, planes, 20, 20, generator=torch.Generator().manual_seed(0))
    labels = hard_labels(masks)
    assert labels.dtype == dtype
    assert torch.equal(labels.long(), masks.argmax(1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_lowest_plane_wins_ties(dtype: torch.dtype) -> None:
    masks = torch.tensor([[0.2, 0.5], [0.4, 0.5], [0.4, 0.0]], dtype=dtype).view(1, 3, 1, 2)
    assert hard_labels(masks).tolist() == [[[1, 0]]]


def test_infinite_log_masks_are_ordinary_values() -> None:
    log_masks = torch.tensor([[-torch.inf, -torch.inf], [-torch.inf, 0.0]]).view(1, 2, 1, 2)
    assert hard_labels(log_masks).tolist() == [[[0, 1]]]


def test_masks_that_carry_a_gradient_are_left_as_they_are() -> None:
    masks = torch.rand(1, 3, 4, 4, requires_grad=True)
    before = masks.detach().clone()
    assert torch.equal(hard_labels(masks).long(), before.argmax(1))
    assert torch.equal(masks, before)


@pytest.mark.parametrize("plane", [0, 1, 2])
def test_nan_in_any_plane_is_refused_with_the_image(plane: int) -> None:
    masks = torch.zeros(4, 3, 2, 2)
    masks[2, plane, 1, 1] = torch.nan
    with pytest.raises(ObjbenchError, match=r"image 2 of the batch hold NaN .*1 of 4 images"):
        hard_labels(masks)
