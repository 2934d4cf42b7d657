"""The plan of a command: every run that it asks for, where it lives and what is to be done about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from objbench.errors import ObjbenchError, RequestError, first_few
from objbench.launch.request import RunRequest, Task
from objbench.methods.create import build
from objbench.parts import Part
from objbench.ranks.group import Ranks
from objbench.spec.datasets import DatasetRef
from objbench.spec.resolve import MethodConfig, borrowed_settings, parse_assignments, resolve
from objbench.spec.schema import Spec
from objbench.train.run import run_config
from objbench.train.run_data import RunData, generated_source, prepared_run_data
from objbench.train.run_folder import other_configuration, seed_folder
from objbench.train.run_state import RunState, State, run_state


@dataclass(frozen=True)
class Planned:
    """One run of a plan.

    Attributes:
        task: What is run.
        method: Its resolved configuration.
        folder: Where it lives.
        state: What its folder says: finished, at work elsewhere, to go on, to start, failed before.
    """

    task: Task
    method: MethodConfig
    folder: Path
    state: RunState


@dataclass(frozen=True)
class Plan:
    """The runs that a command asks for, in order.

    Attributes:
        request: The command.
        spec: The benchmarks as it sees them.
        runs: Its runs, or a part of them.
        whole: Their number before a part was taken.
        notes: What a person must know of the settings.
    """

    request: RunRequest
    spec: Spec
    runs: tuple[Planned, ...]
    whole: int
    notes: tuple[str, ...] = ()

    def part(self, part: Part) -> Plan:
        """The share of one of several processes: every n-th run, whatever its state, so that the shares never change."""
        return replace(self, runs=tuple(part.share(self.runs)))

    @property
    def open(self) -> list[Planned]:
        """The runs to carry out: neither finished nor at work elsewhere, unless all are run afresh.

        A finished run is looked at again if its predictions are to be kept, or if only the scenes in memory tell whether
        it is the run that is asked for.
        """
        return [planned for planned in self.runs if planned.state.state not in self._closed]

    @property
    def left_alone(self) -> list[Planned]:
        """The other runs."""
        return [planned for planned in self.runs if planned.state.state in self._closed]

    @property
    def to_try(self) -> list[Planned]:
        """The runs to carry out, and behind them those that seem to be at work: only their lock tells whether they are."""
        return self.open + [planned for planned in self.left_alone if planned.state.state == "at work"]

    @property
    def _closed(self) -> set[State]:
        """The states of runs that are not carried out."""
        if self.request.fresh:
            return set()
        if self.request.keep or self.request.in_memory:
            return {"at work"}
        return {"finished", "at work"}


def make_plan(request: RunRequest) -> Plan:
    """Resolve every run of a request. Nothing is read but manifests and what stands in the folders of runs.

    Raises:
        RequestError: Anything that can be known to be wrong before data is read: a name, a key or value, a folder with a
            run of another configuration.
        ObjbenchError: A dataset is not prepared.
    """
    spec = request.spec()
    overrides = parse_assignments(list(request.assignments))
    references = {name: spec.dataset(name) for name in request.datasets}
    methods: dict[tuple[str, str], MethodConfig] = {}
    guided: list[tuple[str, str]] = []  # by their scores on val
    notes = []
    for dataset, reference in references.items():
        for method in request.methods:
            resolved = resolve(spec, method, reference, overrides)
            model = build(resolved, reference)  # refuses wrong values
            for stage in model.stages():
                stage.check_length()
            methods[method, dataset] = resolved
            if model.follows_val():
                guided.append((method, dataset))
            notes.append(borrowed_settings(spec, method, reference))
    # Only now: what is wrong in the request is said before anybody prepares a dataset for it.
    data = {name: _Data(request, spec, reference) for name, reference in references.items()}
    for method, dataset in guided:
        if not (data[dataset].has_val and methods[method, dataset].config["recipe"]["evaluations"]):
            notes.append(
                f"{method} on {dataset}: its learning rate follows its scores on val, of which there will be none; it stays "
                "as it is at first"
            )
    runs = []
    for task in request.tasks:
        resolved, where = methods[task.method, task.dataset], data[task.dataset]
        folder = seed_folder(request.runs, str(where.reference), where.source, resolved.label, task.seed)
        runs.append(Planned(task, resolved, folder, run_state(folder)))
    _refuse_twice(runs)
    plan = Plan(request, spec, tuple(runs), len(runs), tuple(filter(None, notes)))
    if not request.fresh:
        _refuse_others(plan, data)
    return plan


def refuse_different_plans(ranks: Ranks, plan: Plan) -> None:
    """Refuse, in all processes that share the runs, plans that are not the same.

    Raises:
        RequestError: They are not.
    """
    request = plan.request
    ranks.refuse_difference(
        {
            "runs": [str(planned.task) for planned in plan.runs],
            "settings": {planned.task.method: planned.method.identity for planned in plan.runs},
            "options": {
                "fresh": request.fresh,
                "keep": request.keep is not None,
                "in_memory": request.in_memory,
            },
        }
    )


class _Data:
    """What a plan must know of a dataset: its source, and its fingerprints where it is prepared."""

    def __init__(self, request: RunRequest, spec: Spec, reference: DatasetRef) -> None:
        self.reference = reference
        self.prepared: RunData | None = None
        if request.in_memory:
            self.source = generated_source(spec, reference, request.sizes)
            rules = reference.rule.sources[self.source]
            self.has_val = "val" in rules and request.sizes.get("val") != 0
        else:
            self.prepared = prepared_run_data(spec, reference, request.source, request.data, "cpu")
            self.source = self.prepared.source
            self.has_val = "val" in self.prepared.manifest.splits


def _refuse_twice(runs: Sequence[Planned]) -> None:
    """Refuse two names for one run, such as a dataset with and without its default protocol."""
    known: dict[Path, Task] = {}
    for planned in runs:
        other = known.setdefault(planned.folder, planned.task)
        if other is not planned.task:
            raise RequestError(
                f"{other} and {planned.task} are the same run, {planned.folder}: leave out one of them"
            )


def _refuse_others(plan: Plan, data: dict[str, _Data]) -> None:
    """Refuse folders that hold runs of another configuration, all at once and before any work."""
    refused = []
    for planned in plan.runs:
        prepared = data[planned.task.dataset].prepared
        if prepared is None:  # scenes in memory have no fingerprint before they are made
            continue
        try:
            other = other_configuration(
                planned.folder, run_config(planned.method, prepared, planned.task.seed)
            )
        except ObjbenchError as error:  # its config.json is damaged
            other = str(error)
        if other is not None:
            refused.append(other)
    if len(refused) == 1:
        raise RequestError(refused[0])
    if refused:
        raise RequestError(f"{len(refused)} folders cannot be gone on with: {first_few(refused)}")
