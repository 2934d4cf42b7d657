"""Methods in plain files, as somebody writes them."""

from __future__ import annotations

from pathlib import Path

TEXT = '''
import torch
from pydantic import Field

from objbench.methods.base import Losses, Method, Segmentation
from objbench.spec.settings import Positive, Recipe


class Mine(Method):
    """Learns one colour for all."""

    class Settings(Method.Settings):
        learning_rate: Positive = Field(0.05, description="of Adam")
        recipe: Recipe = Field({"steps": 4, "batch_size": 2, "checkpoint_steps": 2, "evaluations": 1})

    def __init__(self, image_shape, slots, settings):
        super().__init__(image_shape, slots, settings)
        self.color = torch.nn.Parameter(torch.rand(3))

    def optimizers(self, stage):
        rate = self.settings.learning_rate
        return [(torch.optim.Adam(self.parameters(), rate), lambda progress: rate)]

    def training_loss(self, images, progress):
        return Losses((self.color[:, None, None] - images).square().mean())

    def segment(self, images, progress=None):
        return Segmentation(labels=(images.mean(1) * self.slots).long().clamp(max=self.slots - 1))
'''
TYPO = TEXT.replace("labels=(images", "labels=(self.imagez")  # in the last line
TYPO_LINE = TYPO.count("\n")


def write(folder: Path, name: str = "mine.py", text: str = TEXT) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path
