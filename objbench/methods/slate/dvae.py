"""SLATE's discrete VAE: small squares of an image as tokens of a vocabulary, each coded by itself."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from objbench.methods.parts.precision import widened

ENCODER_LAYERS = 6  # 1x1 convolutions that follow the first one
DECODER_LAYERS = 2  # 1x1 convolutions between the 3x3 one and the enlargement


class DiscreteVAE(nn.Module):
    """Images (B,3,H,W) to logits of tokens, and (relaxed) one-hot tokens to images.

    Each block is a convolution without bias, a group norm of all channels together, and ReLU. The last layers of both
    halves are plain convolutions.

    Args:
        vocabulary: V.
        channels: of all blocks.
        upscales: by how much each pixel shuffle of the decoder enlarges; a token stands for a square of their product.
    """

    def __init__(self, vocabulary: int, channels: int, upscales: list[int]) -> None:
        super().__init__()
        side = math.prod(upscales)
        self.encoder = nn.Sequential(
            _block(3, channels, side, stride=side),
            *(_block(channels, channels, 1) for _ in range(ENCODER_LAYERS)),
            _plain(channels, vocabulary),
        )
        self.decoder = nn.Sequential(_block(vocabulary, channels, 1))
        for upscale in upscales:
            self.decoder.append(_block(channels, channels, 3))
            self.decoder.extend([_block(channels, channels, 1) for _ in range(DECODER_LAYERS)])
            self.decoder.append(_block(channels, channels * upscale**2, 1))
            self.decoder.append(nn.PixelShuffle(upscale))
        self.decoder.append(_plain(channels, 3))

    def encode(self, images: Tensor) -> Tensor:
        """Images (B,3,H,W) in [0,1] -> logarithms (B,V,h,w) of the probabilities of tokens, at least float32."""
        return widened(self.encoder(images)).log_softmax(1)

    def decode(self, tokens: Tensor) -> Tensor:
        """One-hot tokens (B,V,h,w), exact or relaxed -> images (B,3,H,W), not clamped, at least float32."""
        return widened(self.decoder(tokens))


def _block(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    padding = 0 if stride > 1 else kernel // 2
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
    nn.init.kaiming_uniform_(convolution.weight, nonlinearity="relu")
    return nn.Sequential(convolution, nn.GroupNorm(1, outputs), nn.ReLU())


def _plain(inputs: int, outputs: int) -> nn.Conv2d:
    convolution = nn.Conv2d(inputs, outputs, 1)
    nn.init.xavier_uniform_(convolution.weight)
    assert convolution.bias is not None
    nn.init.zeros_(convolution.bias)
    return convolution


def one_hot(tokens: Tensor, vocabulary: int) -> Tensor:
    """Tokens (B,h,w) -> float32 (B,V,h,w)."""
    hot = torch.zeros(len(tokens), vocabulary, *tokens.shape[1:], device=tokens.device)
    return hot.scatter_(1, tokens[:, None], 1.0)
