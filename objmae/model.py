"""The network of objmae: kept patches -> encoder with class tokens -> object function -> one decoding per slot.

Letters in shape comments: B images, C colour channels, H x W pixels, P the side of a patch, N patches of an image,
n of them kept, K slots, D the width of the encoder, d of the decoder, T tokens of a sequence.
"""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from objbench.spec.explain import refusal
from objbench.spec.settings import Count, Group
from objmae.kernels.attention import plain_attention
from objmae.kernels.broadcast import plain_broadcast

CHANNELS = 3
LAYER_NORM_EPS = 1e-5  # above the variance of a fresh class token (4e-6), whose norm it decides


Width = Annotated[int, Field(gt=0, multiple_of=4)]  # of the code of a patch's place


class Model(Group):
    """The two transformers."""

    patch: Count = Field(description="side of a patch, in pixels; divides the sides of the image")
    width: Width = Field(description="width of the encoder")
    depth: Count = Field(description="layers of the encoder")
    heads: Count = Field(description="heads of the encoder's attention; divides its width")
    decoder_width: Width = Field(description="width of the decoder")
    decoder_depth: Count = Field(description="layers of the decoder")
    decoder_heads: Count = Field(description="heads of the decoder's attention; divides its width")
    mlp_ratio: Count = Field(description="hidden units of a layer's MLP, as a multiple of the width")

    @model_validator(mode="after")
    def _heads_divide_widths(self) -> Model:
        for prefix, width, heads in (
            ("", self.width, self.heads),
            ("decoder_", self.decoder_width, self.decoder_heads),
        ):
            if width % heads:
                raise refusal(f"model.{prefix}heads", f"a divisor of model.{prefix}width={width}", heads)
        return self


class Prediction(NamedTuple):
    """The output of the network for B images, in the order of the patches.

    Attributes:
        rgb: (B,K,N,P*P,C), the image of each slot, in the range of the input, not clamped.
        log_masks: (B,K,N,P*P), logarithm of the mixture weights, a distribution over the K slots at each pixel.
        slots: (B,K,D).
        log_attention: (B,n,K), logarithm of the share of each slot in each kept patch.
    """

    rgb: Tensor
    log_masks: Tensor
    slots: Tensor
    log_attention: Tensor

    @property
    def reconstruction(self) -> Tensor:
        """The mixture of the slots' images, (B,N,P*P*C)."""
        mixture = (self.log_masks.exp().unsqueeze(-1) * self.rgb).sum(1)  # (B,N,P*P,C)
        return mixture.flatten(2)


def patch_grid(image_size: tuple[int, int], patch: int) -> tuple[int, int]:
    """Rows and columns of patches of an image (height, width). Raises RequestError if some would be cut."""
    height, width = image_size
    if height % patch or width % patch:
        raise refusal("model.patch", f"a divisor of the image size {height}x{width}", patch)
    return height // patch, width // patch


