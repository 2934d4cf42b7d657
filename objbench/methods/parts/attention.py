"""Slot Attention: slots compete for the places of an image, round after round (Locatello et al., 2020, Algorithm 1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

ATTENTION_EPS = 1e-8


def compete(queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """One round of attention in which the slots compete for each place. In float32; scores are scaled by D^-1/2.

    Args:
        queries: (B,K,D), of the slots.
        keys: (B,N,D), of the places.
        values: (B,N,E), of the places.

    Returns:
        The updates (B,K,E), for each slot the mean of the values weighted by its attention, and the attention
        (B,N,K), which sums to 1 over the slots.
    """
    with torch.autocast(queries.device.type, enabled=False):
        queries, keys, values = queries.float(), keys.float(), values.float()
        scores = keys @ (queries * queries.shape[2] ** -0.5).mT  # (B,N,K)
        attention = scores.softmax(dim=2)
        weights = attention + ATTENTION_EPS
        weights = weights / weights.sum(dim=1, keepdim=True)
        return weights.mT @ values, attention


class SlotAttentionCore(nn.Module):
    """Slots from the features of N places, in a few rounds of attention, GRU and residual MLP.

    Args:
        features: F, of the input at each place.
        width: D, of slots, queries, keys and values.
        hidden: hidden units of the MLP.
        iterations: rounds of attention.
        bias: whether the maps to queries, keys and values have a bias.
        norm_eps: of the three layer norms, each over the features of one place or slot.
    """

    def __init__(
        self, features: int, width: int, hidden: int, iterations: int, *, bias: bool, norm_eps: float
    ) -> None:
        super().__init__()
        self.iterations = iterations
        self.norm_inputs = nn.LayerNorm(features, norm_eps)
        self.norm_slots = nn.LayerNorm(width, norm_eps)
        self.norm_mlp = nn.LayerNorm(width, norm_eps)
        self.query = nn.Linear(width, width, bias)
        self.key = nn.Linear(features, width, bias)
        self.value = nn.Linear(features, width, bias)
        self.gru = nn.GRUCell(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))

    def start_gru(self) -> None:
        """Give the GRU the first values of the published codes: Glorot's, orthogonal recurrent ones, biases of zero."""
        nn.init.xavier_uniform_(self.gru.weight_ih)
        nn.init.orthogonal_(self.gru.weight_hh)
        nn.init.zeros_(self.gru.bias_ih)
        nn.init.zeros_(self.gru.bias_hh)

    def forward(self, inputs: Tensor, slots: Tensor) -> tuple[Tensor, Tensor]:
        """inputs (B,N,F) and initial slots (B,K,D) -> slots (B,K,D) and the last round's attention (B,N,K)."""
        inputs = self.norm_inputs(inputs)
        keys, values = self.key(inputs), self.value(inputs)
        attention = slots.new_empty(0)
        for _ in range(self.iterations):
            updates, attention = compete(self.query(self.norm_slots(slots)), keys, values)
            slots = self._remember(updates, slots)
            slots = slots + self.mlp(self.norm_mlp(slots))
        return slots, attention

    def _remember(self, updates: Tensor, slots: Tensor) -> Tensor:
        """The GRU on each slot, in float32: updates are its input, slots its state."""
        with torch.autocast(slots.device.type, enabled=False):
            state: Tensor = self.gru(updates.flatten(0, 1), slots.float().flatten(0, 1))
        return state.view_as(slots)
