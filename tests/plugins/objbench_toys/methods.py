"""Small methods that prove the contract; a plugin as anybody would write it."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import nn

from objbench.methods.base import Losses, Method, Segmentation, Stage
from objbench.spec.settings import Count, Group, Positive, Recipe
from objbench.train.plain import PlainStepper


class Model(Group):
    width: Count = Field(description="of the hidden layer")


class ToyRecipe(Recipe):
    lr: Positive = Field(description="learning rate")


class Toy(Method):
    """A per-pixel network that gives each plane a colour and a mask logit from colour and position."""

    class Settings(Method.Settings):
        recipe: ToyRecipe
        model: Model

    planes: int | None = None

    def __init__(self, image_shape, slots, settings):
        super().__init__(image_shape, slots, settings)
        width, planes = settings.model.width, self.planes or slots
        self.trunk = nn.Sequential(nn.Conv2d(5, width, 1), nn.Tanh())
        self.head = nn.Conv2d(width, planes, 1)
        self.colors = nn.Parameter(torch.rand(planes, 3))
        y, x = torch.meshgrid(*(torch.linspace(-1, 1, side) for side in image_shape[1:]), indexing="ij")
        self.register_buffer("position", torch.stack([y, x]))

    def optimizers(self, stage):
        lr = self.settings.recipe.lr
        return [(torch.optim.Adam(self.parameters(), lr), lambda progress: lr * (1 - progress.fraction))]

    def mixture(self, images):
        position = self.position.expand(len(images), -1, -1, -1)
        masks = self.head(self.trunk(torch.cat([images, position], 1))).softmax(1)  # B,M,H,W
        return masks, torch.einsum("bmhw,mc->bchw", masks, self.colors)

    def training_loss(self, images, progress):
        error = (self.mixture(images)[1] - images).square().mean()
        return Losses(error, {"reconstruction": error})

    def capture_key(self, progress):
        return ()

    def segment(self, images, progress=None):
        masks, reconstruction = self.mixture(images)
        return Segmentation(masks=masks, reconstruction=reconstruction)


class ToyRefiner(Toy):
    """Takes gradients inside segment, as IODINE and EfficientMORL do: colours are refined for each image."""

    def segment(self, images, progress=None):
        masks, _ = self.mixture(images)
        colors = self.colors.detach().expand(len(images), -1, -1).clone().requires_grad_()  # B,M,3
        with torch.enable_grad():
            painted = torch.einsum("bmhw,bmc->bchw", masks.detach(), colors)
            (gradient,) = torch.autograd.grad((painted - images).square().sum(), colors)
        refined = colors.detach() - 1e-3 * gradient
        components = refined[..., None, None].expand(-1, -1, -1, *images.shape[2:])
        return Segmentation(masks=masks, components=components, slots=refined)


class ToyTwoStages(Toy):
    """First the colours, then all else, with two optimizers; the least used colour is planted anew."""

    def stages(self):
        half, size = self.recipe.steps // 2, self.recipe.batch_size
        return [Stage("colors", half, None, size), Stage("all", None, 1, size, clip_norm=1.0)]

    def setup(self, images, stage):
        for parameter in [*self.trunk.parameters(), *self.head.parameters()]:
            parameter.requires_grad_(stage.name == "all")
        if stage.name == "colors":
            self.colors.copy_(images.mean((2, 3))[torch.randint(len(images), (len(self.colors),))])

    def optimizers(self, stage):
        lr = self.settings.recipe.lr
        colors = torch.optim.SGD([self.colors], lr, momentum=0.9)
        rest = torch.optim.Adam([*self.trunk.parameters(), *self.head.parameters()], lr)
        both = [(colors, lambda progress: lr), (rest, lambda progress: lr / (1 + progress.epoch))]
        return both if stage.name == "all" else both[:1]

    def capture_key(self, progress):
        return None  # SGD cannot be captured

    def after_step(self, progress, losses, optimizers):
        if progress.step % 3 == 2:
            momentum = optimizers[0].state[self.colors]["momentum_buffer"]
            worst = int(momentum.abs().sum(1).argmin())
            with torch.no_grad():
                self.colors[worst] = torch.rand(3)
                momentum[worst] = 0


class ToyGeco(Toy):
    """A constraint's multiplier in a buffer, moved after each step, and noise in training and at test."""

    def __init__(self, image_shape, slots, settings):
        super().__init__(image_shape, slots, settings)
        self.register_buffer("multiplier", torch.ones(()))
        self.steps_seen = 0

    def training_loss(self, images, progress):
        masks, painted = self.mixture(images + 0.1 * self.normal(images, *images.shape[1:]))
        error = (painted - images).square().mean()
        entropy = -(masks * (masks + 1e-8).log()).sum(1).mean()
        return Losses(self.multiplier * error + 0.01 * entropy, {"error": error, "entropy": entropy})

    def after_step(self, progress, losses, optimizers):
        self.steps_seen += 1
        self.multiplier.mul_(1.1 if losses.parts["error"] > 0.05 else 0.9)

    def get_extra_state(self):
        return {"steps_seen": self.steps_seen}

    def set_extra_state(self, state):
        self.steps_seen = state["steps_seen"]

    def segment(self, images, progress=None):
        masks, reconstruction = self.mixture(images + 0.1 * self.normal(images, *images.shape[1:]))
        return Segmentation(masks=masks, reconstruction=reconstruction)


class ToyManyPlanes(Toy):
    """Far more planes than the dataset has slots, not a partition: 1 - sum stands in front as background."""

    planes = 64

    def segment(self, images, progress=None):
        masks, _ = self.mixture(images)
        objects = masks[:, 1:] * 1.5
        return Segmentation(masks=torch.cat([1 - objects.sum(1, keepdim=True), objects], 1), partition=False)


class ToyStepper(Toy):
    """Brings a training step of its own, which must give what the plain one gives."""

    def stepper(self, scenes, stage):
        return CountingStepper(self, scenes, stage)


class CountingStepper(PlainStepper):
    """The plain step, counted."""

    advanced = 0

    def advance(self, steps):
        CountingStepper.advanced += steps
        super().advance(steps)
