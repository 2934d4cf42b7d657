"""MONet (Burgess et al. 2019): a U-Net takes one mask after another from the image, a VAE models each masked part.

There is no official code. Where the paper does not say, these are the choices; values are in benchmarks.yaml:
- Channels of the U-Net are not published. The default (32, and 64 at the three coarsest scales) is small and fast; the
  variant `clevrtex` has those of the ClevrTex benchmark, ten times as many parameters (64, doubling up to 512).
- The paper has no Tetrominoes. The standard deviations, the four scales, the optimizer and the length of the training
  are those of a public benchmark that resizes the images to 32x32. Here they stay 35x35: the U-Net pads them to 40x40
  by repeating the last row and column and crops its logits; the VAE needs no padding.
- The VAE's encoder sees log-masks. With `model.encoder_mask` linear it sees the masks themselves, as in some ports:
  log-masks of decided slots are large numbers, beside which a short training ignores the colours.
- sigma of a latent is the exponential of the network's output, as in the ClevrTex benchmark. Weights have torch's own
  initialisation. The learning rate is constant.
- With `model.resolution` it works on smaller images: its input is the means of rectangles, its output is enlarged
  again (the variant `demo`).

Deviations: the divergence of the masks is computed in log space and needs no clamp; `segment` decodes the mean of each
latent instead of a sample, so that nothing is random at test time.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Adam, Optimizer, RMSprop

from objbench.methods.base import LearningRate, Losses, Method, Progress, Segmentation, Stage
from objbench.methods.parts.broadcast import Conv, SpatialBroadcastDecoder
from objbench.methods.parts.gaussian import Gaussian, exp_deviation
from objbench.methods.parts.halvings import halvings, places
from objbench.methods.parts.mixture import per_channel
from objbench.methods.parts.perceptron import perceptron
from objbench.methods.parts.position import coordinate_grid
from objbench.methods.parts.resolution import Resolution, Side
from objbench.methods.parts.stick_breaking import stick_breaking
from objbench.methods.parts.unet import UNet, demand_pixels, instance_norm
from objbench.spec.settings import Count, Counts, Group, Positive, PositiveOrZero

OPTIMIZERS = {"adam": Adam, "rmsprop": RMSprop}


class Model(Group):
    """The attention network and the VAE."""

    resolution: Side
    attention_channels: Counts = Field(description="of the U-Net, one per scale, the finest first")
    latent: Count = Field(description="dimensions of a slot")
    encoder_mask: Literal["log", "linear"] = Field(description="what the VAE's encoder sees of a mask")
    encoder_channels: Counts = Field(description="of the VAE's encoder, one per 3x3 convolution of stride 2")
    encoder_hidden: Count = Field(description="hidden units of the VAE's encoder after its convolutions")
    decoder_channels: Counts = Field(
        description="of the VAE's broadcast decoder, one per 3x3 convolution before the last"
    )


class Loss(Group):
    """The likelihood, and the weights of the two divergences."""

    background_sigma: Positive = Field(description="standard deviation of a pixel in the first slot")
    sigma: Positive = Field(description="standard deviation of a pixel in all other slots")
    beta: PositiveOrZero = Field(description="weight of the KL divergence of the latents")
    gamma: PositiveOrZero = Field(description="weight of the KL divergence of the masks")


class Optimization(Group):
    """The optimizer of all parameters."""

    name: Literal["adam", "rmsprop"] = Field(description="kind of the optimizer")
    learning_rate: PositiveOrZero = Field(description="learning rate, the same throughout the training")


class SlotVAE(nn.Module):
    """q(z|x,m_k), p(x|z_k) and p(m_k|z_k), shared by all slots: strided convolutions, broadcast decoder."""

    def __init__(self, size: tuple[int, int], model: Model) -> None:
        super().__init__()
        self.encoder_mask = model.encoder_mask
        flat = model.encoder_channels[-1] * places(size, len(model.encoder_channels))
        self.encoder = nn.Sequential(
            *halvings(4, model.encoder_channels, nn.ReLU),
            *perceptron(flat, model.encoder_hidden, 2 * model.latent),
        )
        convolutions = [*(Conv(channels, 3, padding=0) for channels in model.decoder_channels), Conv(4, 1)]
        self.decoder = SpatialBroadcastDecoder(model.latent, size, convolutions, planes=coordinate_grid)

    def encode(self, images: Tensor, log_masks: Tensor) -> Gaussian:
        """The posterior (B,K,Z) of images (B,3,H,W), each seen beside one of its masks (B,K,1,H,W)."""
        slots = log_masks.shape[1]
        masks = log_masks.exp() if self.encoder_mask == "linear" else log_masks
        seen = torch.cat([images[:, None].expand(-1, slots, -1, -1, -1), masks], dim=2)
        raw: Tensor = self.encoder(seen.flatten(0, 1))
        return Gaussian.of(raw.view(-1, slots, raw.shape[1]), exp_deviation)

    def decode(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Components (B,K,3,H,W) in [0,1] and mask logits (B,K,1,H,W) of latents (B,K,Z)."""
        maps: Tensor = self.decoder(latents.flatten(0, 1))
        maps = maps.float().view(*latents.shape[:2], *maps.shape[1:])
        return maps[:, :, :3].sigmoid(), maps[:, :, 3:]


