"""The copies that runs keep of methods from plain files: for a file that is not where it was any more."""

from __future__ import annotations

from pathlib import Path

from objbench.errors import ObjbenchError, RequestError
from objbench.methods.plain_file import COPY, MethodFile, copy_of_run
from objbench.train.run_folder import read_config


def copy_among(runs: Path, path: Path, kind: str | None) -> MethodFile | None:
    """The file `path` as runs have kept it; None if none has.

    Args:
        runs: The folder of the runs.
        path: Where the file was.
        kind: The name of the class; None for the only one that runs have of this file.

    Raises:
        RequestError: They have several versions or classes of it.
    """
    found: dict[str, MethodFile] = {}
    for place in sorted(runs.glob(f"*/*/*/seed-*/{COPY}")):
        try:
            file = copy_of_run(place.parent, str(read_config(place.parent).get("implementation")))
        except ObjbenchError:
            continue
        if file is not None and file.file == path.name and kind in (None, file.kind):
            found.setdefault(file.implementation, file)
    if len(found) > 1:
        places = ", ".join(str(file.path) for file in found.values())
        raise RequestError(
            f"{path}: no such file, and the runs have several versions of it: put the one that is meant back there "
            f"({places})"
        )
    return next(iter(found.values()), None)
