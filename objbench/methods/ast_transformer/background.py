"""The background model of AST: AE-NE, an autoencoder that reconstructs what scenes have in common and leaves out objects.

Sauvalle and de La Fortelle, "Autoencoder-based background reconstruction and foreground segmentation with background
noise estimation", WACV 2023. Places that it reconstructs badly count exponentially less in its loss: where an object
hides the background, the model is free to paint what it finds behind objects of other scenes. A fourth channel predicts
the model's own error. One of two sizes, simple and complex, fits a set of scenes; a trial can choose it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, smooth_l1_loss

from objbench.methods.parts.broadcast import Append
from objbench.methods.parts.position import coordinate_grid
from objbench.spec.explain import refusal
from objbench.spec.settings import Count, Counts, Group, Positive, PositiveOrZero

GROUP = 16  # channels in a group of the group norms, if there are as many


class Widths(Group):
    """The channels of one of the two sizes of the background model; how many there are depends on the image's side."""

    encoder_channels: Counts = Field(
        description="of the encoder, from the image to the code, one per convolution; the last is the code's size"
    )
    decoder_channels: Counts = Field(
        description="of the decoder, from the code to the image, one per transposed convolution but the last"
    )

    @model_validator(mode="after")
    def _in_groups(self) -> Widths:
        for name in ("encoder_channels", "decoder_channels"):
            if not all(fits_groups(channels) for channels in getattr(self, name)):
                expected = (
                    f"numbers below {2 * GROUP} or multiples of {GROUP}, for groups of {GROUP} channels"
                )
                raise refusal(f"background.*.{name}", expected, getattr(self, name))
        return self


class BackgroundSettings(Group):
    """The background model, its loss, and the trial that may choose its size."""

    model: Literal["simple", "complex", "auto"] = Field(
        description="size of the background model; auto: a trial of the simple one chooses"
    )
    simple: Widths
    complex: Widths
    tolerance: Positive = Field(
        description="error, summed over colours in [0,1], at which a place begins to count as an object"
    )
    sharpness: PositiveOrZero = Field(description="how much less than other places an object's places count")
    smoothness: Positive = Field(
        description="difference of a colour up to which its error is quadratic, in levels of 255"
    )
    pool: Count = Field(
        description="errors are averaged over squares of 2 (side // pool) + 1 pixels before places are weighted"
    )
    variation: PositiveOrZero = Field(
        description="of the trial's backgrounds around their median, above which scenes need the complex model"
    )


class Painted(NamedTuple):
    """What the model gives for images.

    Attributes:
        colours: (B,3,S,S), in [0,1].
        error: (B,1,S,S), the error that it predicts for itself, mean over colours, in [0,1].
    """

    colours: Tensor
    error: Tensor


class Autoencoder(nn.Module):
    """Square images (B,3,S,S) through a code of one pixel back to colours and an error map.

    Each convolution also sees the coordinates of its input, from -0.5 to 0.5. All but the last are followed by a norm of
    groups of 16 channels and CELU, and have no bias.

    Args:
        side: S.
        widths: of its layers.
        key: the settings' key of the widths, for refusals.
    """

    def __init__(self, side: int, widths: Widths, key: str) -> None:
        super().__init__()
        shrinks = list(_shrinks(side))
        for name, count in (("encoder_channels", len(shrinks)), ("decoder_channels", len(shrinks) - 1)):
            found = getattr(widths, name)
            if len(found) != count:
                expected = f"{count} numbers for the layers of a background of {side}x{side}"
                raise refusal(f"{key}.{name}", expected, found)
        self.encoder, self.decoder = nn.Sequential(), nn.Sequential()
        channels = 3
        for shrink, width in zip(shrinks, widths.encoder_channels, strict=True):
            self.encoder.append(_with_coordinates(shrink.before, shrink.down(channels, width), width))
            channels = width
        for shrink, width in zip(reversed(shrinks[1:]), widths.decoder_channels, strict=True):
            grow = shrink.up(channels, width, bias=False)
            self.decoder.append(_with_coordinates(shrink.after, grow, width))
            channels = width
        last = shrinks[0]
        self.decoder.append(_with_coordinates(last.after, last.up(channels, 4, bias=True), None))

    def forward(self, images: Tensor) -> Painted:
        """The background of images (B,3,S,S) in [0,1], in float32."""
        maps = self.decoder(self.encoder(images)).float().sigmoid()
        return Painted(maps[:, :3], maps[:, 3:])


