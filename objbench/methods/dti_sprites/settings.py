"""The hyper-parameters of DTI-Sprites; their values are in benchmarks.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from objbench.methods.dti_sprites.resnets import ResNetName
from objbench.methods.parts.resolution import Side
from objbench.spec.explain import refusal
from objbench.spec.settings import Count, CountOrZero, Group, Positive, PositiveOrZero

SpriteTransforms = list[Literal["color", "similarity", "affine", "projective"]]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Model(Group):
    """The encoder, the sprites and how they are transformed."""

    resolution: Side
    encoder: ResNetName = Field(description="residual network that sees the image")
    pool: Count = Field(description="side to which the maps of the encoder are pooled")
    hidden: Count = Field(description="width of the two hidden layers of each predicting network")
    sprites: Count = Field(description="K, the empty one not counted")
    sprite_size: Count = Field(description="side of a sprite, in its own pixels")
    sprite_color: Fraction = Field(description="of all sprites at the start, in each channel")
    mask_deviation: Positive = Field(
        description="of the Gaussian that is the mask at the start, in pixels of a sprite"
    )
    early: SpriteTransforms = Field(description="transformations of sprites throughout the training")
    late: SpriteTransforms = Field(
        description="transformations of sprites after those, from curriculum.late_epoch on"
    )
    background: Literal["black", "grey", "mean"] = Field(
        description="black: none is learned; grey: learned, from 0.5; mean: learned, from the mean of images"
    )
    background_transforms: SpriteTransforms = Field(description="transformations of the background")
    occlusion: Literal["predicted", "later_on_top"] = Field(description="which layer hides which")

    @model_validator(mode="after")
    def _fits(self) -> Model:
        if self.background == "black" and self.background_transforms:
            raise refusal(
                "model.background_transforms", "[] for a black background", self.background_transforms
            )
        return self


class Search(Group):
    """The greedy search for sprites."""

    rounds: Count = Field(description="how often the search goes through the layers")
    empty_cost: PositiveOrZero | None = Field(
        description="mean squared error that a layer must save to have a sprite; null: no layer is empty"
    )
    noise: PositiveOrZero = Field(
        description="largest noise on masks in training, against half-transparent ones"
    )


class Curriculum(Group):
    """What changes during the training, in epochs of `recipe.nominal_epochs`."""

    frozen_epochs: CountOrZero = Field(
        description="epochs in which sprites do not learn and no layer is empty"
    )
    late_epoch: CountOrZero = Field(description="epoch from which on model.late is applied")


class Reassignment(Group):
    """The renewal of sprites that are hardly used."""

    interval: Count = Field(description="steps between two renewals")
    threshold: Fraction = Field(description="share, times K, below which a sprite is renewed")
    noise: PositiveOrZero = Field(description="standard deviation on the colours of renewed sprites")


class Optimization(Group):
    """Two Adams: of sprites and background, and of the networks."""

    learning_rate: Positive = Field(description="of both; that of sprites and background never falls")
    encoder_scale: Positive | None = Field(
        description="times the learning rate, for the encoder; 1: as in the paper; null: as often as the published code steps it"
    )
    weight_decay: PositiveOrZero = Field(description="of the networks, added to the gradient")
    warmup_steps: CountOrZero = Field(description="steps in which the rates rise from 0; 0: no warm-up")
    milestones: list[Count] = Field(description="nominal epochs at which the networks' rate falls")
    factor: Positive = Field(description="of the networks' rate at a milestone")
