"""What every check uses: the method for a dataset, random images, and demands that name the broken promise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from objbench.data.read.scenes import Scenes
from objbench.error_line import line_of
from objbench.errors import ObjbenchError, RequestError, brief, is_out_of_memory
from objbench.methods.base import Method, Progress, Segmentation
from objbench.methods.create import build
from objbench.methods.plain_block import with_files
from objbench.one_line import no_exit
from objbench.random import seed_from
from objbench.spec.resolve import resolve
from objbench.train.evaluate import Evaluation, evaluate, segment
from objbench.train.loop import Training

BATCH, STEPS = 2, 4
TOLERANCE = 1e-4


class ContractError(ObjbenchError):
    """A method breaks a promise of the contract; the message says which and how."""


@contextmanager
def promised(what: str, *but: type[Exception]) -> Iterator[None]:
    """Around work of a method: every error in it is a ContractError that says in what, and in which line of its own.

    A lack of memory is none of its promises, and remains what it is; so do errors of the kinds `but`.
    """
    as_it_is: tuple[type[Exception], ...] = (ContractError, *but)
    try:
        with no_exit():
            yield
    except as_it_is:
        raise
    except ObjbenchError as error:
        raise ContractError(f"{what}: {error}") from error
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise ContractError(
            f"{what}: {type(error).__name__}: {brief(error)} (at {line_of(error)})"
        ) from error


class Kit:
    """A method for a dataset, made small by its recipe, with random images of the dataset's size."""

    def __init__(
        self, name: str, dataset: str, config: Path | None, overrides: dict[str, Any], device: str | None
    ) -> None:
        spec, (name,) = with_files([name], config)
        self.dataset = spec.dataset(dataset)
        self.device = device or ("cuda" if torch.cuda.is_available() else None)
        short = {
            "recipe.steps": STEPS,
            "recipe.batch_size": BATCH,
            "recipe.checkpoint_steps": STEPS // 2,
            "recipe.log_steps": 1,
            "recipe.evaluations": 2,
        }
        self.config = resolve(spec, name, self.dataset, short | overrides)
        method = self.method()
        with promised("stages"):
            self.stages = method.stages()
        count = 3 * max((stage.batch_size for stage in self.stages), default=BATCH)
        self.images, self.masks = _rectangles(count, self.dataset.spec.image_shape, seed=0)
        self.keys = [f"{index:08d}" for index in range(count)]

    def method(self) -> Method:
        torch.manual_seed(seed_from(0, "init"))
        with promised("__init__", RequestError):  # which refuses values of the request
            return build(self.config, self.dataset)

    def segment(self, method: Method, part: slice = slice(None)) -> Segmentation:
        method.eval()
        images = self.images[part].to(device_of(method)).float() / 255
        before = images.clone()
        found = segment(method, images, self.keys[part], seed=0)
        demand(torch.equal(images, before), "segment writes into its input")
        return found

    def train(self, folder: Path, method: Method | None = None) -> Method:
        method = method or self.method()
        Training(method, self.images.to(device_of(method)), 0, folder, validate=self.validate).run()
        return method

    def validate(self, method: Method, progress: Progress | None) -> Mapping[str, float]:
        return self.evaluate(method, len(self.keys), len(self.keys), progress).means

    def evaluate(
        self, method: Method, count: int, batch_size: int, progress: Progress | None = None
    ) -> Evaluation:
        """Score the first `count` images, as a run does."""
        device, part = device_of(method), slice(count)
        images, masks = self.images[part].to(device), self.masks[part].to(device)
        scenes = Scenes(images, masks, self.keys[part], self.dataset, "val", {})
        return evaluate(method, scenes, 0, batch_size, progress=progress, n_samples=count)


def random_scenes(count: int, shape: tuple[int, int, int], seed: int = 0) -> Tensor:
    """uint8 (count,*shape): rectangles of one colour each on a plain background."""
    return _rectangles(count, shape, seed)[0]


def _rectangles(count: int, shape: tuple[int, int, int], seed: int) -> tuple[Tensor, Tensor]:
    """Images uint8 (count,*shape) of three rectangles on a background, and the masks of these, uint8 (count,H,W)."""
    generator = torch.Generator().manual_seed(seed)
    channels, height, width = shape
    images = torch.empty(count, channels, height, width, dtype=torch.uint8)
    masks = torch.zeros(count, height, width, dtype=torch.uint8)
    for image, mask in zip(images, masks, strict=True):
        image[:] = torch.randint(256, (channels, 1, 1), generator=generator)
        for label in (1, 2, 3):
            y, x = (int(torch.randint(side - side // 3, (), generator=generator)) for side in (height, width))
            color = torch.randint(256, (channels, 1, 1), generator=generator).to(torch.uint8)
            image[:, y : y + height // 3, x : x + width // 3] = color
            mask[y : y + height // 3, x : x + width // 3] = label
    return images, masks


def demand(condition: bool, promise: str) -> None:
    """Raise ContractError(promise) unless the condition holds."""
    if not condition:
        raise ContractError(promise)


def demand_equal(whole: Segmentation, parts: list[Segmentation], promise: str) -> None:
    """Demand that the segmentations of parts, one after another, are that of the whole."""
    if whole.masks is not None:
        masks = torch.cat([part.masks for part in parts if part.masks is not None]).to(whole.masks)
        gap = float((masks - whole.masks).abs().max())
        demand(gap < TOLERANCE, f"{promise} (masks differ by {gap:.2g})")
    else:
        labels = torch.cat([part.prediction for part in parts]).to(whole.prediction.device)
        demand(bool((labels == whole.prediction).all()), f"{promise} (labels differ)")


def device_of(method: Method) -> torch.device:
    """The device of a method's first parameter or buffer; the CPU if it has none."""
    return next((t.device for t in [*method.parameters(), *method.buffers()]), torch.device("cpu"))


def same(one: Any, two: Any) -> bool:
    """Whether two entries of a state are equal: tensors in every element, anything else by `==`."""
    return torch.equal(one, two) if isinstance(one, Tensor) and isinstance(two, Tensor) else bool(one == two)
