"""The prior of slots in an order, each given those before it: the masks of GENESIS, the slots of GENESIS-V2."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from objbench.methods.parts.gaussian import Gaussian, squashed


class AutoregressivePrior(nn.Module):
    """p(z_1) p(z_2|z_1) ... p(z_K|z_<K): the first is standard normal, the others come from an LSTM."""

    def __init__(self, latent: int, hidden: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(latent, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 2 * latent)

    def forward(self, latents: Tensor) -> Gaussian:
        """The prior (B,K,Z) of latents (B,K,Z), each given those before it; means lie in (-1,1)."""
        with torch.autocast(latents.device.type, enabled=False):  # no LSTM in bfloat16 on every CPU
            states, _ = self.lstm(latents[:, :-1])
            later = squashed(self.head(states.to(self.head.weight.dtype)))
        first = torch.zeros_like(latents[:, :1])
        mean = torch.cat([first, later.mean], dim=1)
        return Gaussian(mean, torch.cat([first + 1, later.deviation], dim=1))
