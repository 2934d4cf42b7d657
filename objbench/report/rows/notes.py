"""The texts of footnotes: in what a number differs from what its column stands for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from objbench.registry import DEFAULT_DEFINITION
from objbench.report.rows.images import same_images
from objbench.report.rows.row import (
    Images,
    Measured,
    MethodId,
    Published,
    Row,
    Statistic,
    Training,
)
from objbench.scores import Scored
from objbench.spec.datasets import TEST
from objbench.spec.metrics import NOT_STATED
from objbench.spec.schema import Spec


def with_notes(rows: Iterable[Measured], spec: Spec) -> list[Measured]:
    """Add its notes to each row, with names for people; some compare it with the other rows of the same dataset and protocol."""
    rows = list(rows)
    members: dict[str, list[Measured]] = {}
    for row in rows:
        members.setdefault(row.dataset_ref, []).append(row)
    varying = {dataset: _Varying(found) for dataset, found in members.items()}
    return [
        replace(
            row,
            notes=tuple(_notes(row, varying[row.dataset_ref], spec)),
            mixed=varying[row.dataset_ref].mixed(row),
        )
        for row in rows
    ]


def published_notes(row: Published) -> tuple[str, ...]:
    """The notes of published numbers: protocol, kind of std, conditions, selection, remarks."""
    seeds = f" over {row.n} seeds" if row.n else ""
    parts = [_stated("protocol", row.protocol)]
    if any(value.std is not None for value in row.values.values()):
        parts.append(f"± {_stated('kind of std', row.std_kind)}{seeds}")
    if row.quoted_in:
        parts.append(f"as quoted in {row.quoted_in}")
    if row.selection_note is None:
        return ("; ".join(parts), *row.conditions, *row.remarks)
    return ("; ".join(parts), *row.conditions, row.selection_note, *row.remarks)


def cell_notes(row: Row, metric: str) -> list[str]:
    """The notes of one value: another definition of its metric, the device of a cost, missing seeds."""
    value = row.values[metric]
    if isinstance(row, Measured):
        if value.metric.cost:
            return [f"on {', '.join(row.devices)}"]
        seeds = len(value.seeds)
        missing = [f"{value.metric.title}: of {seeds} of the {row.n} seeds, the others have none"] * (
            seeds != row.n
        )
        return [*missing, *_images_notes(row, metric)]
    if value.metric.cost or row.definitions[metric] == value.metric.meaning != NOT_STATED:
        return []
    return [f"{value.metric.title}: {_stated('definition', row.definitions[metric])}"]


def seed_notes(row: Row, metric: str, seed: int) -> list[str]:
    """The notes of the value of one seed: the number of images, if the metric is undefined for some."""
    images = row.values[metric].images.get(seed)
    return [f"{row.values[metric].metric.title}: {images.note}"] if images and images.note else []


def _images_notes(row: Measured, metric: str) -> list[str]:
    """Over how many images the value is a mean, if that is not the whole split, or not the same for all rows."""
    counts, mixed = row.values[metric].n_images, metric in row.mixed
    if not counts or (not mixed and counts == (row.n_images,)):
        return []
    shown = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,} (by seed)"
    others = "; not comparable with rows that are means over other images" if mixed else ""
    return [f"{row.values[metric].metric.title}: mean over {shown} of {row.n_images:,} images{others}"]


class _Varying:
    """In what the measured rows of one dataset differ: fingerprint, resolution, training size, slots, configuration."""

    def __init__(self, rows: Iterable[Measured]) -> None:
        self.fingerprints: dict[str, set[str]] = {}  # of each split
        self.training_splits: dict[tuple[str, int], set[str]] = {}  # their fingerprints, by name and size
        self.guides: dict[
            MethodId, set[str | None]
        ] = {}  # fingerprints of the val splits that guided a method
        self.resolutions: set[tuple[int, int]] = set()
        self.training_sizes: set[int] = set()
        self.slots: set[int] = set()
        self.configurations: dict[object, set[tuple[str, int]]] = {}
        self.averages: dict[tuple[Scored, str], dict[frozenset[Images], Statistic]] = {}
        for row in rows:
            self.fingerprints.setdefault(row.scored.split, set()).add(row.scored.fingerprint)
            self.resolutions.add((row.scored.height, row.scored.width))
            for metric, value in row.values.items():
                distinct = self.averages.setdefault((row.scored, metric), {})
                distinct.setdefault(frozenset(value.images.values()), value)
            if row.slots is not None:
                self.slots.add(row.slots)
            if row.learned:
                self.training_sizes.add(row.learned.n_train)
                same = self.training_splits.setdefault(_training_split(row.learned), set())
                same.add(row.learned.train_fingerprint)
                self.guides.setdefault(row.who, set()).add(row.learned.val_fingerprint)
            if row.trained:
                of_method = self.configurations.setdefault(row.who, set())
                of_method.add((row.trained.config_hash, row.trained.steps))

    def scored_notes(self, row: Measured) -> list[str]:
        """In what the scenes of `row` differ from those of other rows."""
        on, notes = row.scored, []
        if len(self.fingerprints[on.split]) > 1:
            notes.append(f"{on.split} split of fingerprint {on.fingerprint[:12]} ({on.source})")
        if len(self.resolutions) > 1:
            notes.append(f"scored at {on.height}x{on.width}")
        return notes

    def method_notes(self, row: Measured) -> list[str]:
        """In what the training and the model of `row` differ from those of other rows."""
        notes = []
        if row.learned and not row.learned.shortened and len(self.training_sizes) > 1:
            notes.append(f"trained on {row.learned.n_train:,} scenes")
        if row.learned and len(self.training_splits[_training_split(row.learned)]) > 1:
            notes.append(f"train split of fingerprint {row.learned.train_fingerprint[:12]}")
        if row.learned and len(self.guides[row.who]) > 1:
            guide = row.learned.val_fingerprint
            notes.append(
                f"guided by a val split of fingerprint {guide[:12]}" if guide else "guided by no val split"
            )
        if len(self.slots) > 1 and row.slots == row.dataset_slots is not None:
            notes.append(f"{row.slots} slots")
        if row.trained and len(self.configurations[row.who]) > 1:
            notes.append(f"configuration {row.trained.config_hash[:12]}, {row.trained.steps:,} steps")
        return notes

    def mixed(self, row: Measured) -> frozenset[str]:
        """The metrics of `row` that another row, scored on the same split, averages over other images."""
        return frozenset(
            metric
            for metric, value in row.values.items()
            for images, other in self.averages[row.scored, metric].items()
            if images != frozenset(value.images.values()) and not same_images(value, other)
        )


def _notes(row: Measured, varying: _Varying, spec: Spec) -> list[str]:
    on, notes = row.scored, []
    if on.generator is not None:
        made = ", ".join(f"{key} {value}" for key, value in on.generator.items() if key != "stand_in")
        what = "a stand-in for the upstream release, not a copy of it" if "stand_in" in on.generator else ""
        notes.append(f"generated data, {what or 'not the upstream release'} (generator {made})")
    if not row.default_protocol and on.dataset in spec.datasets:
        notes.append(f"protocol {on.protocol}, not the default one of {spec.dataset_title(on.dataset)}")
    if on.split != TEST:
        notes.append(f"scored on the {on.split} split, not on test")
    if not on.standard:
        notes.append(f"not the protocol's standard {on.split} split ({row.n_images:,} images)")
    if row.trained and row.trained.trained_on != on.place:
        done = "trained" if row.learned else "run"  # a trivial method learns nothing there, and has its slots
        notes.append(f"{done} on {spec.place_title(row.trained.trained_on)}")
    notes += _shortened(row)
    if row.masks is not None:
        notes.append(f"scored by its {row.masks} masks, not by those that it segments with")
    notes += _slots_notes(row, spec)
    if row.crowded is not None:
        notes.append(f"{row.crowded:,} of {row.n_images:,} images have more objects than predicted planes")
    if row.repeated is not None:
        notes.append(f"{row.repeated:,} of {row.n_images:,} images are in the training split, too")
    notes += varying.scored_notes(row)
    notes += varying.method_notes(row)
    if on.definition != DEFAULT_DEFINITION:
        notes.append(f"scored as {on.definition} defines the metrics, not as {DEFAULT_DEFINITION}")
    if row.kind == "external":
        place = row.said_of_training
        said = f", said to be trained on {spec.place_title(place)}" if place else ""
        notes.append(f"predictions made outside objbench{said}")
    releases = dict.fromkeys(version.partition("+")[0] for version in row.made_by("code_version"))
    if len(releases) > 1:
        notes.append(f"by objbench {' and '.join(releases)}")
    return notes + _chosen(row)


def method_notes(rows: Sequence[Measured], spec: Spec) -> list[list[str]]:
    """In what the model of each row differs from its recipe and from those of the others, wherever they were scored."""
    varying = _Varying(rows)
    return [
        [*_shortened(row), *_slots_notes(row, spec), *varying.method_notes(row), *_chosen(row)]
        for row in rows
    ]


def _training_split(learned: Training) -> tuple[str, int]:
    return learned.trained_on, learned.n_train


def _shortened(row: Measured) -> list[str]:
    return [row.trained.shortened] if row.trained and row.trained.shortened else []


def _chosen(row: Measured) -> list[str]:
    """Settings and seeds that somebody chose."""
    notes = [f"with {row.who.settings}"] if row.who.overrides else []
    return notes if row.selection_note is None else [*notes, row.selection_note]


def _slots_notes(row: Measured, spec: Spec) -> list[str]:
    """The number of slots, unless the dataset has as many."""
    notes = []
    if row.slots is not None and row.slots != row.dataset_slots:
        there = f", {spec.dataset_title(row.dataset)} has {row.dataset_slots}" if row.dataset_slots else ""
        notes.append(f"{row.slots} slots{there}")
    if row.trained and row.evaluation_slots is not None:
        notes.append(f"evaluated with {row.evaluation_slots} slots, trained with {row.trained.slots}")
    return notes


def _stated(what: str, text: str) -> str:
    if text == NOT_STATED:
        return f"{what} not stated"
    return f"{text} std" if what == "kind of std" else text
