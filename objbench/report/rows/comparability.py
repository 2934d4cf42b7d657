"""What may stand beside what: the footnotes that set rows apart, and the refusal of a mixed table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from objbench.registry import DEFAULT_DEFINITION
from objbench.report.rows.row import ALL_SEEDS, Row
from objbench.spec.datasets import TEST
from objbench.spec.metrics import NOT_STATED


class Peers:
    """The measured ones of the rows that stand together on one dataset: about what they disagree."""

    def __init__(self, rows: Iterable[Row]) -> None:
        measured = [row for row in rows if not row.published]
        self.fingerprints = {row.fingerprint for row in measured}
        self.resolutions = {row.resolution for row in measured}
        self.training_sizes = {row.n_train for row in measured if row.steps}
        self.configurations: dict[tuple[object, ...], set[tuple[object, ...]]] = {}
        for row in measured:
            if row.steps is not None:
                found = self.configurations.setdefault(_method(row), set())
                found.add((row.config_hash, row.steps))

    @classmethod
    def by_dataset(cls, rows: Iterable[Row]) -> dict[str, Peers]:
        """The peers on each dataset."""
        members: dict[str, list[Row]] = {}
        for row in rows:
            members.setdefault(row.dataset, []).append(row)
        return {dataset: cls(found) for dataset, found in members.items()}


def _method(row: Row) -> tuple[object, ...]:
    return (row.kind, row.label, tuple(sorted((key, str(value)) for key, value in row.overrides.items())))


def row_notes(row: Row, peers: Peers) -> list[str]:
    """What sets `row` apart from what its column stands for; it is one of the `peers` itself."""
    return _published_notes(row) if row.published else _measured_notes(row, peers)


def cell_notes(row: Row, metric: str) -> list[str]:
    """What sets one value apart: a definition that is not the one of that name here, a cost's device, missing seeds."""
    value = row.values[metric]
    if value.metric.cost and row.devices:
        return [f"on {', '.join(row.devices)}"]
    if not row.published and len(value.seeds) != row.n:
        return [f"{metric}: of {len(value.seeds)} of the {row.n} seeds, the others have none"]
    if not row.published or value.metric.cost:
        return []
    definition = row.definitions[metric]
    same = definition == value.metric.meaning != NOT_STATED
    return [] if same else [f"{metric}: {_stated('definition', definition)}"]


def _published_notes(row: Row) -> list[str]:
    seeds = f" over {row.n} seeds" if row.n else ""
    parts = [_stated("protocol", row.protocol)]
    if any(value.std is not None for value in row.values.values()):
        parts.append(f"± {_stated('kind of std', row.std_kind)}{seeds}")
    if row.quoted_in:
        parts.append(f"as quoted in {row.quoted_in}")
    selection = [] if row.selection == ALL_SEEDS else [row.selection]
    return ["; ".join(parts), *selection, *row.notes]


def _stated(what: str, text: str) -> str:
    if text == "not stated":
        return f"{what} not stated"
    return f"{text} std" if what == "kind of std" else text


def _measured_notes(row: Row, peers: Peers) -> list[str]:
    notes = []
    if row.generator is not None:
        made = ", ".join(f"{key} {value}" for key, value in row.generator.items() if key != "stand_in")
        what = "a stand-in for the upstream release, not a copy of it" if "stand_in" in row.generator else ""
        notes.append(f"generated data, {what or 'not the upstream release'} (generator {made})")
    if not row.default_protocol:
        notes.append(f"protocol {row.protocol}, not the default one of {row.dataset}")
    if row.split != TEST:
        notes.append(f"scored on the {row.split} split, not on test")
    if not row.standard:
        notes.append(f"not the protocol's standard {row.split} split ({row.n_images:,} images)")
    scored_on = f"{row.dataset}@{row.protocol}/{row.source}"
    if row.trained_on != scored_on and row.steps:
        notes.append(f"trained on {row.trained_on}")
    if row.short_training:
        notes.append(row.short_training)
    notes += _odd_ones(row, peers)
    if row.definition != DEFAULT_DEFINITION:
        notes.append(f"scored as {row.definition} defines the metrics, not as {DEFAULT_DEFINITION}")
    if row.kind == "external":
        notes.append("predictions made outside objbench")
    if row.overrides:
        notes.append("with " + ", ".join(f"{key}={value}" for key, value in row.overrides.items()))
    if row.selection != ALL_SEEDS:
        notes.append(row.selection)
    return notes


def _odd_ones(row: Row, peers: Peers) -> list[str]:
    """What is said only where the measured rows of a dataset disagree about it."""
    notes = []
    if len(peers.fingerprints) > 1:
        notes.append(f"{row.split} split of fingerprint {(row.fingerprint or '')[:12]} ({row.source})")
    if len(peers.resolutions) > 1 and row.resolution:
        notes.append(f"scored at {row.resolution[0]}x{row.resolution[1]}")
    if row.steps and not row.short_training and len(peers.training_sizes) > 1:
        notes.append(f"trained on {row.n_train:,} scenes")
    if row.steps is not None and len(peers.configurations[_method(row)]) > 1:
        notes.append(f"configuration {(row.config_hash or '')[:12]}, {row.steps:,} steps")
    return notes


