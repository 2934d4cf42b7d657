"""The slots of methods that find objects as boxes or layers: what is known of each, and a row for the background."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad


def box_slots(*latents: Tensor) -> Tensor:
    """A slot for each plane: zeros for the background, then the latents of each object, one after the other.

    Args:
        latents: float (B,N,*) or (B,N), such as look, box, depth and presence.

    Returns:
        float32 (B,1+N,D).

    Example:
        >>> box_slots(torch.ones(1, 2, 3), torch.full((1, 2), 0.5))[0].tolist()
        [[0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 0.5], [1.0, 1.0, 1.0, 0.5]]
    """
    return pad(
        torch.cat(
            [
                latent.float().flatten(2) if latent.ndim > 2 else latent.float()[..., None]
                for latent in latents
            ],
            2,
        ),
        (0, 0, 1, 0),
    )
