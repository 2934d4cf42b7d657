"""A finished run: its method with weights, and what is known of it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from objbench.data.download.copies import copy_of
from objbench.device import choose_device
from objbench.errors import whole_number
from objbench.folders import runs_folder
from objbench.methods.base import Method
from objbench.methods.parts.precision import float32_default
from objbench.methods.plain_block import described
from objbench.records import Run, read_run
from objbench.spec.datasets import TEST, DatasetRef
from objbench.spec.load import load_spec
from objbench.spec.schema import MethodSpec
from objbench.stores import Place, Store, place
from objbench.train.evaluate import segment
from objbench.train.reevaluate import dataset_of, load_run
from objbench.use.images import Images, NamedImage, is_single, labels_at, named_images, to_size
from objbench.use.segmented import Segmented, SegmentedImage
from objbench.use.weights import named_run, no_such_run

_ALONE = (
    threading.Lock()
)  # random numbers are those of the process: threads segment one batch after the other


class FinishedRun:
    """A trained method and its record, as `open_run` gives it.

    Attributes:
        folder: Where the run lies.
        record: What it measured, on what, and how.
        method: The method with its weights, on `device`, in eval mode.
        spec: The dataset and protocol that it was trained on.
        block: What is known of the method itself: its title, its citation.
        device: Where it computes.
    """

    def __init__(
        self,
        folder: Path,
        record: Run,
        method: Method,
        spec: DatasetRef,
        block: MethodSpec,
        device: torch.device,
    ) -> None:
        self.folder, self.record, self.spec, self.block, self.device = folder, record, spec, block, device
        self.method = method.to(device).eval()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images that the method was trained on."""
        return self.method.image_shape[1:]

    def __repr__(self) -> str:
        record, (height, width) = self.record, self.size
        scores = record.metrics[TEST].values
        scored = f", ari_fg {scores['ari_fg'].mean:.3f} on test" if "ari_fg" in scores else ""
        return (
            f"FinishedRun({record.method_label} seed {record.seed}, trained on {self.spec}/{record.source}, "
            f"{height}x{width}, {self.method.slots} slots, {record.parameters:,} parameters{scored}, {self.device})"
        )

    def segment(self, images: Images, batch_size: int | None = None) -> Segmented | SegmentedImage:
        """Segment images of any size.

        Each image is scaled as a whole to the size of the model (`size`): nothing is cropped, and its aspect ratio
        becomes that of the model (bilinear, antialiased; an image of that size stays as it is). Labels come back at the
        size of the image (nearest).

        Args:
            images: One image, or several: a tensor (3,H,W) or (N,3,H,W), an array (H,W,3) or (N,H,W,3), each uint8 or
                float in [0,1]; a PIL image or the path of a file (upright by its EXIF, as RGB, alpha is left out);
                a list of these; or Scenes, whose keys then give the random draws that `objbench evaluate` makes.
            batch_size: Images at a time, by default recipe.evaluation_batch_size of the run.

        Returns:
            A SegmentedImage for one image, otherwise a Segmented. Random draws depend on the seed of the run and on the
            name of the file, or the position of the image, alone.

        Raises:
            RequestError: Something is no image of such a kind; the message names it and what was expected.
            ObjbenchError: A file is missing or damaged.

        Example:
            >>> found = open_run("objmae-small-tetrominoes").segment(torch.zeros(2, 3, 70, 50))
            >>> found.labels.shape
            torch.Size([2, 70, 50])
        """
        found = list(self.segment_each(named_images(images), batch_size))
        return found[0] if is_single(images) else Segmented(found)

    def segment_each(
        self, images: Iterator[NamedImage], batch_size: int | None = None
    ) -> Iterator[SegmentedImage]:
        """Segment images that are read one batch at a time."""
        default = self.method.recipe.evaluation_batch_size
        count = default if batch_size is None else whole_number("batch_size", batch_size, least=1)
        scaled = (_Scaled.of(image, self.size, self.device) for image in images)
        while batch := list(islice(scaled, count)):
            yield from self._segment(batch)

    def _segment(self, batch: list[_Scaled]) -> Iterator[SegmentedImage]:
        images = torch.stack([image.values for image in batch])
        cuda = [self.device] if self.device.type == "cuda" else []
        self.method.eval()
        # The random numbers of the caller stay as they are.
        with _ALONE, float32_default, torch.random.fork_rng(cuda):
            found = segment(self.method, images, [image.key for image in batch], self.record.seed)
        labels = found.prediction.cpu()
        parts = {
            name: None if values is None else values.detach().cpu()
            for name in ("masks", "reconstruction", "components", "slots")
            for values in [getattr(found, name)]
        }
        for i, image in enumerate(batch):
            yield SegmentedImage(
                image.name,
                labels_at(labels[i], image.size),
                **{name: None if values is None else values[i] for name, values in parts.items()},
            )


