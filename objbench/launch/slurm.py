"""`--launcher slurm`: every run of a plan as a job of Slurm, in one array per kind of resources, by submitit."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from objbench.errors import ObjbenchError, RequestError, brief, unknown_name
from objbench.launch.jobs import RAY_RESOURCES, Handle, Job, Resources, is_number

JOBS = ".jobs"
_COUNTS = ("timeout_min", "time", "cpus_per_task", "array_parallelism", "mem_gb")
_ONE = ("nodes", "tasks_per_node", "ntasks_per_node")


class Slurm:
    """The Slurm of this machine.

    Args:
        make: Makes an executor of submitit for resources.
    """

    def __init__(self, make: Callable[[Resources], Any]) -> None:
        self._make = make

    def of_block(self, method: str, block: Resources) -> Resources:
        """All resources of the block but those that only Ray has."""
        return {key: value for key, value in block.items() if key not in RAY_RESOURCES}

    def check(self, resources: Resources) -> None:
        """Raise RequestError for resources that submitit does not know or that nothing can have."""
        submitit = _submitit()
        generic = submitit.AutoExecutor._typed_parameters()
        known = {*generic, *submitit.SlurmExecutor._valid_parameters()} - {"map_count", "folder"}
        for key, value in resources.items():
            if key not in known:
                raise unknown_name("resource", key, known)
            if key in _ONE and value != 1:
                raise RequestError(f"--resources {key}={value}: a run is one process; expected 1")
            if (key in _COUNTS or key.startswith("gpus")) and not is_number(value):
                raise RequestError(f"--resources {key}={value}: expected a number")
            if is_number(value) and value < (0 if key.startswith("gpus") or key == "signal_delay_s" else 1):
                raise RequestError(f"--resources {key}={value}: too small")
            if generic.get(key) is int and not isinstance(value, int):
                raise RequestError(f"--resources {key}={value}: expected a whole number")

    def submit(self, groups: Sequence[tuple[Resources, list[Job]]]) -> Sequence[Handle]:
        """Submit an array for each group.

        Raises:
            ObjbenchError: The scheduler refused a job.
        """
        submitted: list[Handle] = []
        for resources, jobs in groups:
            executor = self._make(resources)
            try:
                with executor.batch():
                    handles = [executor.submit(job) for job in jobs]
            except Exception as error:  # submitit wraps what sbatch said in errors of many kinds
                more = f"; {len(submitted)} runs were submitted before" if submitted else ""
                raise ObjbenchError(f"the scheduler refused the jobs: {brief(error)}{more}") from error
            submitted += handles
        return submitted


def slurm_here(runs: Path) -> Slurm:
    """The Slurm of this machine; the files of its jobs stand in `<runs>/.jobs`.

    Raises:
        RequestError: submitit is not installed, or this machine has no Slurm.
    """
    submitit = _submitit()
    if shutil.which("sbatch") is None:
        raise RequestError("--launcher slurm: this machine has no Slurm (no command sbatch)")

    def make(resources: Resources) -> Any:
        executor = submitit.AutoExecutor(folder=runs.absolute() / JOBS / "%j", cluster="slurm")
        generic = executor._typed_parameters()
        executor.update_parameters(
            name="objbench",
            **{key if key in generic else f"slurm_{key}": value for key, value in resources.items()},
        )
        return executor

    return Slurm(make)


def _submitit() -> Any:
    try:
        import submitit
    except ImportError:
        raise RequestError(
            "--launcher slurm needs the package submitit: pip install 'objbench[slurm]'"
        ) from None
    return submitit
