"""The folders of datasets, runs and copies of stores: where nothing else is asked for, ./data, ./runs, ~/.cache/objbench."""

from __future__ import annotations

import os
from pathlib import Path

from objbench.stores import Place, Store, place

DATA, DATA_VARIABLE = Path("data"), "OBJBENCH_DATA"
RUNS, RUNS_VARIABLE = Path("runs"), "OBJBENCH_RUNS"
CACHE_VARIABLE = "OBJBENCH_CACHE"


def data_folder(data: str | os.PathLike[str] | Store | None = None) -> Place:
    """The folder of the prepared datasets: `data`, else $OBJBENCH_DATA, else ./data."""
    return place(data or os.environ.get(DATA_VARIABLE) or DATA)


def runs_folder(runs: str | os.PathLike[str] | Store | None = None) -> Place:
    """The folder of the runs: `runs`, else $OBJBENCH_RUNS, else ./runs."""
    return place(runs or os.environ.get(RUNS_VARIABLE) or RUNS)


def copy_folder(kind: str, of: Store) -> Path:
    """Where this disk keeps the copy of a folder or file of a store.

    It is below $OBJBENCH_CACHE, else $XDG_CACHE_HOME/objbench, else ~/.cache/objbench. All of it can be fetched again: it
    may be removed whenever nothing is at work.

    Args:
        kind: data, raw or runs.

    >>> copy_folder("data", Store("s3://bucket/sets")).parts[-4:]
    ('data', 's3', 'bucket', 'sets')
    """
    own, shared = os.environ.get(CACHE_VARIABLE), os.environ.get("XDG_CACHE_HOME")
    cache = Path(own) if own else (Path(shared) if shared else Path.home() / ".cache") / "objbench"
    names = [name for name in of.url.partition("://")[2].split("/") if name not in ("", ".", "..")]
    return cache.joinpath(kind, of.protocol, *names)