class _Scaled(NamedTuple):
    """An image at the size of the model, and what is needed of the original: a batch of these needs little memory."""

    name: str
    key: str
    size: tuple[int, int]
    values: Tensor

    @staticmethod
    def of(image: NamedImage, size: tuple[int, int], device: torch.device) -> _Scaled:
        height, width = image.values.shape[1:]
        return _Scaled(
            image.name, image.key, (height, width), to_size(image.values.to(device, torch.float32), size)
        )


def open_run(
    run: str | os.PathLike[str],
    device: str | int | torch.device | None = None,
    runs: str | os.PathLike[str] | Store | None = None,
    config: Path | None = None,
    data: str | os.PathLike[str] | Store | None = None,
) -> FinishedRun:
    """Open a finished run: its method with the trained weights, whose sha256 is checked, and its record.

    A method from a plain file is executed from its copy in the folder (method.py): open such a run only if you trust
    whoever made it.

    Args:
        run: The folder of a seed, its result.json, the folder of a method with one seed inside, the same relative to
            the folder of the runs (as `objbench list runs` names it), or the name of weights that ship with the
            package (`objbench list weights`). A folder may be in an object store, by its URL.
        device: Where to compute, by default the CPU; "auto" is CUDA if there is one.
        runs: The folder of the runs, by default $OBJBENCH_RUNS or ./runs.
        config: Your own yaml, laid over benchmarks.yaml.
        data: The folder of the prepared datasets, whose own datasets a run may be of; by default $OBJBENCH_DATA or ./data.

    Raises:
        RequestError: There is no such run, it holds only scores, or several seeds are meant.
        ObjbenchError: A file of the run is missing or damaged.

    Example:
        >>> open_run("objmae-small-tetrominoes")
        FinishedRun(objmae:small seed 0, trained on tetrominoes/generated, 35x35, 4 slots, 137,652 parameters, ari_fg 0.941 on test, cpu)
    """
    where, spec = choose_device(device), load_spec(config, place(data) if data else None)
    folder = locate_run(run, runs)
    record = read_run(folder)
    with float32_default:
        method = load_run(folder, record, spec)
    dataset = dataset_of(folder, record, spec)
    block = described(spec, record.method, record.implementation)
    return FinishedRun(folder, record, method, dataset, block, where)


def locate_run(run: str | os.PathLike[str], runs: str | os.PathLike[str] | Store | None = None) -> Path:
    """The folder of the run that `run` names; see `open_run`.

    Raises:
        RequestError: It names none, or several.
    """
    named = place(run)
    path = copy_of("runs", named)
    folder = named_run(path, _below(runs_folder(runs), named))
    if folder is None:
        raise no_such_run(named, path)
    return folder


def _below(runs: Place, named: Place) -> Path | None:
    """The folder `named` below the folder of the runs, on this disk; None if there is no such folder in a store."""
    if isinstance(named, Store):
        return None
    if isinstance(runs, Path):
        return runs / named
    folder = runs / str(named)
    return copy_of("runs", folder) if not named.is_absolute() and folder.files() else None
