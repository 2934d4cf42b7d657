"""Layers of DTI-Sprites: how they compose an image, and the greedy search for the sprite of each.

An image is the sum over layers i of m_i c_i prod_{j != i} (1 - o_ji m_j): masks m, colours c, and occlusions, o_ji = 1 if
layer j hides layer i. The background is a layer with a mask of ones that every other layer hides and that hides none.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def later_on_top(layers: int, like: Tensor) -> Tensor:
    """Occlusions (L,L) of layers of which each hides those before it."""
    return torch.ones(layers, layers, device=like.device, dtype=like.dtype).tril(-1)


def occlusions(lower: Tensor, layers: int) -> Tensor:
    """Occlusions (B,L,L) of which (B,L(L-1)/2), in [0,1], are those below the diagonal; o_ij = 1 - o_ji, o_ii = 0."""
    whole = [[lower.new_zeros(len(lower))] * layers for _ in range(layers)]
    pairs = ((after, before) for after in range(layers) for before in range(after))
    for (after, before), values in zip(pairs, lower.unbind(1), strict=True):
        whole[after][before], whole[before][after] = values, 1 - values
    return torch.stack([torch.stack(row, dim=1) for row in whole], dim=1)


def visibility(masks: Tensor, hides: Tensor, without: int | None = None) -> Tensor:
    """How much of each layer, and of the background, is not hidden: prod_{j != i} (1 - o_ji m_j).

    Args:
        masks: (B,L,1,H,W).
        hides: o, (B,L,L).
        without: a layer that hides nothing for once.

    Returns:
        (B,1+L,1,H,W), the background first.
    """
    factors = [1 - _behind(hides[:, j]) * masks[:, j, None] for j in range(masks.shape[1]) if j != without]
    seen = torch.ones_like(masks[:, :1]).expand(-1, masks.shape[1] + 1, -1, -1, -1)
    for factor in factors:
        seen = seen * factor
    return seen


def compose(colours: Tensor, masks: Tensor, hides: Tensor, background: Tensor) -> Tensor:
    """The image (B,3,H,W) of layers: colours (B,L,3,H,W), masks (B,L,1,H,W), o (B,L,L), background (B,3,H,W)."""
    weights = planes(masks, hides)
    return weights[:, 0] * background + (weights[:, 1:] * colours).sum(1)


def planes(masks: Tensor, hides: Tensor) -> Tensor:
    """What multiplies the colours of background and layers, (B,1+L,1,H,W)."""
    return torch.cat([torch.ones_like(masks[:, :1]), masks], dim=1) * visibility(masks, hides)


def select(
    images: Tensor,
    painted: Callable[[int], tuple[Tensor, Tensor]],
    hides: Tensor,
    background: Tensor,
    *,
    rounds: int,
    empty: float | None,
) -> Tensor:
    """The sprite of each layer by greedy search, int64 (B,L); K stands for none.

    All layers are empty at first. In each round, each layer in its turn gets the sprite with which the image is nearest
    in mean squared error, the others as they are. With layer l variable the image is A - m_k D + m_k c_k P, in which A, D
    and P do not depend on the sprite k: A is the image without l, D the part of it that l hides, P what is seen of l.

    Args:
        images: (B,3,H,W).
        painted: layer -> its sprites, colours (B,K,3,H,W) and masks (B,K,1,H,W). It is asked for a layer in each round,
            so that the sprites of one layer alone are in memory, not those of all.
        hides: (B,L,L).
        background: (B,3,H,W).
        rounds: how often it goes through the layers.
        empty: what a sprite costs, in mean squared error; None if no layer may stay empty.
    """
    batch, layers = hides.shape[:2]
    chosen = torch.full((batch, layers), -1, device=images.device)
    chosen_masks, chosen_colours = (
        background.new_zeros(batch, layers, channels, *images.shape[2:]) for channels in (1, 3)
    )
    for layer in list(range(layers)) * rounds:
        colours, masks = painted(layer)
        sprites = colours.shape[1]
        seen = visibility(chosen_masks, hides, layer)
        parts = seen[:, 1:] * chosen_masks * chosen_colours
        behind = seen[:, 0] * background
        others = [index for index in range(layers) if index != layer]
        rest = behind + sum(parts[:, index] for index in others)
        hidden = behind + sum(hides[:, layer, index, None, None, None] * parts[:, index] for index in others)
        change = masks * (hidden[:, None] - colours * seen[:, layer + 1, None])
        left = (images - rest)[:, None]
        errors = (left + change).square().flatten(2).mean(2)
        if empty is not None:
            errors = torch.cat([errors + empty, left.square().flatten(2).mean(2)], dim=1)
        best = errors.argmin(1)
        chosen[:, layer] = best
        some, index = (best < sprites)[:, None, None, None], best.clamp(max=sprites - 1)
        chosen_masks[:, layer] = torch.where(some, pick(masks, index), 0.0)
        chosen_colours[:, layer] = pick(colours, index)
    return chosen


def pick(values: Tensor, index: Tensor) -> Tensor:
    """Of values (B,K,...) the one of each image that index (B,) names, (B,...)."""
    where = index.view(-1, *[1] * (values.ndim - 1)).expand(-1, 1, *values.shape[2:])
    return values.gather(1, where).squeeze(1)


def visible_labels(masks: Tensor, hides: Tensor) -> Tensor:
    """The layer that is seen at each pixel, int64 (B,H,W), 0 for the background and i + 1 for layer i.

    Masks and occlusions count as 1 above one half and as 0 below. Of several layers that are seen it is the first.
    """
    hard = planes((masks > 0.5).to(masks.dtype), (hides > 0.5).to(hides.dtype)).squeeze(2)
    return torch.where(hard[:, 1:].amax(1) > 0.5, hard[:, 1:].argmax(1) + 1, 0)


def without_background(labels: Tensor, colours: Tensor, images: Tensor) -> Tensor:
    """Labels (B,H,W) in which each pixel of the background has got the layer whose colour there is nearest the image's.

    This is how the published numbers of the foreground were scored.

    Args:
        labels: of `visible_labels`.
        colours: (B,L,3,H,W).
        images: (B,3,H,W).
    """
    nearest = (colours - images[:, None]).square().sum(2).argmin(1) + 1
    return torch.where(labels == 0, nearest, labels)


def _behind(hidden: Tensor) -> Tensor:
    """What a layer hides, from (B,L) to (B,1+L,1,1,1), the background first: it hides that in full."""
    return torch.cat([torch.ones_like(hidden[:, :1]), hidden], dim=1)[..., None, None, None]
