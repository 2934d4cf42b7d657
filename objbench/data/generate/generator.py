"""Generated scenes: one module per dataset, found by dataset id.

A module has a VERSION, which changes whenever any scene of any seed does, and a function `scenes(split, start, stop,
seed, device=None, **options) -> SceneTensors`. Where making scenes takes longer than encoding them, it says with BLOCK
how many a worker process is to make at a time, and where its scenes do not follow the look of the
release, with STAND_IN that they only stand in for it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from objbench.data.scene import SceneBatch
from objbench.errors import RequestError, unknown_name
from objbench.spec.datasets import DatasetRef

if TYPE_CHECKING:
    import torch

    from objbench.data.generate.tensors import SceneTensors

_CLEVRTEX = {
    f"clevrtex_{variant}": {"variant": variant} for variant in ("ood", "camo", "pbg", "vbg", "grassbg")
}  # what a generator of several datasets must be told
GENERATORS = {
    "tetrominoes": "objbench.data.generate.tetrominoes",
    "multi_dsprites": "objbench.data.generate.multi_dsprites.colored_on_grayscale",
    "multi_dsprites_binarized": "objbench.data.generate.multi_dsprites.binarized",
    "multi_dsprites_colored": "objbench.data.generate.multi_dsprites.colored_on_colored",
    "clevr6": "objbench.data.generate.clevr",
    "clevr10": "objbench.data.generate.clevr",
    "clevrtex": "objbench.data.generate.clevrtex",
    **dict.fromkeys(_CLEVRTEX, "objbench.data.generate.clevrtex"),
}
BATCH = 2000  # scenes made at once


@dataclass(frozen=True)
class Generator:
    """A dataset's generator, by the name of its module, under the options of a protocol."""

    name: str
    options: Mapping[str, int | float | str]

    @property
    def version(self) -> int:
        """Changes whenever any scene of any seed does."""
        return int(self._module.VERSION)

    @property
    def block(self) -> int | None:
        """How many scenes a worker process should make at a time; None: it is not worth sending them out."""
        return getattr(self._module, "BLOCK", None)

    @property
    def stand_in(self) -> bool:
        """Whether its scenes only stand in for a release whose look may not be rebuilt."""
        return bool(getattr(self._module, "STAND_IN", False))

    @property
    def known_options(self) -> set[str]:
        """The options that it has."""
        parameters = set(inspect.signature(self._module.scenes).parameters)
        return parameters - {"split", "start", "stop", "seed", "device"}

    def scenes(
        self, split: str, start: int, stop: int, seed: int, device: torch.device | str | None = None
    ) -> Iterator[SceneTensors]:
        """The scenes [start, stop) of the stream of (split, seed), in batches; device None = the CPU."""
        for first in range(start, stop, BATCH):
            with _one_thread():
                batch = self._module.scenes(
                    split, first, min(first + BATCH, stop), seed, device=device, **self.options
                )
            yield batch

    def blocks(self, split: str, start: int, stop: int, seed: int) -> Iterator[GeneratedBlock]:
        """The same scenes, still to be made."""
        size = self.block or BATCH
        for first in range(start, stop, size):
            yield GeneratedBlock(self, split, first, min(first + size, stop), seed)

    @property
    def _module(self) -> Any:
        return import_module(self.name)


@dataclass(frozen=True)
class GeneratedBlock:
    """The scenes [start, stop) of a stream, made by the CPU path in the process that decodes the block."""

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
            raise ValueError(f"a block is cut into stretches, not taken every {step} scenes")
        start = self.start + first
        return GeneratedBlock(self.generator, self.split, start, max(self.start + last, start), self.seed)

    def decode(self) -> SceneBatch:
        """Make them."""
        batches = self.generator.scenes(self.split, self.start, self.stop, self.seed)
        return SceneBatch.concatenate([batch.arrays() for batch in batches])


def generator_of(dataset: DatasetRef) -> Generator:
    """The generator of `dataset`; RequestError if there is none, or none with its protocol's options."""
    if dataset.name not in GENERATORS:
        raise RequestError(
            f"dataset '{dataset.name}' has no generator; there is one of: {', '.join(GENERATORS)}"
        )
    options = {**_CLEVRTEX.get(dataset.name, {}), **dataset.rule.options}
    generator = Generator(GENERATORS[dataset.name], options)
    for option in generator.options:
        if option not in generator.known_options:
            raise unknown_name(f"option of the {dataset.name} generator", option, generator.known_options)
    return generator


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch from sharing out its operations.

    A generator's are small, and `prepare` keeps every core busy with encoding: there an operation that waits for
    a second thread waits for the scheduler, which makes the whole generator ten times slower.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