def conflicts(rows: Iterable[Row], metrics: Sequence[str]) -> list[str]:
    """One line per row of a dataset that cannot be compared with the first row of it, measured ones first."""
    by_dataset: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.published):
        by_dataset.setdefault(row.dataset, []).append(row)
    lines = []
    for dataset, members in by_dataset.items():
        reference = members[0]
        for row in members[1:]:
            if reasons := differences(row, reference, metrics):
                lines.append(
                    f"{dataset}: {describe(row)} against {describe(reference)}: " + ", ".join(reasons)
                )
    return lines


def describe(row: Row) -> str:
    """A row in the words of a message: `objmae (generated)` or `monet (greff2019)`."""
    return f"{row.label} ({row.citation if row.published else row.source})"


def best(rows: Iterable[Row], metric: str, printed: Callable[[float], float]) -> set[int]:
    """The ids of the rows of one dataset that are better than one they may be compared with, and worse than none.

    printed: a mean as it will be read; what reads the same is neither better nor worse.
    """
    classes: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        value = row.values[metric]
        if value.metric.better is not None and not math.isnan(value.mean):
            classes.setdefault(_standing(row, metric), []).append(row)
    values = {
        id(row): row.values[metric].metric.sign * printed(row.values[metric].mean)
        for members in classes.values()
        for row in members
    }
    found: set[int] = set()
    for members in classes.values():
        others = [c for c in classes.values() if comparable(members[0], c[0], metric)]
        rivals = [values[id(row)] for c in others for row in c]
        if rivals:
            low, high = min(rivals), max(rivals)
            found |= {id(row) for row in members if values[id(row)] >= high and values[id(row)] > low}
    return found


def comparable(one: Row, other: Row, metric: str) -> bool:
    """Whether the values of `metric` may be compared: no conflict, and both over all seeds or over a like selection."""
    if one.selected != other.selected or (one.selected and one.selection != other.selection):
        return False
    row, reference = (one, other) if one.published else (other, one)
    return not differences(row, reference, [metric])


def _standing(row: Row, metric: str) -> tuple[object, ...]:
    """All of a row that `comparable` looks at: rows of the same standing may be compared with the same rows."""
    trained = (row.trained_on, row.n_train, row.standard_n_train) if row.steps else None
    scored = (row.protocol, row.source, row.split, row.standard, row.n_images, row.fingerprint)
    made = tuple(sorted(row.generator.items())) if row.generator is not None else None
    measured = (row.resolution, row.definition, made, trained)
    said = (row.published, row.test_id, row.definitions.get(metric), row.selection if row.selected else None)
    return (*scored, *measured, *said)


def differences(row: Row, reference: Row, metrics: Sequence[str]) -> list[str]:
    """Why `row` cannot be compared with `reference`, a measured one wherever either is; nothing if it can."""
    if row.published:
        reasons = _protocol_difference(row, reference)
    else:
        reasons = [
            f"{name} {mine!s:.40} is not {theirs!s:.40}"
            for name, mine, theirs in (
                ("protocol", row.protocol, reference.protocol),
                ("source", row.source, reference.source),
                ("split", row.split, reference.split),
                ("generator", row.generator, reference.generator),
                ("standard split", row.standard, reference.standard),
                ("number of images", row.n_images, reference.n_images),
                ("fingerprint", row.fingerprint, reference.fingerprint),
                ("resolution", row.resolution, reference.resolution),
                ("definition of metrics", row.definition, reference.definition),
            )
            if mine != theirs
        ]
        if row.steps and reference.steps:
            reasons += _training_difference(row, reference)
    for metric in metrics:
        value = row.values.get(metric)
        if value is None or value.metric.cost:
            continue
        mine = row.definitions.get(metric)
        theirs = reference.definitions.get(metric, value.metric.meaning if mine else None)
        if mine == NOT_STATED or mine != theirs:
            reasons.append(f"{metric} is '{mine}', not '{theirs}'")
    return reasons


def _training_difference(row: Row, reference: Row) -> list[str]:
    if row.trained_on != reference.trained_on:
        return [f"trained on {row.trained_on}, not {reference.trained_on}"]
    if row.n_train != reference.n_train:
        return [f"trained on {row.n_train:,} scenes, not {reference.n_train:,}"]
    return []


def _protocol_difference(row: Row, reference: Row) -> list[str]:
    if row.test_id is not None and row.test_id == reference.test_id:
        if reference.published or not reference.steps:
            return []
        own = f"{reference.dataset}@{reference.protocol}/{reference.source}"
        if reference.trained_on is not None and reference.trained_on != own:
            return [f"trained on {reference.trained_on}"]
        return [reference.short_training] if reference.short_training else []
    if reference.published and row.protocol == reference.protocol != "not stated":
        return []
    theirs = reference.protocol if reference.published else f"{reference.protocol}/{reference.source}"
    return [f"protocol '{row.protocol}' is not '{theirs}'"]
