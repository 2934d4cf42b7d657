"""The settings of SPACE's convolution stacks, and what they say as layers."""

from __future__ import annotations

from pydantic import Field

from objbench.methods.parts.conv_stack import Layer
from objbench.spec.explain import refusal
from objbench.spec.settings import Counts, Group


class Convolutions(Group):
    """Convolutions, each with CELU and GroupNorm."""

    channels: Counts = Field(description="of the convolutions, one number each")
    kernels: Counts = Field(description="sides of their kernels")
    strides: Counts = Field(description="of the convolutions")
    groups: Counts = Field(description="of the GroupNorm after each convolution")


class Upscalings(Group):
    """A sub-pixel decoder: a place of its own, then stages that enlarge it, each two convolutions."""

    channels: Counts = Field(description="at the first place, then after each stage")
    upscales: Counts = Field(description="of the stages, one less than channels; their product is the side")
    groups: Counts = Field(description="of the GroupNorms at the first place and in each stage")


def convolutions(key: str, settings: Convolutions) -> list[Layer]:
    """The layers of the setting `key`. Raises RequestError for lists that do not fit together."""
    count = len(settings.channels)
    _demand_length(f"{key}.kernels", settings.kernels, count)
    _demand_length(f"{key}.strides", settings.strides, count)
    _demand_groups(key, settings)
    columns = zip(settings.channels, settings.kernels, settings.strides, settings.groups, strict=True)
    return [Layer(channels, kernel, stride, groups=groups) for channels, kernel, stride, groups in columns]


def upscalings(key: str, settings: Upscalings) -> list[Layer]:
    """The layers of the setting `key`, for an input of 1x1. Raises RequestError for lists that do not fit together.

    A stage is a 1x1 convolution to upscale^2 times as many channels, their pixel shuffle, and a 3x3 convolution.
    """
    _demand_length(f"{key}.upscales", settings.upscales, len(settings.channels) - 1)
    _demand_groups(key, settings)
    layers = [Layer(settings.channels[0], 1, groups=settings.groups[0])]
    columns = zip(settings.channels[1:], settings.upscales, settings.groups[1:], strict=True)
    for channels, upscale, groups in columns:
        layers += [Layer(channels, 1, upscale=upscale, groups=groups), Layer(channels, 3, groups=groups)]
    return layers


def side_after(side: int, layers: list[Layer]) -> int:
    """The side of a map of `side` after convolutions."""
    for layer in layers:
        padding = (layer.kernel - 1) // 2 if layer.padding is None else layer.padding
        side = (side + 2 * padding - layer.kernel) // layer.stride + 1
    return side


def _demand_length(key: str, values: list[int], count: int) -> None:
    if len(values) != count:
        raise refusal(key, f"{count} number{'s' if count != 1 else ''}, to fit its channels", values)


def _demand_groups(key: str, settings: Convolutions | Upscalings) -> None:
    _demand_length(f"{key}.groups", settings.groups, len(settings.channels))
    if any(c % g for c, g in zip(settings.channels, settings.groups, strict=True)):
        raise refusal(f"{key}.groups", f"divisors of the channels {settings.channels}", settings.groups)
