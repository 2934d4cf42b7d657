"""`--launcher ray`: every run of a plan as a task of a Ray cluster, or of a local one that ends with the command.

A task holds the plain command, the folder of its run is the state, and every task has a process of its own. Tasks end with
the process that submitted them, so the command stays until all runs have ended, and a signal stops them at their next step.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from objbench.data.workers import available
from objbench.errors import ObjbenchError, RequestError, brief, unknown_name
from objbench.launch.environment import environment
from objbench.launch.jobs import RAY_RESOURCES, Handle, Job, Resources, is_number
from objbench.progress import Say
from objbench.train.interrupt import Interrupts

_ADDRESS = "RAY_ADDRESS"
_REACH_SECONDS = (
    10.0  # to open a connection to the head of a cluster; Ray itself then waits 40 seconds for its answer
)
_SLURM_NAMES = {"cpus_per_task": "num_cpus", "gpus_per_node": "num_gpus", "mem_gb": "memory"}
_OF_NODES = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}  # as a node counts them


class RayCluster:
    """The cluster of RAY_ADDRESS, or without it one of this machine's processors and GPUs. Connects when it is needed.

    Args:
        device: As given with --device.
        interrupts: The signals of the command.
        say: Told what a person should know.
    """

    def __init__(self, device: str, interrupts: Interrupts, say: Say) -> None:
        self._ray, self._device, self._interrupts, self._say = _ray(), device, interrupts, say
        self._address = _address()
        self._open = ExitStack()
        self._tasks: list[_Task] = []

    def of_block(self, method: str, block: Resources) -> Resources:
        """Ray's own resources, and those of Slurm that say the same by another name; it tells which are left out."""
        own = {key: value for key, value in block.items() if key in RAY_RESOURCES}
        shared = {_SLURM_NAMES[key]: value for key, value in block.items() if key in _SLURM_NAMES}
        if is_number(shared.get("memory")):
            shared["memory"] *= 1024**3
        left_out = [key for key in block if key not in RAY_RESOURCES and key not in _SLURM_NAMES]
        if left_out:
            self._say(f"{method}: Ray does not use the resources {', '.join(left_out)} of its block")
        return shared | own

    def check(self, resources: Resources) -> None:
        """Raise RequestError for resources that Ray does not know or that nothing can have."""
        for key, value in resources.items():
            if key not in RAY_RESOURCES:
                raise unknown_name("resource", key, RAY_RESOURCES)
            if key == "accelerator_type":
                continue
            if not is_number(value):
                raise RequestError(f"--resources {key}={value}: expected a number")
            if value < 0:
                raise RequestError(f"--resources {key}={value}: too small")
            whole = key == "max_retries" or (key == "num_gpus" and value > 1)
            if whole and not isinstance(value, int):
                raise RequestError(f"--resources {key}={value}: expected a whole number")
        if self._device.startswith("cuda") and not resources.get("num_gpus"):
            raise RequestError(
                f"--device {self._device}: a run gets a GPU of Ray with --resources num_gpus=1"
            )

    def submit(self, groups: Sequence[tuple[Resources, list[Job]]]) -> list[Handle]:
        """Connect, and submit all jobs.

        Raises:
            RequestError: The cluster cannot be reached, or the local one can never have the resources.
        """
        self._connect()
        for resources, _ in groups:
            self._check_nodes(resources)
        remote = self._ray.remote(max_calls=1)(
            _carry_out
        )  # a process each: its threads and GPU memory are its own
        for resources, jobs in groups:
            task, device = remote.options(**resources), self._device
            if device == "auto" and not resources.get("num_gpus"):
                device = "cpu"
            for job in jobs:
                placed = replace(job, request=job.request.model_copy(update={"device": device}))
                self._tasks.append(_Task(self._ray, task.remote(placed)))
        return list(self._tasks)

    def stop(self) -> None:
        """Have every run at work take a checkpoint at its next step, and wait for them."""
        self._say("stopping the runs at work at their next step; Ctrl-C again ends them at once")
        references = [task.reference for task in self._tasks]
        for reference in references:
            self._ray.cancel(reference)  # as if by SIGINT
        if references:
            self._ray.wait(references, num_returns=len(references))

    def close(self) -> None:
        """End the connection, and the cluster if it is a local one."""
        self._open.close()

    def _connect(self) -> None:
        quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
        self._open.callback(self._ray.shutdown)
        if self._address == "local":
            self._ray.init("local", num_cpus=available(), include_dashboard=False, **quiet)
        else:
            _reach(self._address)
            try:  # one attempt, of 40 seconds
                with environment(RAY_gcs_server_port_wait_time_s="1"):
                    self._ray.init(self._address, **quiet)
            except Exception as error:
                raise _unreachable(self._address, error) from error
        self._open.enter_context(self._interrupts.catch())  # Ray has set a handler of its own

    def _check_nodes(self, resources: Resources) -> None:
        """Refuse what the local cluster never has; say what no node of another one, which may grow, has now."""
        wanted = {_OF_NODES[key]: value for key, value in resources.items() if key in _OF_NODES}
        if "accelerator_type" in resources:
            wanted[f"accelerator_type:{resources['accelerator_type']}"] = 0.001
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        if any(all(node.get(key, 0) >= value for key, value in wanted.items()) for node in nodes):
            return
        asked = " ".join(f"{key}={value}" for key, value in resources.items())
        if self._address == "local":
            raise RequestError(f"--resources {asked}: more than this machine has")
        self._say(f"--resources {asked}: no node of the cluster has that now; the runs wait for one")


