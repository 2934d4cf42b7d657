"""Two gated recurrent units side by side: one for means, one for raw variances."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DualGRU(nn.Module):
    """Two GRU cells of the same width with the same input and separate states (Emami et al. 2021).

    Each is as torch.nn.GRUCell: reset, update and candidate gates in this order, the reset applied to the product of
    weights and state. The published code writes the two as one cell with block-diagonal weights; here each has its own,
    (2,3D,D). Weights and biases start as N(0,1), much wider than in any other network of the method: this is part of
    the method.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight_input = nn.Parameter(torch.randn(2, 3 * width, width))
        self.weight_state = nn.Parameter(torch.randn(2, 3 * width, width))
        self.bias_input = nn.Parameter(torch.randn(2, 3 * width))
        self.bias_state = nn.Parameter(torch.randn(2, 3 * width))

    def forward(self, inputs: Tensor, state: Tensor) -> Tensor:
        """inputs (...,D), states (...,2D) of the first and the second cell -> states (...,2D), in float32."""
        with torch.autocast(inputs.device.type, enabled=False):
            states = torch.stack(state.float().chunk(2, dim=-1), dim=-2)  # ...,2,D
            seen = torch.einsum("...d,cgd->...cg", inputs.float(), self.weight_input) + self.bias_input
            kept = torch.einsum("...cd,cgd->...cg", states, self.weight_state) + self.bias_state
            reset_seen, update_seen, candidate_seen = seen.chunk(3, dim=-1)
            reset_kept, update_kept, candidate_kept = kept.chunk(3, dim=-1)
            reset, update = (reset_seen + reset_kept).sigmoid(), (update_seen + update_kept).sigmoid()
            candidate = (candidate_seen + reset * candidate_kept).tanh()
            return candidate.lerp(states, update).flatten(-2)
