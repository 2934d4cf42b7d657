"""Mixture, error and entropies in one pass over the head's output, and their gradient in another.

Letters: B images, K slots, M pixels of an image. A program takes one image and some pixels with all their slots.
The object entropy is a function of whole images, so a program leaves sums, and a last small kernel makes the losses.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

SHARE_EPS = tl.constexpr(1e-8)  # as in objmae.losses.object_entropy


class FusedMixture(torch.autograd.Function):
    """(y, target) -> reconstruction error, pixel entropy, object entropy."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Three scalars in float32."""
        y, target = y.contiguous(), target.contiguous()
        B, K, M = y.shape[0], y.shape[1], y.shape[2] * y.shape[3]
        slots, block = _tile_size(K)
        blocks = triton.cdiv(M, block)
        partial = y.new_empty(B, blocks, 2 + K, dtype=torch.float32)
        _sums[(B * blocks,)](y, target, partial, M, K=K, SLOTS=slots, BLOCK=block, num_warps=2)
        sums = partial.sum(1)  # (B,2+K)
        losses = y.new_empty(3, dtype=torch.float32)
        _losses[(1,)](sums, losses, M, float(B * M), B=B, K=K, SLOTS=slots, IMAGES=32, num_warps=4)
        ctx.save_for_backward(y, target, sums)
        reconstruction, pixel, objects = losses.unbind()
        return reconstruction, pixel, objects

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        """With respect to y, in its dtype; the weights of the losses stay on the device."""
        y, target, sums = ctx.saved_tensors
        B, K, M = y.shape[0], y.shape[1], y.shape[2] * y.shape[3]
        slots, block = _tile_size(K)
        gradient = torch.empty_like(y)
        _gradient[(B * triton.cdiv(M, block),)](
            y, target, sums, *upstream, gradient, M, float(B * M),
            K=K, SLOTS=slots, BLOCK=block, num_warps=2,
        )  # fmt: skip
        return gradient, None