class Background(nn.Module):
    """The background model in the size that the settings or a trial chose.

    With `auto` it holds both sizes, since the shapes of a state must be known before it is loaded; the choice is part of
    the state.

    Args:
        side: of the square images.
        settings: the block `background`.

    Attributes:
        kind: the size in use, "simple" or "complex"; with `auto` it is simple until `choose`.
    """

    def __init__(self, side: int, settings: BackgroundSettings) -> None:
        super().__init__()
        self.settings = settings
        kinds = ["simple", "complex"] if settings.model == "auto" else [settings.model]
        models = {kind: Autoencoder(side, getattr(settings, kind), f"background.{kind}") for kind in kinds}
        self.models = nn.ModuleDict(models)
        self.is_complex: Tensor  # bool ()
        self.register_buffer("is_complex", torch.tensor(settings.model == "complex"))
        self.kind = kinds[0]
        self.register_load_state_dict_post_hook(_set_kind)  # type: ignore[no-untyped-call]

    @property
    def model(self) -> nn.Module:
        """The autoencoder in use."""
        return self.models[self.kind]

    def forward(self, images: Tensor) -> Painted:
        """The background of images (B,3,S,S)."""
        painted: Painted = self.model(images)
        return painted

    def choose(self, images: Tensor) -> None:
        """Take the complex model if the backgrounds of the simple one vary much between images (n,3,S,S)."""
        varied = variation(self.models["simple"](images).colours, self.settings.tolerance)
        self.is_complex.fill_(bool(varied > self.settings.variation))
        _set_kind(self)

    def losses(self, images: Tensor) -> dict[str, Tensor]:
        """The weighted error of colours, and that of the predicted error; their sum is to be minimised."""
        settings, painted = self.settings, self(images)
        smoothness = settings.smoothness / 255
        error = smooth_l1_loss(painted.colours, images, reduction="none", beta=smoothness).sum(
            1, keepdim=True
        )
        weights = place_weights(error.detach(), settings)
        error_of_error = smooth_l1_loss(painted.error, error.detach() / 3, reduction="none", beta=smoothness)
        return {
            "background": (weights * error).mean(),
            "background_error": (weights * error_of_error).mean(),
        }


def place_weights(error: Tensor, settings: BackgroundSettings) -> Tensor:
    """The weight in (0,1] of each place, from the errors (B,1,S,S), sums over colours."""
    objects = (error / settings.tolerance).tanh()
    kernel = 2 * (error.shape[-1] // settings.pool) + 1
    around = avg_pool2d(objects, kernel, stride=1, padding=kernel // 2, count_include_pad=False)
    return (-settings.sharpness * around).exp()


def variation(backgrounds: Tensor, tolerance: float) -> Tensor:
    """How far backgrounds (n,3,S,S) are from their median, place by place: a mean () in [0,1)."""
    distance = (backgrounds - backgrounds.median(0).values).abs().sum(1)
    return (distance / tolerance).tanh().mean()


def fits_groups(channels: int) -> bool:
    """Whether `norm_and_celu` can group so many channels."""
    return channels < 2 * GROUP or channels % GROUP == 0


def norm_and_celu(channels: int) -> tuple[nn.Module, nn.Module]:
    """A norm of groups of 16 channels (fewer than 32 are one group), and CELU."""
    return nn.GroupNorm(max(1, channels // GROUP), channels), nn.CELU()


class _Shrink(NamedTuple):
    """One step of the encoder, from maps of side `before` to maps of side `after`."""

    before: int
    after: int
    kernel: int
    stride: int
    padding: int

    def down(self, inputs: int, outputs: int) -> nn.Module:
        return nn.Conv2d(inputs + 2, outputs, self.kernel, self.stride, self.padding, bias=False)

    def up(self, inputs: int, outputs: int, *, bias: bool) -> nn.Module:
        """The layer of the decoder that undoes it."""
        reached = (self.after - 1) * self.stride - 2 * self.padding + self.kernel
        return nn.ConvTranspose2d(
            inputs + 2, outputs, self.kernel, self.stride, self.padding, self.before - reached, bias=bias
        )


def _shrinks(side: int) -> Iterator[_Shrink]:
    """The steps of the encoder down to one pixel."""
    while side > 1:
        if side > 5:
            shrink = _Shrink(side, (side + 1) // 2, 5, 2, 2)
        elif side > 3:
            shrink = _Shrink(side, 2, 4, 2, 1)
        else:
            shrink = _Shrink(side, 1, side, 1, 0)
        yield shrink
        side = shrink.after


def _with_coordinates(side: int, convolution: nn.Module, channels: int | None) -> nn.Sequential:
    """Coordinates, the convolution, and norm and CELU for `channels`; None for the last layer, which has neither."""
    after = () if channels is None else norm_and_celu(channels)
    return nn.Sequential(Append(coordinate_grid(side, side) / 2), convolution, *after)


def _set_kind(background: Background, incompatible_keys: Any = None) -> None:
    background.kind = "complex" if bool(background.is_complex) else "simple"
