"""objmae's fast training step: the loss of the plain step, from fused kernels, ready to be captured as a CUDA graph.

It states the same network as `Autoencoder` (objmae/model.py) once more: a change of one needs the same change of the
other. Besides the kernels it differs from `ObjMAE.training_loss` in this: images become patches as uint8; the values of
the schedules are in a tensor; in bfloat16 casts are explicit (no autocast). In float32 stay the residual streams (class
tokens, and slots in the decoder, start 0.002 apart, which bfloat16 would round away in a sum), the object function, all
statistics of norms, and the mixture with its losses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from objbench.methods.base import Losses, Progress
from objmae.kernels.attention import attention
from objmae.kernels.broadcast import broadcast
from objmae.kernels.mixture import mixture_losses
from objmae.kernels.residual_norm import residual_norm
from objmae.model import CHANNELS, Autoencoder, Block, object_function, patchify, random_patches, take_patches
from objmae.schedule import Schedule


class FastLoss:
    """objmae's loss in the form that objbench.train.cuda_graph needs, with the random numbers of the plain step."""

    def __init__(self, model: Autoencoder, schedule: Schedule, normal: Callable[..., Tensor]) -> None:
        self.model, self.schedule, self.normal = model, schedule, normal
        self._values = torch.zeros(3, device=self.model.class_tokens.device)  # two entropy weights, noise
        self._epoch = -1
        self._keys: dict[int, tuple[int, bool]] = {}

    def key(self, progress: Progress) -> tuple[int, bool]:
        """The number of kept patches, and whether there is noise: shapes and random draws depend on both."""
        epoch = progress.nominal_epoch
        if epoch not in self._keys:
            schedule = self.schedule
            self._keys[epoch] = (
                schedule.kept_patches(epoch, self.model.patches),
                schedule.noise(epoch) > 0,
            )
        return self._keys[epoch]

    def prepare(self, progress: Progress) -> None:
        """Write the epoch's entropy weights and noise into the tensor that the loss reads."""
        epoch = progress.nominal_epoch
        if epoch != self._epoch:
            schedule = self.schedule
            self._values.copy_(torch.tensor([*schedule.entropy_weights(epoch), schedule.noise(epoch)]))
            self._epoch = epoch

    def loss(self, images: Tensor, progress: Progress) -> Losses:
        """The loss of uint8 images (B,3,H,W)."""
        with torch.autocast(images.device.type, enabled=False):
            target = patchify(images, self.model.settings.patch)  # (B,N,P*P*C)
            B, N, _ = target.shape
            kept, noisy = self.key(progress)
            ids = random_patches(B, N, kept, target.device)
            noise = None
            if noisy:
                noise = self._values[2] * self.normal(images, *self.model.class_tokens.shape)
            terms = mixture_losses(self._forward(target, ids, noise), target)
            total = terms.reconstruction
            total = total + self._values[0] * terms.pixel_entropy + self._values[1] * terms.object_entropy
            return Losses(total, terms._asdict())

    def _forward(self, target: Tensor, ids: Tensor, noise: Tensor | None) -> Tensor:
        """From uint8 patches (B,N,P*P*C) to the head's output (B,K,N,P*P,C+1), as `Autoencoder.forward`."""
        m = self.model
        dtype = m.head.weight.dtype  # bfloat16, if the stepper has cast the weights
        seen = take_patches(target, ids) / 127.5 - 1
        z = m.patch_projection(seen.to(dtype)) + m.encoder_position[ids]  # (B,n,D), float32
        c = m.class_tokens.expand(len(target), -1, -1)  # (B,K,D)
        x = torch.cat([c if noise is None else c + noise, z], dim=1)  # (B,T,D)
        x, branch = _transform(x, m.encoder, dtype)
        x = m.encoder_norm(x + branch)
        slots, log_attention = object_function(x[:, : m.slots], x[:, m.slots :])

        weight, bias = m.slot_projection.weight, m.slot_projection.bias  # (d,D+1), (d,)
        base = F.linear(slots.to(dtype), weight[:, :-1], bias)  # (B,K,d)
        x = broadcast(
            base, log_attention, ids, weight[:, -1], m.mask_token, m.decoder_position, torch.float32
        )
        _, h = _add_and_norm(*_transform(x.flatten(0, 1), m.decoder, dtype), m.decoder_norm, dtype)
        y: Tensor = m.head(h)  # (B*K,N,P*P*4)
        return y.view(*x.shape[:3], -1, CHANNELS + 1)


def _transform(x: Tensor, blocks: Iterable[nn.Module], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """x (B,T,D) through all blocks: the residual stream in x's dtype, and the last branch in `dtype`, not yet added."""
    branch: Tensor | None = None
    for block in blocks:
        assert isinstance(block, Block)
        x, h = _add_and_norm(x, branch, block.norm1, dtype)
        branch = block.projection(attention(block.qkv(h).unflatten(2, (3, block.heads, -1))))
        x, h = _add_and_norm(x, branch, block.norm2, dtype)
        branch = block.contract(F.gelu(block.expand(h)))
    assert branch is not None
    return x, branch


def _add_and_norm(
    x: Tensor, branch: Tensor | None, norm: nn.LayerNorm, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """The residual stream with the branch added, and its norm in `dtype`."""
    if branch is None:
        return x, norm(x.float()).to(dtype)
    return residual_norm(x, branch, norm.weight, norm.bias, norm.eps)