def patchify(images: Tensor, patch: int) -> Tensor:
    """(..., C,H,W) -> (..., N, P*P*C): patches row by row; within a patch by row, column, channel."""
    *lead, C, H, W = images.shape
    x = images.reshape(*lead, C, H // patch, patch, W // patch, patch)
    x = x.movedim(-5, -1).transpose(-4, -3)  # (..., H/P, W/P, P, P, C)
    return x.reshape(*lead, (H // patch) * (W // patch), patch * patch * C)


def unpatchify(patches: Tensor, grid: tuple[int, int], patch: int) -> Tensor:
    """(..., N, P*P*C) -> (..., C,H,W): the inverse of patchify for a grid of (rows, columns)."""
    *lead, _, values = patches.shape
    C = values // patch**2
    x = patches.reshape(*lead, *grid, patch, patch, C)
    x = x.transpose(-4, -3).movedim(-1, -5)  # (..., C, H/P, P, W/P, P)
    return x.reshape(*lead, C, grid[0] * patch, grid[1] * patch)


def position_table(grid: tuple[int, int], width: int) -> Tensor:
    """The fixed position code of each patch, (N, width): first half for the column, second half for the row.

    Each half is [sin(p w_j) | cos(p w_j)] with w_j = 10000^(-j / (width/4)), j = 0 .. width/4 - 1.
    """
    frequencies = 10000.0 ** (-torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    rows, columns = (torch.arange(size, dtype=torch.float64) for size in grid)
    row, column = torch.meshgrid(rows, columns, indexing="ij")
    angles = [place.flatten()[:, None] * frequencies for place in (column, row)]  # 2 x (N, width/4)
    return torch.cat([wave for a in angles for wave in (a.sin(), a.cos())], dim=1).float()


def random_patches(batch: int, patches: int, kept: int, device: torch.device) -> Tensor:
    """Indices (B,n) of the patches to keep: for each image a uniform random subset, in random order."""
    return torch.rand(batch, patches, dtype=torch.float32, device=device).argsort(dim=1)[:, :kept]


def take_patches(x: Tensor, ids: Tensor) -> Tensor:
    """The rows `ids` (B,n) of x (B,N,F): (B,n,F)."""
    return x.gather(1, ids[:, :, None].expand(-1, -1, x.shape[2]))


def object_function(classes: Tensor, patches: Tensor) -> tuple[Tensor, Tensor]:
    """Slots as attention-weighted means of the encoded patches; the classes compete for each patch (Fig. 2a).

    classes (B,K,D), patches (B,n,D) -> slots (B,K,D), log_attention (B,n,K); always in float32.
    """
    with torch.autocast(classes.device.type, enabled=False):
        classes, patches = classes.float(), patches.float()
        scores = patches @ classes.mT / math.sqrt(classes.shape[2])  # (B,n,K)
        log_attention = scores.log_softmax(dim=2)
        attention = log_attention.exp()
        weights = attention / (attention.sum(dim=1, keepdim=True) + 1e-8)
        return weights.mT @ patches, log_attention


class Block(nn.Module):
    """A pre-norm transformer layer: x += attention(norm(x)); x += mlp(norm(x))."""

    def __init__(self, width: int, heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.qkv = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.expand = nn.Linear(width, mlp_ratio * width)
        self.contract = nn.Linear(mlp_ratio * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B,T,D) -> (B,T,D)."""
        x = x + self.projection(self.attention(self.norm1(x)))
        x = x + self.contract(F.gelu(self.expand(self.norm2(x))))
        return x

    def attention(self, x: Tensor) -> Tensor:
        """Multi-head self-attention, before its output projection."""
        return plain_attention(self.qkv(x).unflatten(2, (3, self.heads, -1)))  # of (B,T,3,heads,D/heads)


class Autoencoder(nn.Module):
    """The masked autoencoder. It draws no random numbers: which patches are kept and the noise are arguments.

    Its input is patches (B,N,P*P*C) in [-1,1], the ids of the kept ones (B,n), and noise on the class tokens (B,K,D) or
    None.

    `FastLoss` in objmae/fast.py states the same network once more, with fused kernels: a change of `forward`, `encode`,
    `broadcast` or `decode` needs the same change there. tests/objmae/test_fast.py checks that the two are equal.

    Args:
        settings: of the two transformers.
        image_size: (H,W).
        slots: K.

    Attributes:
        grid: rows and columns of patches.
    """

    def __init__(self, settings: Model, image_size: tuple[int, int], slots: int) -> None:
        super().__init__()
        self.settings, self.slots = settings, slots
        self.grid = patch_grid(image_size, settings.patch)
        c = settings
        pixels = c.patch**2
        self.patch_projection = nn.Linear(pixels * CHANNELS, c.width)
        self.class_tokens = nn.Parameter(torch.empty(slots, c.width))
        self.encoder = nn.Sequential(*(Block(c.width, c.heads, c.mlp_ratio) for _ in range(c.depth)))
        self.encoder_norm = nn.LayerNorm(c.width, eps=LAYER_NORM_EPS)

        self.slot_projection = nn.Linear(c.width + 1, c.decoder_width)  # of a slot and one log-attention
        self.mask_token = nn.Parameter(torch.empty(c.decoder_width))
        self.decoder = nn.Sequential(
            *(Block(c.decoder_width, c.decoder_heads, c.mlp_ratio) for _ in range(c.decoder_depth))
        )
        self.decoder_norm = nn.LayerNorm(c.decoder_width, eps=LAYER_NORM_EPS)
        self.head = nn.Linear(c.decoder_width, pixels * (CHANNELS + 1))

        self.encoder_position: Tensor  # (N,D)
        self.decoder_position: Tensor  # (N,d)
        self.register_buffer("encoder_position", position_table(self.grid, c.width), persistent=False)
        self.register_buffer("decoder_position", position_table(self.grid, c.decoder_width), persistent=False)
        self._initialise()

    @property
    def patches(self) -> int:
        """The number of patches of an image, N."""
        return math.prod(self.grid)

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module is not self.patch_projection:  # keeps its uniform default, as a convolution would
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.class_tokens, std=0.002)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, patches: Tensor, ids: Tensor, noise: Tensor | None = None) -> Prediction:
        """From the kept patches of B images to all their pixels."""
        classes, kept = self.encode(patches, ids, noise)  # (B,K,D), (B,n,D)
        slots, log_attention = object_function(classes, kept)  # (B,K,D), (B,n,K)
        rgb, log_masks = self.decode(self.broadcast(slots, log_attention, ids))
        return Prediction(rgb, log_masks, slots, log_attention)

    def encode(self, patches: Tensor, ids: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor]:
        """Class tokens (B,K,D) and kept patches (B,n,D) after the encoder; class tokens have no position code."""
        z = self.patch_projection(take_patches(patches, ids)) + self.encoder_position[ids]  # (B,n,D)
        c = self.class_tokens.expand(len(patches), -1, -1)  # (B,K,D)
        if noise is not None:
            c = c + noise
        x = self.encoder_norm(self.encoder(torch.cat([c, z], dim=1)))  # (B,K+n,D)
        return x[:, : c.shape[1]], x[:, c.shape[1] :]

    def broadcast(self, slots: Tensor, log_attention: Tensor, ids: Tensor) -> Tensor:
        """The decoder's input for each slot, (B,K,N,d): the slot where a patch was kept, else the mask token (Fig. 2b).

        The projection of the concatenation [slot, log_attention] is a sum of two terms: the slot's term is the same at
        all patches, the other is a multiple of one vector. So nothing is concatenated or gathered.
        """
        weight, bias = self.slot_projection.weight, self.slot_projection.bias  # (d,D+1), (d,)
        base = F.linear(slots, weight[:, :-1], bias)  # (B,K,d)
        return plain_broadcast(
            base, log_attention, ids, weight[:, -1], self.mask_token, self.decoder_position, torch.float32
        )

    def decode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B,K,N,d) -> rgb (B,K,N,P*P,C) and log_masks (B,K,N,P*P), both float32; slots do not see each other."""
        y = self.head(self.decoder_norm(self.decoder(x.flatten(0, 1))))  # (B*K,N,P*P*4)
        y = y.float().unflatten(2, (-1, CHANNELS + 1)).unflatten(0, x.shape[:2])  # (B,K,N,P*P,4)
        return y[..., :CHANNELS], y[..., CHANNELS].log_softmax(dim=1)
