"""The encoder of AST: a U-Net, one attention map per object, soft-argmax, and a transformer among the objects."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from objbench.methods.ast_transformer.transformer import transformer_encoder
from objbench.methods.parts.position import coordinate_grid


class Objects(NamedTuple):
    """K objects per image; all float32.

    Attributes:
        where: (B,K,4): width and height as fractions of the image's, then the centre, x before y, with the image from -1
            to 1; as `parts.spatial_transformer` takes it.
        activation: (B,K), the logarithm of how strongly an object covers what is behind it.
        what: (B,K,D), its look.
        attention: (B,K,S,S), sums to one over the places.
    """

    where: Tensor
    activation: Tensor
    what: Tensor
    attention: Tensor


class Latents(NamedTuple):
    """The sizes of the parts of an object's latent: x and y, then `scales`, one of activation, and `what`."""

    scales: int
    what: int

    @property
    def pooled(self) -> int:
        """Numbers that are means of feature maps."""
        return self.scales + 1 + self.what


class ObjectEncoder(nn.Module):
    """Images (B,3,S,S) to K objects.

    Each object has an attention map, a softmax over places. The mean of the coordinates under it is the object's place
    (soft-argmax), the mean of feature maps gives the rest. A transformer then lets the objects see each other.

    Args:
        side: S.
        objects: K.
        latents: sizes of the latent's parts.
        channels: of the U-Net, one per scale, the finest first.
        transformer: (width, heads, hidden units, dropout, layers) of the transformer.
        zoom: least and greatest scale; a box is 1 / scale of the image wide.
    """

    def __init__(
        self,
        side: int,
        objects: int,
        latents: Latents,
        channels: Sequence[int],
        transformer: tuple[int, int, int, float, int],
        zoom: tuple[float, float],
    ) -> None:
        super().__init__()
        self.objects, self.latents, self.zoom = objects, latents, zoom
        self.features = ResidualUNet(channels, objects + latents.pooled)
        width, *shape = transformer
        size = 2 + latents.pooled
        self.enter, self.leave = nn.Linear(size, width), nn.Linear(width, size)
        self.transformer = transformer_encoder(width, *shape)  # type: ignore[arg-type]
        self.places: Tensor  # (2,S,S): x, then y
        self.register_buffer("places", coordinate_grid(side, side).flip(0), persistent=False)

    def forward(self, images: Tensor) -> Objects:
        """The objects of images."""
        maps = self.features(images).float()
        attention = maps[:, : self.objects].flatten(2).softmax(2).view_as(maps[:, : self.objects])
        found = self.leave(
            self.transformer(self.enter(self._pool(attention, maps[:, self.objects :])))
        ).float()
        place, scale, activation, what = found.split([2, self.latents.scales, 1, self.latents.what], dim=2)
        low, high = self.zoom
        width = 1 / (low + (high - low) * scale.sigmoid()).expand(-1, -1, 2)
        return Objects(torch.cat([width, place.clamp(-1, 1)], dim=2), activation.squeeze(2), what, attention)

    def _pool(self, attention: Tensor, features: Tensor) -> Tensor:
        """The latents (B,K,2+F) of objects: coordinates and features (B,F,S,S), averaged under their attention."""
        # In float32: in bfloat16 a place would be off by a pixel. Sums, never a product of all maps with all features.
        with torch.autocast(attention.device.type, enabled=False):
            place = torch.einsum("bkyx,cyx->bkc", attention, self.places)
            rest = torch.einsum("bkyx,bfyx->bkf", attention, features)
        return torch.cat([place, rest], dim=2)


class ResidualUNet(nn.Module):
    """Images (B,3,S,S) to maps (B,outputs,S,S), with batch norm and CELU after each convolution but the last.

    Way down: a convolution of stride 2, then a residual one, at each scale. Middle: a convolution. Way up: a residual
    convolution on the map and the skip of its scale, then a transposed one of stride 2. At the finest scale, map and skip
    go through a convolution, a residual one, and a 1x1 convolution without bias.

    Args:
        channels: one per scale, the finest first.
        outputs: channels of the maps.
    """

    def __init__(self, channels: Sequence[int], outputs: int) -> None:
        super().__init__()
        pairs = list(pairwise(channels))
        self.first = _conv3(3, channels[0])
        self.down = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(i, o, 4, stride=2, padding=1, bias=False),
                *_norm_and_celu(o),
                Residual(_conv3(o, o)),
            )
            for i, o in pairs
        )
        self.middle = _conv3(channels[-1], channels[-1])
        self.up = nn.ModuleList(
            nn.Sequential(
                Residual(_conv3(2 * o, 2 * o)),
                nn.ConvTranspose2d(2 * o, i, 4, stride=2, padding=1),
                *_norm_and_celu(i),
            )
            for i, o in reversed(pairs)
        )
        self.last = nn.Sequential(
            _conv3(2 * channels[0], outputs),
            Residual(_conv3(outputs, outputs)),
            nn.Conv2d(outputs, outputs, 1, bias=False),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Maps of the size of the images."""
        skips = [self.first(images)]
        for block in self.down:
            skips.append(block(skips[-1]))
        maps = self.middle(skips[-1])
        for block in self.up:
            maps = block(torch.cat([maps, skips.pop()], dim=1))
        found: Tensor = self.last(torch.cat([maps, skips.pop()], dim=1))
        return found


class Residual(nn.Module):
    """A block whose output is added to its input."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        """x + block(x)."""
        added: Tensor = x + self.block(x)
        return added


def _conv3(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), *_norm_and_celu(outputs))


def _norm_and_celu(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.BatchNorm2d(channels), nn.CELU()
