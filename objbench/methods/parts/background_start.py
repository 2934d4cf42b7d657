"""The colour that a learned background begins with: objects are then not learned as what is missing in front of grey."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, logit, nn

START_RANGE = (0.01, 0.99)  # of the colour that the background may begin with

BackgroundStart = Annotated[
    Literal["grey", "median"],
    Field(description="colour that the background begins with: grey, or the median of the training images"),
]


def begin_background(last: nn.Module, images: Tensor, start: BackgroundStart) -> None:
    """Make the background of a new decoder nearly of one colour, whatever its latents.

    Args:
        last: the convolution of the decoder that gives the logits of RGB; its weights are still small.
        images: some training images (N,3,H,W), in [0,1].
        start: `median`: the median of each channel; `grey`: nothing is changed.
    """
    assert isinstance(last, nn.Conv2d)
    assert last.bias is not None
    if start == "median":
        colour = images.movedim(1, 0).flatten(1).median(1).values
        last.bias.copy_(logit(colour.clamp(*START_RANGE)))
