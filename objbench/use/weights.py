"""Trained weights that packages ship: folders of runs in `weights/` of the package of a plugin."""

from __future__ import annotations

from pathlib import Path

from objbench.errors import RequestError
from objbench.methods.plain_file import COPY
from objbench.paths import resolved
from objbench.records import RECORD, read_record, read_run
from objbench.spec.load import plugin_folders
from objbench.spec.resolve import run_label
from objbench.spec.schema import Spec
from objbench.stores import Place
from objbench.train.checkpoint import CHECKPOINT, WEIGHTS
from objbench.train.reevaluate import dataset_of
from objbench.train.run_folder import CONFIG, find_run, lock_run, seed_folder
from objbench.use.copied import copy_files, is_unfinished

FOLDER = "weights"


def shipped_weights() -> dict[str, Path]:
    """Name -> folder of the run, whose name it is.

    A package that has an entry point of objbench ships weights as it ships a benchmarks.yaml: beside it, in
    `weights/NAME/`, as `objbench publish` writes such a folder.
    """
    records = [path for folder in plugin_folders() for path in (folder / FOLDER).glob(f"*/{RECORD}")]
    return {
        path.parent.name: resolved(path.parent) for path in sorted(records, key=lambda path: path.parent.name)
    }


def named_run(run: Path, below: Path | None) -> Path | None:
    """The folder of the run that a user names; None if it is none.

    What is there is meant: something else of the same name among the runs or the shipped weights is not.

    Args:
        run: As for `find_run`, or the name of shipped weights.
        below: The same below the folder of the runs, as `objbench list runs` prints it; None: there is no such thing.

    Raises:
        RequestError: It is the folder of a method with several seeds.
    """
    if run.exists():
        return find_run(run)
    return (below and find_run(below)) or shipped_weights().get(str(run))


def no_such_run(run: Place, folder: Path) -> RequestError:
    """The error for a name of no run, which would be in `folder`."""
    shipped, found = shipped_weights(), "no run there"
    if folder.is_dir():
        found = "a folder without result.json"
        if str(run) in shipped:
            found += ", which hides the shipped weights of this name"
    return RequestError(
        f"{run}: expected the folder of a finished run (objbench list runs), or the name of shipped weights "
        f"({', '.join(shipped) or 'none'}); found {found}"
    )


def run_to_extend(run: Path, runs: Path, spec: Spec) -> Path | None:
    """The folder of the run that a user names, to add scores to it: shipped weights are copied to the runs first.

    Args:
        run: As for `named_run`.
        runs: The folder of the runs.
        spec: What knows the dataset of the run.

    Raises:
        RequestError: It is the folder of a method with several seeds.
    """
    folder = named_run(run, runs / run)
    if folder is None or folder not in shipped_weights().values():
        return folder
    return copy_to_runs(folder.name, runs, spec)


def copy_to_runs(name: str, runs: Path, spec: Spec) -> Path:
    """Copy shipped weights to where their run would lie among the runs, so that further scores can be added.

    Returns:
        The folder, which may have been there.

    Raises:
        RequestError: Another run lies there.
    """
    shipped = shipped_weights()[name]
    record = read_run(shipped)
    dataset = str(dataset_of(shipped, record, spec))
    label = run_label(record.method, record.variant, record.overrides)
    folder = seed_folder(runs, dataset, record.source, label, record.seed)
    with lock_run(folder):
        finished = (folder / RECORD).exists()
        if finished and record.is_of_the_run(read_record(folder)):
            return folder
        if finished or (any(folder.iterdir()) and not is_unfinished(folder)):
            raise RequestError(
                f"{folder}: a run of these settings lies there, where {name} would be copied to; choose another folder with "
                "--runs"
            )
        further = [file for file in (COPY, CHECKPOINT) if (shipped / file).exists()]
        copy_files(shipped, folder, [WEIGHTS, CONFIG, *further])
        record.save(folder)
    return folder