def _tile_size(K: int) -> tuple[int, int]:
    """Slots and pixels of a program: with two warps, one or two pixels per thread."""
    slots = triton.next_power_of_2(K)
    return slots, max(64, 512 // slots)


@triton.jit
def _tile(y, target, image, pixel, M, K: tl.constexpr, SLOTS: tl.constexpr):
    """Values (pixels,slots,4), masks, their logarithms (pixels,slots) and error (pixels,4), 0 for alpha; float32.

    Pixels come first because Triton spreads the first axis over threads: one then owns a pixel with all its slots.
    """
    slot = tl.arange(0, SLOTS)
    channel = tl.arange(0, 4)
    place, inside = _place(image, pixel, M, K, SLOTS)
    values = tl.load(y + place, mask=inside, other=0.0).to(tl.float32)

    alpha = tl.sum(tl.where(channel[None, None, :] == 3, values, 0.0), axis=2)
    alpha = tl.where((slot < K)[None, :], alpha, float("-inf"))
    alpha -= tl.max(alpha, axis=1)[:, None]
    log_masks = alpha - tl.log(tl.sum(tl.exp(alpha), axis=1))[:, None]
    masks = tl.exp(log_masks)
    log_masks = tl.where((slot < K)[None, :], log_masks, 0.0)  # their mask is 0: no 0 * inf

    colour = (channel < 3)[None, :] & (pixel < M)[:, None]
    at = image.to(tl.int64) * (M * 3) + pixel[:, None] * 3 + channel[None, :]
    wanted = tl.load(target + at, mask=colour, other=0)
    if target.dtype.element_ty == tl.uint8:
        wanted = wanted.to(tl.float32) / 127.5 - 1
    error = tl.where(colour, tl.sum(masks[:, :, None] * values, axis=1) - wanted, 0.0)
    return values, masks, log_masks, error


@triton.jit
def _place(image, pixel, M, K: tl.constexpr, SLOTS: tl.constexpr):
    """Where a tile lies in (B,K,M,4), and which of it exists; (pixels,slots,4)."""
    slot = tl.arange(0, SLOTS)
    channel = tl.arange(0, 4)
    place = (slot[None, :, None] * M + pixel[:, None, None]) * 4 + channel[None, None, :]
    inside = (slot < K)[None, :, None] & (pixel < M)[:, None, None]
    return image.to(tl.int64) * (K * M * 4) + place, inside


@triton.jit
def _sums(y, target, partial, M, K: tl.constexpr, SLOTS: tl.constexpr, BLOCK: tl.constexpr):
    """partial (B,blocks,2+K): squared error, pixel entropy and masks, summed over a program's pixels."""
    blocks = tl.cdiv(M, BLOCK)
    image = tl.program_id(0) // blocks
    pixel = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    _, masks, log_masks, error = _tile(y, target, image, pixel, M, K, SLOTS)
    masks = tl.where((pixel < M)[:, None], masks, 0.0)

    row = partial + tl.program_id(0) * (2 + K)
    tl.store(row, tl.sum(tl.sum(error * error, axis=1), axis=0))
    tl.store(row + 1, -tl.sum(tl.sum(masks * log_masks, axis=1), axis=0))
    slot = tl.arange(0, SLOTS)
    tl.store(row + 2 + slot, tl.sum(masks, axis=0), mask=slot < K)


@triton.jit
def _losses(
    sums, losses, M, pixels, B: tl.constexpr, K: tl.constexpr, SLOTS: tl.constexpr, IMAGES: tl.constexpr
):
    """losses (3) from sums (B,2+K), by one program."""
    slot = tl.arange(0, SLOTS)
    squares = tl.zeros((IMAGES,), tl.float32)
    pixel_entropies = tl.zeros((IMAGES,), tl.float32)
    object_entropies = tl.zeros((IMAGES, SLOTS), tl.float32)
    for first in range(0, B, IMAGES):
        image = first + tl.arange(0, IMAGES)
        row = sums + image * (2 + K)
        squares += tl.load(row, mask=image < B, other=0.0)
        pixel_entropies += tl.load(row + 1, mask=image < B, other=0.0)
        inside = (image < B)[:, None] & (slot < K)[None, :]
        share = tl.load(row[:, None] + 2 + slot[None, :], mask=inside, other=0.0) / M
        object_entropies -= share * tl.log(share + SHARE_EPS)
    tl.store(losses, tl.sum(squares, axis=0) / (3 * pixels))
    tl.store(losses + 1, tl.sum(pixel_entropies, axis=0) / pixels)
    tl.store(losses + 2, tl.sum(tl.sum(object_entropies, axis=1), axis=0) / B)


@triton.jit
def _gradient(
    y, target, sums, reconstruction, pixel_entropy, object_entropy, gradient, M, pixels,
    K: tl.constexpr, SLOTS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """gradient (B,K,M,4) of the three losses weighted by three scalars on the device."""
    blocks = tl.cdiv(M, BLOCK)
    image = tl.program_id(0) // blocks
    pixel = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    values, masks, log_masks, error = _tile(y, target, image, pixel, M, K, SLOTS)
    error *= tl.load(reconstruction) * 2 / (3 * pixels)  # now the gradient of the mixture

    # An entropy's derivative is -(log m + 1), but a constant over the slots does not pass the softmax.
    slot = tl.arange(0, SLOTS)
    share = tl.load(sums + image * (2 + K) + 2 + slot, mask=slot < K, other=0.0) / M
    of_masks = tl.sum(error[:, None, :] * values, axis=2)  # the error of alpha is 0
    of_masks -= (tl.load(object_entropy) / pixels * tl.log(share + SHARE_EPS))[None, :]
    of_masks -= tl.load(pixel_entropy) / pixels * log_masks
    of_alpha = masks * (of_masks - tl.sum(masks * of_masks, axis=1)[:, None])

    channel = tl.arange(0, 4)
    of_colour = error[:, None, :] * masks[:, :, None]
    result = tl.where(channel[None, None, :] == 3, of_alpha[:, :, None], of_colour)
    place, inside = _place(image, pixel, M, K, SLOTS)
    tl.store(gradient + place, result, mask=inside)
