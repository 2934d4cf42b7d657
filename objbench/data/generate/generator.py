"""The contract of a generator, and which one makes the scenes of a dataset."""

from __future__ import annotations

import inspect
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from objbench import registry
from objbench.data.scene import SceneBatch
from objbench.errors import RequestError, unknown_name
from objbench.spec.datasets import GENERATED, DatasetRef

if TYPE_CHECKING:
    import torch

    from objbench.data.generate.tensors import SceneTensors

BATCH = 2000  # scenes made at once


class Generator(ABC):
    """Makes the scenes of a dataset.

    Subclasses are registered by name (entry-point group `objbench.generators`). The parameters of their constructor
    are the options that a dataset's block may give. Objects are sent to worker processes, so they must be picklable.

    Attributes:
        version: Changes whenever any scene of any seed does.
        block: How many scenes a worker process makes at a time; None where making scenes takes less time than
            encoding them.
        stand_in: Whether the scenes only stand in for a release whose look may not be rebuilt.
    """

    version: ClassVar[int]
    block: ClassVar[int | None] = None
    stand_in: ClassVar[bool] = False

    @abstractmethod
    def make(
        self, split: str, start: int, stop: int, seed: int, device: torch.device | str | None = None
    ) -> SceneTensors:
        """The scenes [start, stop) of the endless stream that (split, seed) and the options name.

        A scene is a function of these and its index alone: not of the batch, the device or the number of workers.
        `device` None is the CPU.
        """

    def scenes(
        self, split: str, start: int, stop: int, seed: int, device: torch.device | str | None = None
    ) -> Iterator[SceneTensors]:
        """The scenes [start, stop) of a stream, in batches.

        Raises:
            ObjbenchError: `make` gave something else.
        """
        from objbench.data.generate.tensors import checked

        for first in range(start, stop, BATCH):
            last = min(first + BATCH, stop)
            with _one_thread:
                batch = self.make(split, first, last, seed, device)
            yield checked(batch, f"the generator {type(self).__name__}", first, last)

    def blocks(self, split: str, start: int, stop: int, seed: int) -> Iterator[GeneratedBlock]:
        """The scenes [start, stop) of a stream, still to be made."""
        size = self.block or BATCH
        for first in range(start, stop, size):
            yield GeneratedBlock(self, split, first, min(first + size, stop), seed)


@dataclass(frozen=True)
class GeneratedBlock:
    """The scenes [start, stop) of a stream, made on the CPU in the process that decodes the block."""

    generator: Generator
    split: str
    start: int
    stop: int
    seed: int

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, part: slice) -> GeneratedBlock:
        first, last, step = part.indices(len(self))
        if step != 1:
            raise ValueError(f"a block is cut into ranges, not taken every {step} scenes")
        start = self.start + first
        return GeneratedBlock(self.generator, self.split, start, max(self.start + last, start), self.seed)

    def decode(self) -> SceneBatch:
        """Make them."""
        batches = self.generator.scenes(self.split, self.start, self.stop, self.seed)
        return SceneBatch.concatenate([batch.arrays() for batch in batches])


def options_of(dataset: DatasetRef) -> dict[str, Any]:
    """The options that a dataset's block gives its generator; those of the protocol replace those of the source."""
    source = dataset.spec.sources.get(GENERATED)
    options = {**source.options, **dataset.rule.options} if source else {}
    options.pop("generator", None)
    return options


def generator_of(dataset: DatasetRef) -> Generator:
    """The generator that a dataset's block names, with the block's options.

    Raises:
        RequestError: The block names none or an unknown one, or gives an option that the generator does not have, or a value
            of another type than it says.
    """
    source = dataset.spec.sources.get(GENERATED)
    if source is None or "generator" not in source.options:
        raise RequestError(
            f"dataset '{dataset.name}' has no generator: its block has no sources.{GENERATED}.options.generator; "
            f"generators: {', '.join(registry.names('generators'))}"
        )
    name = str(source.options["generator"])
    factory = registry.get("generators", name)
    known = inspect.signature(factory).parameters
    options = options_of(dataset)
    for option in options:
        if option not in known:
            raise unknown_name(f"option of the {name} generator", option, known)
    typed = {
        option: _typed(f"the option '{option}' of {name}", value, known[option].annotation)
        for option, value in options.items()
    }
    generator: Generator = factory(**typed)
    return generator


def _typed(where: str, value: Any, annotation: Any) -> Any:
    """`value` in the type of a parameter, where that is one of those that a yaml has; a word is neither true nor false."""
    make: type[int | float | str]
    match annotation if isinstance(annotation, str) else getattr(annotation, "__name__", ""):
        case "bool":  # blocks hold true and false as 1 and 0
            make, fits, expected = bool, value in (0, 1), "true or false"
        case "int":
            make, fits, expected = int, isinstance(value, int), "a whole number"
        case "float":
            make, fits, expected = float, isinstance(value, int | float), "a number"
        case "str":
            make, fits, expected = str, isinstance(value, str), "a text"
        case _:
            return value
    if not fits:
        raise RequestError(f"{where} is {value!r}, expected {expected}")
    return make(value)


class _OneThread:
    """Keeps torch from sharing out the operations of a thread that is within it.

    A generator's are small, and `prepare` keeps every core busy with encoding: there an operation that waits for
    a second thread waits for the scheduler, which makes the whole generator ten times slower.
    """

    def __init__(self) -> None:
        self._lock, self._within, self._threads = threading.Lock(), 0, 1

    def __enter__(self) -> None:
        import torch

        with self._lock:
            if not self._within:
                self._threads = torch.get_num_threads()
            self._within += 1
            torch.set_num_threads(1)

    def __exit__(self, *error: object) -> None:
        import torch

        with self._lock:
            self._within -= 1
            torch.set_num_threads(self._threads)  # of this thread, and of those that begin from now on


_one_thread = _OneThread()
