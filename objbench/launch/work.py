"""Carry out planned runs in this process, one after another."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from objbench.errors import ObjbenchError, RequestError, first_few
from objbench.launch.plan import Plan, Planned
from objbench.launch.request import RunRequest, Task
from objbench.locks import LockedError
from objbench.one_line import LESS_MEMORY_OF_A_RUN, in_a_line
from objbench.progress import Say
from objbench.ranks.group import ALONE, Ranks
from objbench.records import Record, read_record
from objbench.spec.schema import Spec
from objbench.train.interrupt import Interrupts
from objbench.train.run import run_seed
from objbench.train.run_data import RunData, generated_run_data, prepared_run_data


class Outcome(NamedTuple):
    """What became of one run.

    Attributes:
        task: What was run.
        folder: Where it lives.
        failure: Why it failed; None if it is finished, or another process is at work on it.
        elsewhere: Whether another process is at work on it.
        wrong_request: Whether it failed because the request was wrong.
    """

    task: Task
    folder: Path
    failure: str | None = None
    elsewhere: bool = False
    wrong_request: bool = False

    @property
    def record(self) -> Record | None:
        """The record of the run, if it is finished."""
        return None if self.failure is not None or self.elsewhere else read_record(self.folder)


class Worker:
    """Carries out runs of a request in this process, or with others that do the same, `ranks`.

    The data of one dataset is in memory at a time.
    """

    def __init__(
        self,
        request: RunRequest,
        spec: Spec,
        interrupts: Interrupts,
        say: Say,
        debug: bool = False,
        ranks: Ranks = ALONE,
    ) -> None:
        self._request, self._spec, self._interrupts, self._say, self._debug, self._ranks = (
            request, spec, interrupts, say, debug, ranks,
        )  # fmt: skip
        self._data: tuple[str, RunData] | None = None

    def run(self, planned: Planned) -> Outcome:
        """Train and evaluate one run, or read it if it is finished. Its failure is told, not raised.

        Raises:
            Interrupted: A signal asked to stop.
            ObjbenchError: It failed in this process, but not in all that share it.
        """
        task, request = planned.task, self._request
        try:
            run_seed(
                self._spec,
                planned.method,
                self._ranks.all_do(lambda: self._data_of(task.dataset)),
                task.seed,
                request.runs,
                fresh=request.fresh,
                log=request.log,
                say=self._say,
                interrupts=self._interrupts,
                keep=request.keep is not None,
                ranks=self._ranks,
            )
        except LockedError as error:
            if request.fresh:  # what was asked for is not done
                return Outcome(task, planned.folder, str(error))
            return Outcome(task, planned.folder, elsewhere=True)
        except Exception as error:
            self._interrupts.check()  # libraries may have turned a signal's exception into one of their own
            if self._debug:
                traceback.print_exception(error)
            reason = in_a_line(error, LESS_MEMORY_OF_A_RUN)
            self._ranks.refuse_alone(error, reason)
            return Outcome(task, planned.folder, reason, wrong_request=isinstance(error, RequestError))
        return Outcome(task, planned.folder)

    def _data_of(self, dataset: str) -> RunData:
        if self._data is None or self._data[0] != dataset:
            self._data = None  # before the next one is loaded
            request, reference = self._request, self._spec.dataset(dataset)
            if request.in_memory:
                data = generated_run_data(self._spec, reference, request.sizes, request.device)
            else:
                data = prepared_run_data(self._spec, reference, request.source, request.data, request.device)
            self._data = dataset, data
        return self._data[1]


def run_here(worker: Worker, runs: Iterable[Planned], done: Callable[[Outcome], None]) -> list[Outcome]:
    """Carry out runs one after another; `done` is told of each."""
    outcomes = []
    for planned in runs:
        outcome = worker.run(planned)
        done(outcome)
        outcomes.append(outcome)
    return outcomes


def refuse_failures(outcomes: list[Outcome], plan: Plan) -> None:
    """Raise if runs of a plan failed: what failed, and how to go on.

    Raises:
        RequestError: All runs failed, and all for a wrong request.
        ObjbenchError: Another run is finished, or failed otherwise.
    """
    failed = [outcome for outcome in outcomes if outcome.failure is not None]
    if not failed:
        return
    kind = RequestError if all(outcome.wrong_request for outcome in outcomes) else ObjbenchError
    if len(plan.runs) == 1:
        raise kind(str(failed[0].failure))
    names = first_few([str(outcome.task) for outcome in failed])
    again = "the same command without --fresh" if plan.request.fresh else "the same command"
    raise kind(
        f"{len(failed)} of {len(plan.runs)} runs failed ({names}), for the reasons above; {again} tries them again"
    )