class Decomposition(NamedTuple):
    """The output of the networks for a batch of images."""

    log_masks: Tensor  # (B,K,1,H,W), of the attention network
    posterior: Gaussian  # (B,K,Z)
    components: Tensor  # (B,K,3,H,W)
    mask_logits: Tensor  # (B,K,1,H,W), of the decoder


class MONet(Method):
    """Multi-Object Network: K - 1 sequential passes of attention, then all slots in parallel."""

    class Settings(Method.Settings):
        """The keys of its block in benchmarks.yaml."""

        model: Model
        loss: Loss
        optimizer: Optimization

    settings: Settings
    any_slots = True

    def __init__(self, image_shape: tuple[int, int, int], slots: int, settings: Settings) -> None:
        super().__init__(image_shape, slots, settings)
        model, loss = settings.model, settings.loss
        self.resolution = Resolution(image_shape, model.resolution)
        size = self.resolution.size
        demand_pixels("model.attention_channels", model.attention_channels, size, instance_norm)
        self.attention = UNet(size, 4, 1, model.attention_channels, instance_norm)
        self.vae = SlotVAE(size, model)
        self.sigma: Tensor  # (K,); the first slot's is smaller, which makes it the background's
        sigma = torch.tensor([loss.background_sigma] + (slots - 1) * [loss.sigma])
        self.register_buffer("sigma", sigma, persistent=False)

    def optimizers(self, stage: Stage) -> list[tuple[Optimizer, LearningRate]]:
        """RMSprop or Adam, at a constant rate."""
        optimizer = self.settings.optimizer
        rate = optimizer.learning_rate
        return [(OPTIMIZERS[optimizer.name](self.parameters(), lr=rate), lambda progress: rate)]

    def training_loss(self, images: Tensor, progress: Progress) -> Losses:
        """Negative log-likelihood, KL of the latents and KL of the masks: per image, then their mean."""
        images = self.resolution.downsample(images)
        found = self._decompose(images, self.normal(images, self.slots, self.settings.model.latent))
        error = -per_channel(images, found.components, found.log_masks, self.sigma, normalised=True)  # (B,)
        latent_kl = found.posterior.kl_to_standard().sum(1)
        mask_kl = mask_divergence(found.log_masks, found.mask_logits)
        weights = self.settings.loss
        total = error + weights.beta * latent_kl + weights.gamma * mask_kl
        parts = {"reconstruction": error.mean(), "latent_kl": latent_kl.mean(), "mask_kl": mask_kl.mean()}
        return Losses(total.mean(), parts)

    def segment(self, images: Tensor, progress: Progress | None = None) -> Segmentation:
        """The masks of the attention network, and the decoded mean of each latent."""
        found = self._decompose(self.resolution.downsample(images), None)
        return self.resolution.segmentation(found.log_masks, found.components, slots=found.posterior.mean)

    def capture_key(self, progress: Progress) -> tuple[()]:
        """Every step does the same work."""
        return ()

    def _decompose(self, images: Tensor, noise: Tensor | None) -> Decomposition:
        """`noise` standard normal (B,K,Z), None to decode the means."""
        everything = torch.zeros_like(images[:, :1])  # log-scope
        log_masks = stick_breaking(
            lambda log_scope: self.attention(torch.cat([images, log_scope], dim=1)), everything, self.slots
        )
        posterior = self.vae.encode(images, log_masks)
        latents = posterior.mean if noise is None else posterior.sample(noise)
        return Decomposition(log_masks, posterior, *self.vae.decode(latents))


def mask_divergence(log_masks: Tensor, logits: Tensor) -> Tensor:
    """KL divergence (B,) of log-masks (B,K,1,H,W) from the softmax of `logits` over K, a sum over pixels."""
    difference = log_masks.float() - torch.log_softmax(logits.float(), dim=1)
    return (log_masks.float().exp() * difference).flatten(1).sum(1)
