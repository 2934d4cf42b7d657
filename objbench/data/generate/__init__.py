"""Generated scenes: one module per dataset, each with a VERSION and a function `scenes`, found by dataset id."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from objbench.data.scene import SceneBatch
from objbench.errors import RequestError, unknown_name
from objbench.layers import load_spec
from objbench.spec import SPLITS, DatasetRef

if TYPE_CHECKING:
    import torch

    from objbench.data.scenes import Scenes

GENERATORS = {
    "tetrominoes": "objbench.data.generate.tetrominoes",
    "multi_dsprites": "objbench.data.generate.multi_dsprites.colored_on_grayscale",
    "multi_dsprites_binarized": "objbench.data.generate.multi_dsprites.binarized",
    "multi_dsprites_colored": "objbench.data.generate.multi_dsprites.colored_on_colored",
    "clevr6": "objbench.data.generate.clevr",
    "clevr10": "objbench.data.generate.clevr",
}
BATCH = 2000  # scenes made at once


@dataclass(frozen=True)
class Generator:
    """A dataset's generator under the options of a protocol.

    `version` changes whenever any scene of any seed does.
    """

    version: int
    function: Callable[..., SceneBatch]
    options: dict[str, int | float | str]

    def scenes(
        self, split: str, start: int, stop: int, seed: int, device: torch.device | str | None = None
    ) -> Iterator[SceneBatch]:
        """The scenes [start, stop) of the stream of (split, seed), in batches; device None = the CPU."""
        for first in range(start, stop, BATCH):
            with _one_thread():
                batch = self.function(
                    split, first, min(first + BATCH, stop), seed, device=device, **self.options
                )
            yield batch


def generator_of(dataset: DatasetRef) -> Generator:
    """The generator of `dataset`; RequestError if there is none, or none with its protocol's options."""
    if dataset.name not in GENERATORS:
        raise RequestError(
            f"dataset '{dataset.name}' has no generator; there is one of: {', '.join(GENERATORS)}"
        )
    module = import_module(GENERATORS[dataset.name])
    parameters = set(inspect.signature(module.scenes).parameters)
    known = parameters - {"split", "start", "stop", "seed", "device"}
    for option in dataset.rule.options:
        if option not in known:
            raise unknown_name(f"option of the {dataset.name} generator", option, known)
    return Generator(module.VERSION, module.scenes, dataset.rule.options)


def generate(
    dataset: str, n: int, seed: int = 0, split: str = "train", device: torch.device | str | None = None
) -> Scenes:
    """The first `n` scenes of a generated `DATASET[@PROTOCOL]`, in memory; nothing is written.

    They are those that `objbench prepare --source generated` makes with the same seed. `split` names a stream of
    its own: train, val or test. Raises RequestError for an unknown dataset, or one without a generator.
    """
    from objbench.data.scenes import Scenes

    reference = load_spec().dataset(dataset)
    generator = generator_of(reference)
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    if n < 1:
        raise RequestError(f"generate {dataset}: asked for {n} scenes; at least 1 is needed")
    batch = SceneBatch.concatenate(list(generator.scenes(split, 0, n, seed, device)))
    return Scenes.of(batch, reference, device, split)


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
