"""The first stage of EfficientMORL: a hierarchy of latents, inferred bottom up, with a prior from the top down."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from objbench.methods.efficient_morl.dual_gru import DualGRU
from objbench.methods.parts.attention import compete
from objbench.methods.parts.gaussian import Gaussian, softplus_variance

VARIANCE_FLOOR = 1e-5


def diagonal(raw: Tensor) -> Gaussian:
    """The distribution of latents with parameters `raw` (...,2D): means, then softplus^-1 of variances."""
    return Gaussian.of(raw, partial(softplus_variance, floor=VARIANCE_FLOOR))


class BottomUp(nn.Module):
    """The posteriors q(z_1|x) .. q(z_L|z_{L-1},x): rounds of slot attention, each from a sample of the one before.

    All layers share their parameters, and slots differ only by the noise of their samples.

    Args:
        features: F, of the input at each place.
        width: D, of a slot's latents.
        layers: L.
    """

    def __init__(self, features: int, width: int, layers: int) -> None:
        super().__init__()
        self.layers = layers
        self.initial = nn.Parameter(torch.cat([torch.zeros(width), torch.ones(width)]))
        self.key = nn.Linear(features, width, bias=False)
        self.value = nn.Linear(features, width, bias=False)
        self.query = nn.Linear(width, width, bias=False)
        self.norm = nn.LayerNorm(width)
        self.gru = DualGRU(width)
        self.mean_mlp, self.variance_mlp = _residual(width), _residual(width)

    def forward(self, features: Tensor, noise: Tensor) -> tuple[list[Tensor], Tensor]:
        """Infer all layers from features (B,N,F) and standard normal noise (B,L,K,D).

        Returns:
            The raw parameters (B,K,2D) of each layer, the lowest first, and the attention (B,N,K) of the uppermost.
        """
        keys, values = self.key(features), self.value(features)
        raw = self.initial.expand(*noise[:, 0].shape[:2], -1)
        layers, attention = [], features.new_empty(0)
        for layer in range(self.layers):
            latents = diagonal(raw).sample(noise[:, layer])
            updates, attention = compete(self.query(self.norm(latents)), keys, values)
            means, variances = self.gru(updates, raw).chunk(2, dim=-1)
            raw = torch.cat([means + self.mean_mlp(means), variances + self.variance_mlp(variances)], dim=-1)
            layers.append(raw)
        return layers, attention


class TopDown(nn.Module):
    """The priors p(z_l|z_{l+1}), by one network for all layers; the uppermost layer has N(0,1)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(width, hidden), nn.ELU())
        self.last = nn.Linear(hidden, 2 * width)  # to means and variances

    def forward(self, posteriors: Sequence[Gaussian], noise: Tensor) -> list[Gaussian]:
        """The prior of each layer, the lowest first, from samples of the posteriors above it.

        Args:
            posteriors: of all layers, the lowest first.
            noise: standard normal (B,L-1,K,D), for new samples, not those of `BottomUp`.
        """
        above = zip(posteriors[1:], noise.unbind(1), strict=True)
        priors = [diagonal(self.last(self.first(posterior.sample(own)))) for posterior, own in above]
        top = posteriors[-1].mean
        return [*priors, Gaussian(torch.zeros_like(top), torch.ones_like(top))]


def divergence(posteriors: Sequence[Gaussian], priors: Sequence[Gaussian]) -> Tensor:
    """KL divergence (B,) of posteriors (B,K,D) from the priors of their layers, summed over layers and slots."""
    layers = [posterior.kl_to(prior) for posterior, prior in zip(posteriors, priors, strict=True)]
    return torch.stack(layers).sum((0, 2))


def _residual(width: int) -> nn.Module:
    return nn.Sequential(
        nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)
    )