@contextmanager
def ray_cluster(device: str, interrupts: Interrupts, say: Say) -> Iterator[RayCluster]:
    """A cluster whose tasks are stopped when a signal ends the block.

    Raises:
        RequestError: Ray is not installed, or RAY_ADDRESS is no address.
    """
    cluster = RayCluster(device, interrupts, say)
    try:
        yield cluster
    except KeyboardInterrupt:  # that of `interrupts`, too
        cluster.stop()
        raise
    finally:
        cluster.close()


class _Task:
    """A task of Ray, as a job."""

    job_id = None  # Ray's name of a task tells a person nothing

    def __init__(self, ray: Any, reference: Any) -> None:
        self._ray, self.reference = ray, reference

    def done(self) -> bool:
        return bool(self._ray.wait([self.reference], timeout=0)[0])

    def exception(self) -> BaseException | None:
        try:
            self._ray.get(self.reference)
        except self._ray.exceptions.RayTaskError as error:
            return error.cause if isinstance(error.cause, BaseException) else error
        except self._ray.exceptions.RayError as error:
            return ObjbenchError(brief(error))
        return None

    def result(self) -> Any:
        return self._ray.get(self.reference)


def _carry_out(job: Job) -> str:
    """The task: a function, since Ray makes tasks of no other callable."""
    return job()


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise RequestError("--launcher ray needs the package ray: pip install 'objbench[ray]'") from None
    return ray


def _address() -> str:
    """Where the cluster is: `local`, `auto` (the one this machine belongs to), or HOST:PORT.

    Raises:
        RequestError: RAY_ADDRESS is none of them.
    """
    address = os.environ.get(_ADDRESS) or "local"
    host, _, port = address.rpartition(":")
    if address not in ("local", "auto") and ("/" in host or not host or not port.isdigit()):
        raise RequestError(
            f"{_ADDRESS}={address}: expected HOST:PORT of the head of a cluster that this machine belongs to, auto or "
            "local; elsewhere start this command by ray job submit"
        )
    return address


def _reach(address: str) -> None:
    """Raise RequestError if nothing listens at an address. Ray would ask for minutes."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH_SECONDS).close()
    except (OSError, OverflowError) as error:  # OverflowError: no port has such a number
        raise _unreachable(address, error) from error


def _unreachable(address: str, error: Exception) -> RequestError:
    return RequestError(
        f"{_ADDRESS}={address}: no cluster of Ray can be used there ({brief(error)}); start one, or unset {_ADDRESS} for a "
        "cluster of this machine alone"
    )
