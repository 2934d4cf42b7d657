"""The processes of one run: what the first one does for all, what all have to agree about, how they end together.

`torchrun` (or anything that sets RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT) starts the same command several times.
The first process, rank 0, owns the folder of the run; the others compute and write nothing.
"""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import timedelta
from traceback import clear_frames
from typing import TYPE_CHECKING, Any, TypeVar

from objbench.errors import ObjbenchError, RequestError, brief, first_few
from objbench.spec.nested import flatten

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed.distributed_c10d import Store

T = TypeVar("T")
WAIT = timedelta(minutes=30)  # for a process that stands still; one that died is noticed at once
TOGETHER = timedelta(seconds=5)  # within which all processes fail, if they fail for the same reason
_NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class DisbandedError(ObjbenchError):
    """Another process of the run ended, so that this one cannot go on."""


class Ranks:
    """The processes of a run, seen from one of them. Alone, every method is what the name says about one process.

    Every process has to make the same calls in the same order.

    Args:
        rank: Number of this process; 0 is the first.
        size: Number of processes.
        local: Number of this process among those that see the same GPUs.
        store: Notes that outlive the processes; None for one process.
    """

    def __init__(self, rank: int = 0, size: int = 1, local: int = 0, store: Store | None = None) -> None:
        self.rank, self.size, self.local, self._store = rank, size, local, store
        self._attempts = 0

    def __repr__(self) -> str:
        return f"Ranks({self.rank} of {self.size})"

    @property
    def first(self) -> bool:
        """Whether this process owns the folder of the run."""
        return self.rank == 0

    @property
    def several(self) -> bool:
        """Whether there are other processes."""
        return self.size > 1

    def on_first(self, work: Callable[[], T]) -> T:
        """The result of `work`, which the first process does for all. Its error is raised in all of them."""
        if not self.several:
            return work()
        answer: tuple[bytes | None, Any] = (None, None)
        if self.first:
            try:
                answer = None, work()
            except Exception as error:
                failed = [(_pickled(error), None)]
                self._share(lambda group: group.broadcast_object_list(failed))
                raise
        box = [answer]
        self._share(lambda group: group.broadcast_object_list(box))
        failure, result = box[0]
        if failure is not None:
            raise pickle.loads(failure)
        found: T = result
        return found

    @contextmanager
    def held_by_first(self, context: AbstractContextManager[Any]) -> Iterator[None]:
        """Within this block the first process is in `context`; if it cannot enter, all raise its error."""
        with ExitStack() as stack:

            def enter() -> None:
                stack.enter_context(context)

            self.on_first(enter)
            yield

    def gather(self, value: T) -> list[T]:
        """The values of all processes, in order."""
        if not self.several:
            return [value]
        values: list[Any] = [None] * self.size
        self._share(lambda group: group.all_gather_object(values, value))
        return values

    def sum(self, values: Tensor) -> None:
        """Replace `values` by the sum over all processes, which is the same to the last bit in each."""
        if self.several:
            self._share(lambda group: group.all_reduce(values))

    def most(self, values: list[float]) -> list[float]:
        """The largest of the values of all processes, number by number; no GPU is waited for."""
        if not self.several:
            return values
        import torch

        found = torch.tensor(values, dtype=torch.float64)
        self._share(lambda group: group.all_reduce(found, group.ReduceOp.MAX))
        return found.tolist()

    def all_do(self, work: Callable[[], T]) -> T:
        """The result of `work`, which every process does. If it fails in one, it fails in all.

        Raises:
            RequestError: It failed in another process, or in this one, because the request was wrong.
            ObjbenchError: It failed in another process, or in this one.
        """
        if not self.several:
            return work()
        failure, result = None, None
        try:
            result = work()
        except Exception as error:
            failure = error
        said = None if failure is None else (isinstance(failure, RequestError), brief(failure))
        everyone = self.gather(said)
        if failure is not None:
            raise failure
        for rank, other in enumerate(everyone):
            if other is not None:
                wrong_request, reason = other
                kind = RequestError if wrong_request else ObjbenchError
                raise kind(f"process {rank} of {self.size}: {reason}")
        found: T = result  # type: ignore[assignment]
        return found

    def refuse_difference(self, facts: Mapping[str, Any]) -> None:
        """Raise RequestError unless all processes have the same `facts`, a nested mapping of what a run depends on."""
        everyone = [flatten(found) for found in self.gather(dict(facts))]
        for rank, other in enumerate(everyone):
            words = [
                f"{key} is {everyone[0].get(key, 'not given')} in process 0, {other.get(key, 'not given')} in process {rank}"
                for key in sorted({*everyone[0], *other})
                if everyone[0].get(key) != other.get(key)
            ]
            if words:
                raise RequestError(
                    f"the processes of this run disagree: {first_few(words)}; start all of them with the same command, "
                    "files and versions"
                )

    def refuse_alone(self, error: Exception, words: str) -> None:
        """After a failure: return if all processes failed, so that they can go on with something else.

        Args:
            error: What failed here.
            words: The same in a line.

        Raises:
            ObjbenchError: It did not fail in all, so that the command has to end.
        """
        if self._store is None:
            return
        if isinstance(error, DisbandedError):
            raise error
        self._attempts += 1
        try:
            keys = [f"failed/{self._attempts}/{rank}" for rank in range(self.size)]
            self._store.set(keys[self.rank], "failed")
            self._store.wait(keys, TOGETHER)
        except RuntimeError:  # somebody did not fail, or the store ended with its process
            raise ObjbenchError(f"process {self.rank} of {self.size}: {words}") from error

    def speaks(self) -> bool:
        """Whether this process says how the command ended: the first one that asks."""
        if self._store is None:
            return True
        try:
            return bool(self._store.add("ended", 1) == 1)
        except RuntimeError:  # the store ended with its process
            return True

    def device(self, name: str) -> str:
        """The device of this process where the command names `name`: on GPUs each process has one of its own.

        Raises:
            RequestError: A host has fewer GPUs than processes, or all were given the same one.
        """
        if not self.several:
            return name
        import torch

        if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
            return "cpu"
        if name.startswith("cuda:"):
            raise RequestError(
                f"--device {name}: each process needs a GPU of its own; --device cuda gives each one"
            )
        if name in ("auto", "cuda"):
            if torch.cuda.is_available() and self.local >= torch.cuda.device_count():
                raise RequestError(
                    f"process {self.local} of this host has no GPU: there are {torch.cuda.device_count()}; start as "
                    "many processes (--nproc-per-node), or give each process GPUs of its own"
                )
            return f"cuda:{self.local}"
        return name

    def leave(self, failed: bool = False) -> None:
        """End the connection to the other processes; those that wait for this one are told at once.

        Threads of gloo end only when nothing holds the group any more. Left to the end of the interpreter they could abort
        it (exit code -6): there a thread that lets go of a tensor may not take Python's lock.

        Args:
            failed: Whether this process ends with an error. Threads of nccl may wait for what never comes then, so they are left.
        """
        if self.several:
            from torch import distributed

            if distributed.is_initialized() and not (failed and "nccl" in distributed.get_backend_config()):
                distributed.destroy_process_group()

    def _share(self, call: Callable[[Any], Any]) -> None:
        from torch import distributed

        try:
            call(distributed)
        except RuntimeError as error:
            clear_frames(error.__traceback__)  # they hold the group, also after `leave`
            raise DisbandedError(
                f"another process of this run ended or stood still (seen by process {self.rank} of {self.size}); the "
                "same command goes on from the last checkpoint"
            ) from error


