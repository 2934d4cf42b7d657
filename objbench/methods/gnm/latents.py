"""The latents of GNM's cells: distributions of presence, place, depth and look, and the fixed priors they are held to."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from objbench.methods.parts.conv_stack import Layer, conv_stack
from objbench.methods.parts.gaussian import Gaussian, plain_softplus
from objbench.methods.parts.presence import bernoulli_kl, bounded_logits
from objbench.methods.parts.spatial_transformer import cell_centres

FIRST_SIZE = -1.0  # before a sigmoid: boxes begin with a quarter of the image's side
RATIO_DEVIATION = 0.3
GATE_FLOOR = 1e-5
WHERE, DEPTH = 4, 1


class Cells(NamedTuple):
    """Independent distributions of the latents of N cells, row by row."""

    presence: Tensor  # (B,N), logits
    where: Gaussian  # (B,N,4): size, ratio of height to width, shift in x and in y, all unbounded
    depth: Gaussian  # (B,N,1)
    what: Gaussian  # (B,N,Z)

    def kl_to(self, other: Cells) -> Tensor:
        """KL divergence (B,) of these distributions from others, summed over the cells."""
        gaussians = zip(self[1:], other[1:], strict=True)
        divergences = [mine.kl_to(theirs) for mine, theirs in gaussians]
        return (bernoulli_kl(self.presence, other.presence) + sum(divergences)).sum(1)


class CellHead(nn.Module):
    """The distributions of the cells' latents from a map of features, at each place by itself.

    The posterior, from the features of an image, and the prior, from what StructDRAW draws, share it.
    """

    def __init__(self, channels: int, what: int) -> None:
        super().__init__()
        self.trunk = conv_stack(channels, [Layer(channels, kernel=1)] * 2)
        self.presence = nn.Conv2d(channels, 1, 1)
        self.where = nn.Conv2d(channels, 2 * WHERE, 1)
        self.depth = nn.Conv2d(channels, 2 * DEPTH, 1)
        self.what = nn.Conv2d(channels, 2 * what, 1)
        nn.init.uniform_(self.where.weight, -0.01, 0.01)
        first = torch.zeros(2 * WHERE)
        first[0] = FIRST_SIZE
        self.where.bias = nn.Parameter(first)

    def forward(self, features: Tensor) -> Cells:
        """features (B,C,h,w) -> the distributions of hw cells, float32."""
        trunk = self.trunk(features)
        presence, where, depth, what = (
            head(trunk).float().flatten(2).mT for head in (self.presence, self.where, self.depth, self.what)
        )
        logits = bounded_logits(presence.squeeze(2))
        return Cells(logits, *(Gaussian.of(raw, plain_softplus) for raw in (where, depth, what)))


def boxes_of(where: Tensor, cells: tuple[int, int]) -> Tensor:
    """Boxes (sx, sy, tx, ty) (B,N,4), as the spatial transformer has them, of samples of `where` (B,N,4).

    A box has the area sigmoid(size)^2 and is exp(ratio) times as high as it is wide.
    """
    size, ratio, shift = where[..., :1].sigmoid(), where[..., 1:2], where[..., 2:]
    stretch = (ratio / 2).exp()
    return torch.cat([size / stretch, size * stretch, cell_centres(shift.tanh(), cells)], dim=-1)


class FixedPriors(nn.Module):
    """The auxiliary priors, which say what an object is before anything is learned.

    Args:
        size_mean: mean of the unbounded size of a box.
        size_deviation: its standard deviation.
    """

    def __init__(self, size_mean: float, size_deviation: float) -> None:
        super().__init__()
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.tensor([size_mean, 0.0, 0.0, 0.0]), persistent=False)
        scales = torch.tensor([size_deviation, RATIO_DEVIATION, 1.0, 1.0])
        self.register_buffer("deviation", scales, persistent=False)

    def kl(self, cells: Cells, presence: Tensor, expected: Tensor, beta_where: Tensor) -> Tensor:
        """The weighted KL divergence (B,) of the cells' posterior from the fixed priors, summed over the cells.

        Where, depth and what count as far as the object is present. The gradient flows into the presence too, so that
        what is improbable is less present.

        Args:
            cells: the posterior.
            presence: (B,N), a sample of presence.
            expected: (), prior probability of presence.
            beta_where: (), weight of where.
        """
        where = cells.where.kl_to(Gaussian(self.mean, self.deviation))
        seen = beta_where * where + cells.depth.kl_to_standard() + cells.what.kl_to_standard()
        prior = torch.logit(expected).expand_as(cells.presence)
        return (bernoulli_kl(cells.presence, prior) + presence.clamp(min=GATE_FLOOR) * seen).sum(1)
