"""SLATE's transformer: which token comes next, from the tokens before it and from the slots."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from objbench.methods.parts.precision import widened
from objbench.methods.parts.truncated_normal import truncated_normal_

EXPANSION = 4  # hidden units of a block's MLP, by its width


class TokenEmbedding(nn.Module):
    """Tokens (B,N) -> vectors (B,N+1,D) of a first token that none is before, and of the tokens, at their positions.

    Args:
        vocabulary: V; the first token has the number V.
        places: N.
        width: D.
        dropout: of the sums of embedding and position.
    """

    def __init__(self, vocabulary: int, places: int, width: int, dropout: float) -> None:
        super().__init__()
        self.first = vocabulary
        self.words = nn.Embedding(vocabulary + 1, width)
        self.positions = nn.Parameter(truncated_normal_(torch.empty(1, places + 1, width)))
        self.drop = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """The vectors; the tokens' own are those from 1 on."""
        begun = torch.cat([torch.full_like(tokens[:, :1], self.first), tokens], dim=1)
        embedded: Tensor = self.drop(self.words(begun) + self.positions)
        return embedded


class Attention(nn.Module):
    """Multi-head attention of tokens (B,N,D) to a context (B,M,D), without biases; in float32 but for the linear maps.

    Args:
        width: D.
        heads: a divisor of D.
        dropout: of the attention weights, and of what is returned.
        gain: of the initial weights of the last linear map.
        causal: whether a token sees only those up to its own place.
    """

    def __init__(self, width: int, heads: int, dropout: float, gain: float, *, causal: bool) -> None:
        super().__init__()
        self.heads, self.dropout, self.causal = heads, dropout, causal
        self.query, self.key, self.value = (glorot(width, width, bias=False) for _ in range(3))
        self.out = glorot(width, width, bias=False, gain=gain)
        self.drop = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        """What the tokens find in the context, (B,N,D)."""
        queries = self._heads(self.query(tokens))
        keys, values = self._heads(self.key(context)), self._heads(self.value(context))
        dropout = self.dropout if self.training else 0.0
        with torch.autocast(tokens.device.type, enabled=False):
            found = scaled_dot_product_attention(
                queries, keys, values, dropout_p=dropout, is_causal=self.causal
            )
        returned: Tensor = self.drop(self.out(found.transpose(1, 2).flatten(2)))
        return returned

    def _heads(self, values: Tensor) -> Tensor:
        return torch.unflatten(widened(values), 2, (self.heads, -1)).transpose(1, 2)  # (B,heads,N,D/heads)


class Block(nn.Module):
    """Attention among the tokens, attention to the slots, an MLP: each on normed tokens, and added to them.

    Args:
        width: D.
        heads: of both attentions.
        dropout: of attention weights and of what is added.
        gain: of the initial weights of the last linear map of each part.
        first: whether this is the first block, in which the attention among the tokens is added to the normed tokens.
    """

    def __init__(self, width: int, heads: int, dropout: float, gain: float, *, first: bool) -> None:
        super().__init__()
        self.first = first
        self.self_norm, self.cross_norm, self.mlp_norm = (nn.LayerNorm(width) for _ in range(3))
        self.self_attention = Attention(width, heads, dropout, gain, causal=True)
        self.cross_attention = Attention(width, heads, dropout, gain, causal=False)
        hidden = EXPANSION * width
        self.mlp = nn.Sequential(
            before_relu(width, hidden), nn.ReLU(), glorot(hidden, width, gain=gain), nn.Dropout(dropout)
        )

    def forward(self, tokens: Tensor, slots: Tensor) -> Tensor:
        """Tokens (B,N,D) and slots (B,K,D) -> tokens (B,N,D)."""
        normed = self.self_norm(tokens)
        tokens = (normed if self.first else tokens) + self.self_attention(normed, normed)
        tokens = tokens + self.cross_attention(self.cross_norm(tokens), slots)
        found: Tensor = tokens + self.mlp(self.mlp_norm(tokens))
        return found


class TokenDecoder(nn.Module):
    """Embedded tokens (B,N,D) and slots (B,K,S) -> logits (B,N,V) of the token after each of them.

    Args:
        width: D.
        slot_width: S.
        vocabulary: V.
        blocks: number of blocks.
        heads: of each attention.
        dropout: as of a Block.
    """

    def __init__(
        self, width: int, slot_width: int, vocabulary: int, blocks: int, heads: int, dropout: float
    ) -> None:
        super().__init__()
        self.slots = glorot(slot_width, width, bias=False)
        gain = (3 * blocks) ** -0.5  # the sum of all parts of all blocks begins with a variance of about one
        self.blocks = nn.ModuleList(
            Block(width, heads, dropout, gain, first=index == 0) for index in range(blocks)
        )
        self.norm = nn.LayerNorm(width)
        self.head = glorot(width, vocabulary, bias=False)

    def forward(self, embedded: Tensor, slots: Tensor) -> Tensor:
        """The logits; those at a place depend on the tokens up to it alone."""
        slots = self.slots(slots)
        for block in self.blocks:
            embedded = block(embedded, slots)
        logits: Tensor = self.head(self.norm(embedded))
        return logits


def glorot(inputs: int, outputs: int, *, bias: bool = True, gain: float = 1.0) -> nn.Linear:
    """A linear map with Glorot-uniform weights and zero biases."""
    linear = nn.Linear(inputs, outputs, bias)
    nn.init.xavier_uniform_(linear.weight, gain)
    if bias:
        nn.init.zeros_(linear.bias)
    return linear


def before_relu(inputs: int, outputs: int) -> nn.Linear:
    """A linear map with Kaiming-uniform weights, for a ReLU after it, and zero biases."""
    linear = nn.Linear(inputs, outputs)
    nn.init.kaiming_uniform_(linear.weight, nonlinearity="relu")
    nn.init.zeros_(linear.bias)
    return linear
