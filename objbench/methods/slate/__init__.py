"""SLATE (Singh, Deng and Ahn, Illiterate DALL-E Learns to Compose, ICLR 2022): slots from which a transformer tells tokens.

A discrete VAE learns to write small squares of an image as tokens. Slots compete for the tokens, and a transformer says
one token after another from the slots and the tokens before it. The two halves share no gradient: the dVAE learns from
its own squared error, all else from the cross-entropy of the tokens, which are a hard sample of the dVAE's.

Masks are the attention of the last round, the same for all pixels of a token. `reconstruction` is None: the picture
that the dVAE paints of its own tokens has not gone through the slots, so that its error would be no error of SLATE, only
a bound that it cannot pass; and telling an image token by token from the slots takes as many passes as it has tokens.

Sizes, initial values and training are those of the published code as far as the reference description has them.
Choices and deviations; values are in benchmarks.yaml:
- Images whose sides are no multiple of a token lie on a black canvas (Tetrominoes: 36x36, 9x9 tokens of 4x4 pixels) at the
  top left, and masks are cropped. The error is that of the image's own pixels.
- Masks are enlarged by repeating each token's attention, so that their arg-max is that of the tokens; borders have steps
  of a token's side.
- `segment` takes the most probable token of each place instead of a sample. Only the slots' first values are random.
- The learning rates are halved when the loss on validation images has not become smaller in four evaluations, as in the
  original in four epochs; smaller means by one part in 10,000, there by anything. That loss has the most probable tokens
  instead of sampled ones.
- Temperature and warm-up are counted in steps of a training of `curriculum.nominal_steps`, so that a shortened one goes
  through them too.
- Two Adams instead of one with two groups, which is the same; the gradients are clipped by one norm as there.
- Where the description is silent: dropout of the transformer is that of the original transformer (attention weights and
  what each part adds), plain convolutions begin with Glorot's values, and Tetrominoes and multi-dSprites have the sizes
  published for 3D Shapes.
- With `model.resolution` it works on smaller images, means of rectangles.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Adam, Optimizer

from objbench.methods.base import LearningRate, Losses, Method, Progress, Segmentation, Stage
from objbench.methods.parts.attention import SlotAttentionCore
from objbench.methods.parts.canvas import Canvas, CanvasSide
from objbench.methods.parts.curriculum import Clock, CosineRamp
from objbench.methods.parts.plateau import Plateau, PlateauDecay, PlateauRule
from objbench.methods.parts.precision import widened
from objbench.methods.parts.resolution import Resolution, Side
from objbench.methods.slate.decoder import TokenDecoder, TokenEmbedding, before_relu, glorot
from objbench.methods.slate.dvae import DiscreteVAE, one_hot
from objbench.methods.slate.gumbel_softmax import gumbel, relaxed_one_hot, sampled
from objbench.spec.explain import refusal
from objbench.spec.settings import Count, CountOrZero, Counts, Group, Positive, PositiveOrZero, Recipe

NORM_EPS = 1e-5


class ClippedByLargest(Recipe):
    """The recipe, with another norm."""

    clip_norm: Positive | None = Field(
        description="largest absolute value of a gradient of all parameters; if one is larger, all are scaled down; "
        "null: no clipping"
    )


class Model(Group):
    """The dVAE, the slots, and the transformer."""

    resolution: Side
    canvas: CanvasSide
    vocabulary: Annotated[int, Field(ge=2)] = Field(description="number of tokens that the dVAE has")
    dvae_channels: Count = Field(description="channels of the dVAE's convolutions")
    upscales: Counts = Field(
        description="by how much each pixel shuffle of the dVAE's decoder enlarges; a token stands for a square whose side "
        "is their product"
    )
    width: Count = Field(description="dimensions of embedded tokens")
    slot_width: Count = Field(description="dimensions of a slot")
    mlp_width: Count = Field(description="hidden units of the MLP after each round of attention")
    iterations: Count = Field(description="rounds of attention")
    blocks: Count = Field(description="blocks of the transformer")
    heads: Count = Field(description="heads of the transformer's attention, a divisor of model.width")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="dropout of embedded tokens and in the transformer"
    )


class Curriculum(Group):
    """What changes with the step, counted as if the training had `nominal_steps`."""

    nominal_steps: Count = Field(
        description="steps that the curriculum was made for; a shorter training goes through it faster"
    )
    warmup_steps: CountOrZero = Field(
        description="nominal steps in which the learning rate of slots and transformer rises from 0; 0: no warm-up"
    )
    temperature: CosineRamp


class Optimization(PlateauRule):
    """Adam, with one learning rate for the dVAE and one for all else."""

    dvae_learning_rate: PositiveOrZero = Field(description="of the dVAE, at first")
    learning_rate: PositiveOrZero = Field(
        description="of slots and transformer, after the warm-up and at first"
    )


class SLATE(Method):
    """Slots compete for discrete tokens of the image, and a transformer tells the tokens from the slots."""

    class Settings(Method.Settings):
        """The keys of its block in benchmarks.yaml."""

        recipe: ClippedByLargest
        model: Model
        curriculum: Curriculum
        optimizer: Optimization

    settings: Settings
    any_slots = True

    def __init__(self, image_shape: tuple[int, int, int], slots: int, settings: Settings) -> None:
        super().__init__(image_shape, slots, settings)
        model, optimizer = settings.model, settings.optimizer
        self.resolution = Resolution(image_shape, model.resolution)
        self.canvas = Canvas(self.resolution.size, model.canvas)
        self.side = math.prod(model.upscales)
        self.size = _grid(self.canvas.size, self.side, model)
        if model.width % model.heads:
            raise refusal("model.heads", f"a divisor of model.width={model.width}", model.heads)
        self.dvae = DiscreteVAE(model.vocabulary, model.dvae_channels, model.upscales)
        width, places = model.width, math.prod(self.size)
        self.embedding = TokenEmbedding(model.vocabulary, places, width, model.dropout)
        self.features = nn.Sequential(
            nn.LayerNorm(width), before_relu(width, width), nn.ReLU(), glorot(width, width)
        )
        self.attention = SlotAttentionCore(
            width, model.slot_width, model.mlp_width, model.iterations, bias=False, norm_eps=NORM_EPS
        )
        self.slot_mean = nn.Parameter(torch.empty(1, 1, model.slot_width))
        self.slot_log_std = nn.Parameter(torch.empty(1, 1, model.slot_width))
        self.decoder = TokenDecoder(
            width, model.slot_width, model.vocabulary, model.blocks, model.heads, model.dropout
        )
        self.clock = Clock(settings.curriculum.nominal_steps)
        self.plateau = Plateau(
            PlateauDecay(learning_rate=1.0, factor=optimizer.factor, patience=optimizer.patience, lowest=0.0)
        )
        self._initialise()

    def _initialise(self) -> None:
        """First values of slots and their attention; other parts begin by themselves."""
        attention = self.attention
        hidden, out = (module for module in attention.mlp if isinstance(module, nn.Linear))
        for linear in (attention.query, attention.key, attention.value, out):
            nn.init.xavier_uniform_(linear.weight)
        nn.init.kaiming_uniform_(hidden.weight, nonlinearity="relu")
        nn.init.zeros_(hidden.bias)
        nn.init.zeros_(out.bias)
        attention.start_gru()
        nn.init.xavier_uniform_(self.slot_mean)
        nn.init.xavier_uniform_(self.slot_log_std)

    def stages(self) -> list[Stage]:
        """One stage, whose gradients are clipped by the largest of them."""
        return [replace(stage, clip_order=math.inf) for stage in super().stages()]

    def setup(self, images: Tensor, stage: Stage) -> None:
        """Begin the curriculum."""
        self.clock.restart()

    def optimizers(self, stage: Stage) -> list[tuple[Optimizer, LearningRate]]:
        """Adam for the dVAE, and Adam with a warm-up for all else; both rates fall at a plateau."""
        optimizer, dvae = self.settings.optimizer, list(self.dvae.parameters())
        of_dvae = {id(parameter) for parameter in dvae}
        others = [parameter for parameter in self.parameters() if id(parameter) not in of_dvae]

        def dvae_rate(progress: Progress) -> float:
            return optimizer.dvae_learning_rate * self.plateau.learning_rate(progress)

        def rate(progress: Progress) -> float:
            return optimizer.learning_rate * self._warmth(progress) * self.plateau.learning_rate(progress)

        return [
            (Adam(dvae, optimizer.dvae_learning_rate, fused=True), dvae_rate),
            (Adam(others, optimizer.learning_rate, fused=True), rate),
        ]

    def _warmth(self, progress: Progress) -> float:
        curriculum = self.settings.curriculum
        if not curriculum.warmup_steps:
            return 1.0
        return min(1.0, progress.fraction * curriculum.nominal_steps / curriculum.warmup_steps)

    def capture_key(self, progress: Progress) -> tuple[()]:
        """Every step does the same work; the temperature is a tensor."""
        return ()

    def training_loss(self, images: Tensor, progress: Progress) -> Losses:
        """The dVAE's squared error with a relaxed sample, and the cross-entropy of the tokens of another, hard one."""
        inputs, targets = self._input(images)
        log_probabilities = self.dvae.encode(inputs)
        temperature = self.settings.curriculum.temperature.at(self.clock.step)
        relaxed = relaxed_one_hot(log_probabilities, self._gumbel(log_probabilities), temperature)
        tokens = sampled(log_probabilities.detach(), self._gumbel(log_probabilities)).flatten(1)
        embedded = self.embedding(tokens)
        slots, _ = self.encode(embedded)
        parts = {
            "dvae_error": self._squared_error(relaxed, targets).mean(),
            "cross_entropy": self._cross_entropy(embedded, slots, tokens).mean(),
        }
        return Losses(
            parts["dvae_error"] + parts["cross_entropy"], parts | {"temperature": temperature.clone()}
        )

    def after_step(self, progress: Progress, losses: Losses, optimizers: list[Optimizer]) -> None:
        """Go on in the curriculum."""
        self.clock.advance(progress)

    def after_evaluation(self, progress: Progress, metrics: Mapping[str, float]) -> None:
        """Lower both learning rates if the loss does not become smaller any more."""
        if "loss" in metrics:
            self.plateau.observe(metrics["loss"])

    def segment(self, images: Tensor, progress: Progress | None = None) -> Segmentation:
        """The attention to the most probable tokens; during the training the loss of these tokens, too."""
        inputs, targets = self._input(images)
        tokens = self.dvae.encode(inputs).argmax(1)  # (B,h,w)
        embedded = self.embedding(tokens.flatten(1))
        slots, attention = self.encode(embedded)
        maps = torch.unflatten(attention.mT, 2, self.size)  # (B,K,h,w)
        masks = maps.repeat_interleave(self.side, dim=-2).repeat_interleave(self.side, dim=-1)
        extras = {}
        if progress is not None:
            error = self._squared_error(one_hot(tokens, self.settings.model.vocabulary), targets)
            extras["loss"] = error + self._cross_entropy(embedded, slots, tokens.flatten(1))
        return Segmentation(
            masks=self.resolution.upsample(self.canvas.crop(masks)[:, :, None]).squeeze(2),
            slots=slots,
            attention=maps,
            extras=extras,
        )

    def encode(self, embedded: Tensor) -> tuple[Tensor, Tensor]:
        """Slots (B,K,S) and their attention (B,N,K) to the N tokens, embedded (B,N+1,D) with the first one before them."""
        noise = self.normal(embedded, self.slots, self.slot_mean.shape[2])
        slots: Tensor
        slots, attention = self.attention(
            self.features(embedded[:, 1:]), self.slot_mean + self.slot_log_std.exp() * noise
        )
        return slots, attention

    def _input(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images at the size that the dVAE sees, and what it is to paint."""
        targets = self.resolution.downsample(images)
        return self.canvas.put(targets), targets

    def _gumbel(self, like: Tensor) -> Tensor:
        return self.drawn(len(like), lambda count: gumbel((count, *like.shape[1:]), like))

    def _squared_error(self, one_hot: Tensor, targets: Tensor) -> Tensor:
        """Of the picture of (relaxed) one-hot tokens, summed over pixels and channels: (B,)."""
        picture = self.canvas.crop(self.dvae.decode(one_hot))
        return (picture - targets).square().flatten(1).sum(1)

    def _cross_entropy(self, embedded: Tensor, slots: Tensor, tokens: Tensor) -> Tensor:
        """Of all tokens (B,N), each from those before it and the slots, summed: (B,)."""
        logits = self.decoder(embedded[:, :-1], slots)
        return cross_entropy(widened(logits).mT, tokens, reduction="none").sum(1)


def _grid(size: tuple[int, int], side: int, model: Model) -> tuple[int, int]:
    """Rows and columns of tokens on a canvas. Raises RequestError unless whole ones fit."""
    if any(length % side for length in size):
        shape = "x".join(map(str, size))
        expected = f"factors whose product divides the sides of the {shape} that it works on (or another model.canvas)"
        raise refusal("model.upscales", expected, model.upscales)
    return size[0] // side, size[1] // side
