"""samples.npz: some images of every evaluation of a record, with all that was said of them, for figures and galleries."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from objbench.data.scene import Array
from objbench.errors import ObjbenchError
from objbench.files import replacing

SAMPLES_FILE, PICTURE = "samples.npz", "samples.png"
TEST = "test"  # the evaluation whose arrays stand under their bare names


def sampled(evaluation: str) -> str:
    """Under which key the samples of an evaluation stand: all definitions of the metrics share them."""
    return evaluation.partition("#")[0]


def write_samples(folder: Path, found: Mapping[str, Mapping[str, Array]]) -> None:
    """`<name>` of the test evaluation, `<evaluation>/<name>` of every other one, written whole or not at all."""
    arrays = {
        name if key == TEST else f"{key}/{name}": values
        for key, samples in found.items()
        for name, values in samples.items()
    }
    with replacing(folder / SAMPLES_FILE) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def read_samples(folder: Path, evaluations: Collection[str] | None = None) -> dict[str, dict[str, Array]]:
    """What is kept of all evaluations or of these, by evaluation and name; nothing where the file is not there.

    ObjbenchError where it is damaged.
    """
    with _opened(folder) as kept:
        return {
            key: {name: kept[entry] for name, entry in entries.items()}
            for key, entries in _entries(kept).items()
            if evaluations is None or key in evaluations
        }


def sample_names(folder: Path) -> dict[str, set[str]]:
    """The names of what is kept of each evaluation, which costs far less than to read it."""
    with _opened(folder) as kept:
        return {key: set(entries) for key, entries in _entries(kept).items()}


def _entries(kept: Mapping[str, Array]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for entry in kept:
        key, _, name = entry.rpartition("/")
        found.setdefault(key or TEST, {})[name] = entry
    return found


@contextmanager
def _opened(folder: Path) -> Iterator[Mapping[str, Array]]:
    path = folder / SAMPLES_FILE
    if not path.exists():
        yield {}
        return
    try:
        with path.open("rb") as file, np.load(file) as kept:
            yield kept
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise ObjbenchError(
            f"{path}: damaged ({error}); remove it, objbench evaluate makes it anew"
        ) from None
