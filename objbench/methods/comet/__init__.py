"""COMET (Du, Li, Sharma, Tenenbaum and Mordatch, NeurIPS 2021): an image is what the energies of its components add up to.

An encoder gives a latent for each component. One network, shared by all, says the energy of an image with a latent. From
uniform noise an image goes down the gradient of the sum of all energies, in a few steps; it learns to arrive at the image
that was encoded. Networks, steps and loss are those of the published code, in which
- only the last step is differentiated: the image before it counts as a constant;
- normalisations, an embedding of positions, a decoder of masks and further layers are built but never used. They are left
  out here;
- a contrastive loss is logged, but not minimised. It is left out here.

The published code has no rule for masks, and how its paper scored some is not known here; this rule is ours. Each component
is painted by its energy alone, from the same noise and by as many steps as the whole image, and **a pixel belongs to the
component whose image is nearest to the given one there** (squared distance over the three channels; of equal ones the
first). Masks are a softmax of these distances, so that their arg-max is that component. Components are these images, slots
are the latents. Scored as "gradients" too: a pixel belongs to the energy that pulls most at the given image (sum of absolute
values over the channels); the published code draws such maps.

Choices and deviations; values are in benchmarks.yaml:
- The energy has no constant and the scores of the encoder's places have none: neither changes anything. That is two
  parameters fewer than in the published code.
- Weights "N(0, 1e-5)" of the blocks' second convolutions are taken to have a deviation of 1e-5; all other first values
  are torch's.
- What of an energy sees no latent is computed once for all components of an image: the same numbers with less work.
- There are as many components as the dataset has slots. The published settings have three on Tetrominoes and five on
  CLEVR (`--set slots=3`).
- Noise depends on the image alone at test time.
- It works on images of `model.resolution` (64 as published for CLEVR), means of rectangles. A pixel of the image has the
  mask of the one that its centre lies in.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.optim import Optimizer

from objbench.labels import hard_labels
from objbench.methods.base import LearningRate, Losses, Method, Progress, Segmentation, Stage
from objbench.methods.comet.encoder import RecurrentEncoder
from objbench.methods.comet.energy import Energy
from objbench.methods.parts.one_adam import one_adam
from objbench.methods.parts.resolution import Resolution, Side
from objbench.methods.parts.schedule import ConstantRate
from objbench.spec.settings import Count, Group, Positive

DEVIATION = 0.1  # how soft masks are, in image units; it changes no arg-max


class Model(Group):
    """The encoder and the energy."""

    resolution: Side
    channels: Annotated[int, Field(ge=2)] = Field(
        description="of all maps, and width of the encoder's LSTM; the energy's last block has twice as many"
    )
    encoder_blocks: Count = Field(description="residual blocks of the encoder, each of which halves the map")
    energy_blocks: Count = Field(
        description="conditional residual blocks of the energy, each of which halves the map"
    )
    latent: Count = Field(description="dimensions of the latent of a component")


class Descent(Group):
    """From noise to an image, down the gradient of the energies."""

    steps: Count = Field(description="steps; the last one is learned from")
    step_size: Positive = Field(description="factor of the gradient in a step")


class COMET(Method):
    """Components as energies, whose sum an image minimises."""

    class Settings(Method.Settings):
        """The keys of its block in benchmarks.yaml."""

        model: Model
        descent: Descent
        optimizer: ConstantRate

    settings: Settings
    any_slots = True

    def __init__(self, image_shape: tuple[int, int, int], slots: int, settings: Settings) -> None:
        super().__init__(image_shape, slots, settings)
        model = settings.model
        self.resolution = Resolution(image_shape, model.resolution)
        self.encoder = RecurrentEncoder(model.channels, model.encoder_blocks, model.latent)
        self.energy = Energy(self.resolution.size, model.channels, model.energy_blocks, model.latent)

    def optimizers(self, stage: Stage) -> list[tuple[Optimizer, LearningRate]]:
        """One Adam at a constant rate."""
        return one_adam(self.parameters(), self.settings.optimizer)

    def capture_key(self, progress: Progress) -> tuple[()]:
        """Every step does the same work; both backward passes are part of it."""
        return ()

    def training_loss(self, images: Tensor, progress: Progress) -> Losses:
        """Mean squared error of the image that the last step arrives at."""
        images = self.resolution.downsample(images)
        latents = self.encoder(images, self.slots)
        painted = self._descend(self._noise(images), latents, learn=True)
        return Losses((painted - images).square().mean())

    def segment(self, images: Tensor, progress: Progress | None = None) -> Segmentation:
        """Each pixel to the component that paints it best by its energy alone."""
        images = self.resolution.downsample(images)
        latents = self.encoder(images, self.slots).detach()
        noise, apart = self._noise(images), latents.flatten(0, 1)[:, None]
        together = self._descend(noise, latents)[:, None]
        components = self._by_slot(self._descend(self._per_slot(noise), apart))
        pull = self._by_slot(self.energy.gradient(self._per_slot(images), apart))
        masks = nearness(images, components)
        return Segmentation(
            masks=self._by_slot(self.resolution.repeat(masks.flatten(0, 1))),
            reconstruction=self.resolution.upsample(together).squeeze(1),
            components=self.resolution.upsample(components),
            slots=latents,
            alternatives={"gradients": self.resolution.repeat(strongest(pull))},
        )

    def _descend(self, images: Tensor, latents: Tensor, *, learn: bool = False) -> Tensor:
        descent = self.settings.descent
        return self.energy.descend(images, latents, descent.steps, descent.step_size, learn=learn)

    def _noise(self, images: Tensor) -> Tensor:
        """Uniform numbers in [0,1] of the shape of the images, from normal ones."""
        noise: Tensor = torch.special.ndtr(self.normal(images, *images.shape[1:]))
        return noise

    def _per_slot(self, images: Tensor) -> Tensor:
        """Images (B,3,H,W), each K times, (B*K,3,H,W)."""
        return images.repeat_interleave(self.slots, 0)

    def _by_slot(self, planes: Tensor) -> Tensor:
        """(B*K,...) -> (B,K,...)."""
        return planes.view(-1, self.slots, *planes.shape[1:])


def nearness(images: Tensor, components: Tensor) -> Tensor:
    """Masks (B,K,H,W), the largest that of the component (B,K,3,H,W) nearest to the image (B,3,H,W), pixel by pixel.

    They are the probabilities that a pixel comes from each component, if all are equally likely and add normal noise of
    the same deviation.

    Example:
        >>> black, grey = torch.zeros(1, 3, 1, 2), torch.full((1, 3, 1, 2), 0.5)
        >>> image = torch.tensor([0.1, 0.4]).expand(1, 3, 1, 2)
        >>> nearness(image, torch.stack([black, grey], dim=1)).round().tolist()
        [[[[1.0, 0.0]], [[0.0, 1.0]]]]
    """
    distances = (components - images[:, None]).square().sum(2)
    return (-distances / (2 * DEVIATION**2)).softmax(1)


def strongest(gradients: Tensor) -> Tensor:
    """Labels (B,H,W): which of the gradients (B,K,3,H,W) has the largest sum of absolute values; of equal ones the first."""
    return hard_labels(gradients.abs().sum(2))
