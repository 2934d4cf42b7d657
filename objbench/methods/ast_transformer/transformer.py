"""The encoder of the transformer (Vaswani et al., "Attention Is All You Need", NeurIPS 2017), with norms after the sums."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


class TransformerLayer(nn.Module):
    """Tokens (B,N,D) -> (B,N,D): attention among all tokens, then an MLP; each added to its input, then a layer norm.

    It computes what `nn.TransformerEncoderLayer(D, heads, hidden, dropout, batch_first=True)` computes, with the same
    initial values, but keeps attention in float32 whatever the precision of the linear maps.

    Args:
        width: D.
        heads: of the attention, a divisor of D.
        hidden: units of the MLP.
        dropout: of attention weights, hidden units, and what is added.
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.attend_in, self.attend_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp_in, self.mlp_out = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.attend_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.drop = nn.Dropout(dropout)
        nn.init.xavier_uniform_(self.attend_in.weight)
        nn.init.zeros_(self.attend_in.bias)
        nn.init.zeros_(self.attend_out.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """The tokens after the layer."""
        tokens = self.attend_norm(tokens + self.drop(self._attend(tokens)))
        hidden = self.drop(self.mlp_in(tokens).relu())
        normed: Tensor = self.mlp_norm(tokens + self.drop(self.mlp_out(hidden)))
        return normed

    def _attend(self, tokens: Tensor) -> Tensor:
        split = self.attend_in(tokens).float().unflatten(2, (3, self.heads, -1))  # (B,N,3,heads,D/heads)
        queries, keys, values = split.transpose(1, 3).unbind(2)  # (B,heads,N,D/heads)
        dropout = self.dropout if self.training else 0.0
        with torch.autocast(tokens.device.type, enabled=False):
            found = scaled_dot_product_attention(queries, keys, values, dropout_p=dropout)
        attended: Tensor = self.attend_out(found.transpose(1, 2).flatten(2))
        return attended


def transformer_encoder(width: int, heads: int, hidden: int, dropout: float, layers: int) -> nn.Sequential:
    """`layers` layers one after another, all with the same initial values, as in `nn.TransformerEncoder`."""
    found = [TransformerLayer(width, heads, hidden, dropout) for _ in range(layers)]
    for layer in found[1:]:
        layer.load_state_dict(found[0].state_dict())
    return nn.Sequential(*found)
