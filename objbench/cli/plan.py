"""A plan on the command line: print it, or carry it out and print what becomes of each run."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from objbench.cli.common import Context, over_images, print_json, say
from objbench.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from objbench.launch.jobs import Submitted
    from objbench.launch.plan import Plan, Planned
    from objbench.launch.work import Outcome
    from objbench.records import Record
    from objbench.spec.schema import Spec

_Kind = Literal["finished", "damaged", "to go on", "to start", "at work"]  # in the order of the sum
_GO_ON = "the same command goes on with the runs that are left"


class Todo(NamedTuple):
    """What is to be done with a run: under what it is counted, and in words."""

    kind: _Kind
    text: str


def print_plan(context: Context, plan: Plan) -> None:
    """Every run of the plan: what is to be done, and where it lives."""
    rows = []
    for planned in plan.runs:
        what = todo(planned, plan.request.fresh)
        fault = _fault(planned) if what.kind == "finished" else None
        rows.append((planned, what if fault is None else Todo("damaged", f"damaged: {fault}")))
    if context.json:
        print_json([_entry(planned, what.text) for planned, what in rows])
        return
    for planned, what in rows:
        print(printable(f"{planned.task}: {what.text}\n  {planned.folder}"))
    found = Counter(what.kind for _, what in rows)
    of = f" (a part of {plan.whole})" if plan.whole != len(rows) else ""
    say(
        f"{len(rows)} run{'s' * (len(rows) != 1)}{of}: "
        + ", ".join(f"{found[kind]} {kind}" for kind in get_args(_Kind) if found[kind])
    )


def todo(planned: Planned, fresh: bool) -> Todo:
    """What the command would do with a run.

    Args:
        planned: The run.
        fresh: Whether earlier runs are deleted.
    """
    state = planned.state
    if state.state == "at work":
        return Todo("at work", str(state))
    if fresh:
        return Todo("to start", "start afresh")
    if state.state == "finished":
        return Todo("finished", "finished")
    reason = f" (failed before: {state.reason})" if state.reason else ""
    if state.resumable:
        at = f" from step {state.saved:,}" if state.saved is not None else " from its last checkpoint"
        return Todo("to go on", f"go on{at}{reason}")
    return Todo("to start", f"start{reason}")


def _entry(planned: Planned, what: str) -> dict[str, Any]:
    return {
        **planned.task._asdict(),
        "folder": str(planned.folder),
        "todo": what,
        **planned.state._asdict(),
    }


def submit_plan(context: Context, plan: Plan) -> None:
    """Submit what is open to a cluster.

    Without `--wait` the job of each run is printed. With it, and always with Ray, whose jobs end with this process, the
    command follows them, prints the scores of each run, and raises if some failed.
    """
    from objbench.launch.jobs import parse_resources, submit
    from objbench.launch.work import refuse_failures

    given = parse_resources(plan.request.resources)
    blocks = {name: method.resources for name, method in plan.spec.methods.items()}
    if plan.request.launcher == "ray":
        from objbench.launch.ray import ray_cluster

        context.interrupts.advice = _GO_ON
        with ray_cluster(plan.request.device, context.interrupts, say) as cluster:
            _follow(context, plan, submit(plan, blocks, given, cluster))
        return
    from objbench.launch.slurm import slurm_here

    submitted = submit(plan, blocks, given, slurm_here(plan.request.runs))
    lines = [printable(f"{one.job.job_id}  {one.planned.task}  {one.planned.folder}") for one in submitted]
    if plan.request.wait:
        context.interrupts.advice = "the jobs go on; objbench list runs shows them"
        for line in lines:
            say(line)
        _follow(context, plan, submitted)
        return
    before = _leave(plan.left_alone, lambda outcome: _tell(outcome, plan))
    if context.json:
        print_json(
            [
                {**one.planned.task._asdict(), "folder": str(one.planned.folder), "job": one.job.job_id}
                for one in submitted
            ]
        )
    else:
        for line in lines:
            print(line)
    refuse_failures(before, plan)


def _follow(context: Context, plan: Plan, submitted: list[Submitted]) -> None:
    """Wait for jobs, print the scores of all runs that are finished, and raise if some failed."""
    from objbench.launch.jobs import follow
    from objbench.launch.work import refuse_failures

    done: list[tuple[Path, Record]] = []
    note = _noting(context, plan, done)
    before = _leave(plan.left_alone, note)
    outcomes = follow(submitted, context.interrupts, note)
    _print_json(context, done)
    refuse_failures(before + outcomes, plan)


def _noting(context: Context, plan: Plan, done: list[tuple[Path, Record]]) -> Callable[[Outcome], None]:
    """What tells of a run that has ended: prints its scores, or why it failed, and adds its record to `done`."""

    def note(outcome: Outcome) -> None:
        if not context.ranks.first:
            return  # it prints nothing, and may not see the folder
        _tell(outcome, plan)
        if (record := outcome.record) is not None:
            done.append((outcome.folder, record))
            if not context.json:
                print_scores(record, list(record.metrics), plan.spec)
                print(f"  {outcome.folder}", flush=True)

    return note


def _tell(outcome: Outcome, plan: Plan) -> None:
    """Say why a run failed, if that is not the last word, or that another process is at work on it."""
    from objbench.train.run_state import run_state

    if outcome.elsewhere:
        say(f"{outcome.task}: {run_state(outcome.folder)}; left to it")
    elif outcome.failure is not None and len(plan.runs) > 1:
        say(f"{outcome.task}: {outcome.failure}")


def _print_json(context: Context, done: list[tuple[Path, Record]]) -> None:
    if context.json:
        print_json([{"folder": str(folder), **record.model_dump()} for folder, record in done])


def carry_out(context: Context, plan: Plan) -> None:
    """Run what is open, print the scores of all runs that are finished, and raise if some failed."""
    from objbench.launch.work import Worker, refuse_failures, run_here

    done: list[tuple[Path, Record]] = []
    note = _noting(context, plan, done)
    context.interrupts.advice = _GO_ON
    if plan.request.launcher == "local":
        outcomes = _in_a_pool(context, plan, note)
    else:
        worker = Worker(plan.request, plan.spec, context.interrupts, say, context.debug, context.ranks)
        outcomes = run_here(worker, plan.runs, note)
    _print_json(context, done)
    refuse_failures(outcomes, plan)


def _in_a_pool(context: Context, plan: Plan, note: Callable[[Outcome], None]) -> list[Outcome]:
    from objbench.data.workers import available
    from objbench.launch.pool import Pool, devices_of, seats

    places = seats(plan.request.workers, devices_of(plan.request.device), available())
    before = _leave([planned for planned in plan.left_alone if planned.state.state == "finished"], note)
    return before + Pool(plan, places, context.interrupts, say).run(note)


def _leave(runs: list[Planned], note: Callable[[Outcome], None]) -> list[Outcome]:
    """The outcomes of runs that are finished, or at work elsewhere, before anything was done; `note` is told of each."""
    outcomes = [_left_alone(planned) for planned in runs]
    for outcome in outcomes:
        note(outcome)
    return outcomes


def _left_alone(planned: Planned) -> Outcome:
    from objbench.launch.work import Outcome

    if planned.state.state == "at work":
        return Outcome(planned.task, planned.folder, elsewhere=True)
    fault = _fault(planned)
    if fault is None:
        say(f"{planned.task}: finished before; --fresh runs it again")
    return Outcome(planned.task, planned.folder, failure=fault)


def _fault(planned: Planned) -> str | None:
    """Why the record of a finished run cannot be used; None if it can."""
    from objbench.errors import ObjbenchError
    from objbench.train.run_folder import refuse_other_record

    try:
        refuse_other_record(planned.folder)
    except ObjbenchError as error:
        return str(error)
    return None


def print_scores(record: Record, keys: list[str], spec: Spec) -> None:
    """One line per evaluation, values as tables print them."""
    for key in keys:
        scores = record.metrics[key]
        values = [
            f"{name} {spec.metric(name).format(value.mean)}{over_images(value.n, scores.n_images)}"
            for name, value in scores.values.items()
        ]
        images = f"{scores.n_images} images"
        if scores.crowded is not None:
            images += f", {scores.crowded} with more objects than predicted planes"
        if scores.repeated is not None:
            images += f", {scores.repeated} of the training split"
        where = f"{record.method_label} seed {record.seed} on {key}"
        print(printable(f"{where} ({images}): {'  '.join(values)}"))
