"""`--launcher slurm`: every run of a plan as a job of Slurm, in one array per kind of resources, by submitit."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from objbench.errors import ObjbenchError, RequestError, brief, unknown_name
from objbench.launch.jobs import RAY_RESOURCES, Handle, Job, Resources, is_number

JOBS = ".jobs"
_COUNTS = ("timeout_min", "time", "cpus_per_task", "cpus_per_gpu", "array_parallelism", "signal_delay_s")
_ONE = ("nodes", "tasks_per_node", "ntasks_per_node")
_FLAGS = ("stderr_to_stdout", "use_srun")
_LISTS = ("setup", "teardown", "srun_args")


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
        known = {*submitit.AutoExecutor._typed_parameters(), *submitit.SlurmExecutor._valid_parameters()}
        known -= {"map_count", "folder"}
        for key, value in resources.items():
            if key not in known:
                raise unknown_name("resource", key, known)
            if key in _ONE and value != 1:
                raise RequestError(f"--resources {key}={value}: a run is one process; expected 1")
            if not (kind := _kind(key)).fits(value):
                raise RequestError(f"--resources {key}={value}: expected {kind.words}")
            if kind is _NUMBER and value < (0 if key.startswith("gpus") or key == "signal_delay_s" else 1):
                raise RequestError(f"--resources {key}={value}: too small")
            if kind is _NUMBER and key != "mem_gb" and not isinstance(value, int):
                raise RequestError(f"--resources {key}={value}: expected a whole number")

    def submit(self, groups: Sequence[tuple[Resources, list[Job]]]) -> Sequence[Handle]:
        """Submit an array for each group.

        Raises:
            RequestError: submitit refused resources; nothing was submitted.
            ObjbenchError: The scheduler refused a job.
        """
        submitted: list[Handle] = []
        for executor, jobs in [(self._executor(resources), jobs) for resources, jobs in groups]:
            try:
                with executor.batch():
                    handles = [executor.submit(job) for job in jobs]
            except Exception as error:  # submitit wraps what sbatch said in errors of many kinds
                more = f"; {len(submitted)} runs were submitted before" if submitted else ""
                raise ObjbenchError(f"the scheduler refused the jobs: {brief(error)}{more}") from error
            submitted += handles
        return submitted

    def _executor(self, resources: Resources) -> Any:
        try:
            return self._make(resources)
        except (AssertionError, NameError, TypeError, ValueError) as error:  # submitit's
            asked = " ".join(f"{key}={value}" for key, value in resources.items())
            raise RequestError(f"--resources {asked}: submitit refuses them ({brief(error)})") from error


class _Kind(NamedTuple):
    """What a resource may be, and what that is called."""

    fits: Callable[[Any], bool]
    words: str


_NUMBER = _Kind(is_number, "a number")
_FLAG = _Kind(lambda value: isinstance(value, bool), "true or false")
_LIST = _Kind(
    lambda value: isinstance(value, list) and all(isinstance(one, str) for one in value),
    "a list such as [one, two]",
)
_MAPPING = _Kind(lambda value: isinstance(value, dict), "a mapping such as {mail-type: END}")
_TRUE_OR_WORD = _Kind(lambda value: value is True or isinstance(value, str), "true or a word")
_NAME = _Kind(lambda value: isinstance(value, str), "a word")
_WORD = _Kind(lambda value: isinstance(value, str) or is_number(value), "a word or a number")


def _kind(key: str) -> _Kind:
    """What the resource `key` may be."""
    if key in _COUNTS or key == "mem_gb" or key.startswith("gpus"):
        return _NUMBER
    if key in _FLAGS:
        return _FLAG
    if key in _LISTS:
        return _LIST
    other = {"additional_parameters": _MAPPING, "exclusive": _TRUE_OR_WORD, "name": _NAME}
    return other.get(key, _WORD)


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
        given = {key if key in generic else f"slurm_{key}": value for key, value in resources.items()}
        executor.update_parameters(**{"name": "objbench"} | given)
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