ALONE = Ranks()


def shared() -> bool:
    """Whether the environment says that this process is one of several."""
    return all(name in os.environ for name in _NEEDED) and os.environ["WORLD_SIZE"] != "1"


def join() -> Ranks:
    """The processes of this command: those that torchrun started, else this one alone.

    Raises:
        RequestError: The variables of the environment make no sense.
        ObjbenchError: The other processes cannot be reached.
    """
    if not shared():
        return ALONE
    try:
        rank, size = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE"))
    except ValueError:
        raise RequestError("RANK and WORLD_SIZE have to be numbers, as torchrun sets them") from None
    import torch
    from torch import distributed
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    if not distributed.is_available():
        raise RequestError("this build of torch cannot work on several processes")
    import torch.distributed.nn  # before there is a group, which its functions would hold as a default, also after `leave`

    backend = (
        "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and distributed.is_nccl_available() else "gloo"
    )
    try:
        store, rank, size = next(rendezvous("env://", rank, size, timeout=WAIT))
        distributed.init_process_group(
            backend,
            store=PrefixStore("group", store),
            rank=rank,
            world_size=size,
            timeout=WAIT,
        )
    except (RuntimeError, ValueError) as error:
        raise ObjbenchError(
            f"process {rank} of {size}: the other processes cannot be reached at {os.environ['MASTER_ADDR']}:"
            f"{os.environ['MASTER_PORT']} ({brief(error)})"
        ) from error
    ranks = Ranks(rank, size, 0, PrefixStore("notes", store))
    try:
        seats = ranks.gather(_gpus_in_sight())
    except BaseException:
        ranks.leave(failed=True)
        raise
    ranks.local = seats[:rank].count(seats[rank])
    return ranks


def _gpus_in_sight() -> tuple[str, ...]:
    """What is the same in processes that see the same GPUs: a host's, or those that a scheduler gave a process alone."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    known = [str(torch.cuda.get_device_properties(number).uuid) for number in range(count)]
    return socket.gethostname(), os.environ.get("CUDA_VISIBLE_DEVICES", ""), *known


def _pickled(error: Exception) -> bytes:
    """The error for other processes; what cannot be sent becomes an ObjbenchError with its words."""
    try:
        content = pickle.dumps(error)
        pickle.loads(content)
        return content
    except Exception:
        return pickle.dumps(ObjbenchError(f"{type(error).__name__}: {brief(error)}"))
