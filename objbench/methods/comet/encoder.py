"""COMET's encoder: an LSTM looks at the places of a small map once for each component and says its latent."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import silu


def same_size(inputs: int, outputs: int) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size of its maps."""
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def halving() -> nn.AvgPool2d:
    """The mean of 3x3 places at every second one; a side that is odd is rounded up, zeros beyond the border count."""
    return nn.AvgPool2d(3, stride=2, padding=1)


class ResidualBlock(nn.Module):
    """Maps (B,C,H,W) to maps of half the size: two convolutions beside the identity, one after them, the pool."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second, self.last = (same_size(channels, channels) for _ in range(3))
        self.pool = halving()

    def forward(self, maps: Tensor) -> Tensor:
        hidden = silu(self.second(silu(self.first(maps))))
        pooled: Tensor = self.pool(silu(self.last(maps + hidden)))
        return pooled


class RecurrentEncoder(nn.Module):
    """Images to as many latents as are asked for, one after another.

    Each look pairs every place with the LSTM's cell state, weighs the pairs by a softmax over the places, and gives the
    LSTM their weighted sum, which begins with zeros.

    Args:
        channels: C, of the map, and width of the LSTM.
        blocks: residual blocks, each of which halves the map.
        latent: Z, dimensions of a latent.
    """

    def __init__(self, channels: int, blocks: int, latent: int) -> None:
        super().__init__()
        self.first = same_size(3, channels)
        self.blocks = nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks)))
        # A bias of the scores would be taken away again by the softmax.
        self.score = nn.Sequential(
            nn.Linear(2 * channels, channels), nn.ReLU(), nn.Linear(channels, 1, bias=False)
        )
        self.seen = nn.Linear(2 * channels, channels)
        self.cell = nn.LSTMCell(channels, channels)
        self.latent = nn.Linear(channels, latent)

    def forward(self, images: Tensor, count: int) -> Tensor:
        """Images (B,3,H,W) in [0,1] to float32 latents (B,count,Z)."""
        places = self.blocks(self.first(images).relu()).flatten(2).mT  # (B,N,C)
        hidden = state = places.new_zeros(len(images), self.cell.hidden_size).float()
        latents = []
        for _ in range(count):
            pairs = torch.cat([state[:, None].expand(-1, places.shape[1], -1), places], dim=2)
            weights = self.score(pairs).float().softmax(1)
            seen = self.seen((weights * pairs).sum(1))
            with torch.autocast(images.device.type, enabled=False):  # no LSTM in bfloat16 on every CPU
                hidden, state = self.cell(seen.float(), (hidden, state))
            latents.append(self.latent(hidden).float())
        return torch.stack(latents, dim=1)
