"""The runs behind the measured rows of a report, and what is told of each: its provenance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from objbench.records import Record, Scored
from objbench.report.rows.records import FoundRecord
from objbench.report.rows.row import Row
from objbench.report.tables.plan import Plan
from objbench.spec.resolve import digest

_FOLDERS = 4  # DATASET/SOURCE/METHOD/seed-N: what lies above them belongs to one machine


@dataclass(frozen=True)
class Run:
    """A record that some row counts; `evaluations` are the keys of its scores that the rows are made of."""

    id: str
    folder: Path
    record: Record
    evaluations: tuple[str, ...]

    @property
    def label(self) -> str:
        """`METHOD[:VARIANT]`, as rows are labelled."""
        return self.record.method_label

    @property
    def overrides(self) -> str:
        """The overrides as `key=value, ...`; empty where there are none."""
        return ", ".join(f"{key}={value}" for key, value in self.record.overrides.items())

    @property
    def series(self) -> str:
        """What the seeds of one configuration share: the label, and the overrides where there are any."""
        return f"{self.label} ({self.overrides})" if self.record.overrides else self.label

    @property
    def trained_on(self) -> str:
        """`DATASET@PROTOCOL/SOURCE`."""
        return f"{self.record.dataset_ref}/{self.record.source}"

    @property
    def generated(self) -> bool:
        """Whether any of the scores is on generated data."""
        return any(self.record.scored[key].generator is not None for key in self.evaluations)


def runs_of(plans: Sequence[Plan], found: Iterable[FoundRecord]) -> list[Run]:
    """Every record that a measured row of `plans` counts, once, in the order of the rows and of the seeds."""
    places = _places(plans)
    chosen: dict[tuple[object, ...], tuple[tuple[int, int], FoundRecord, list[str]]] = {}
    for item in found:
        record = item.record
        keys = {key: _of_record(record, scored) for key, scored in record.scored.items()}
        counted = [key for key, identity in keys.items() if (identity, record.seed) in places]
        if counted:
            first = min(places[keys[key], record.seed] for key in counted)
            same = (record.fingerprint, record.seed, *sorted(str(keys[key]) for key in counted))
            chosen.setdefault(same, ((first, record.seed), item, counted))
    ordered = sorted(chosen.values(), key=lambda entry: entry[0])
    return [
        Run(f"r{i}", item.path.parent, item.record, tuple(keys)) for i, (_, item, keys) in enumerate(ordered)
    ]


def _places(plans: Sequence[Plan]) -> dict[tuple[tuple[object, ...], int], int]:
    """(what a row is of, seed) -> where the first such row stands."""
    places: dict[tuple[tuple[object, ...], int], int] = {}
    for place, row in enumerate(row for plan in plans for row in plan.rows if not row.published):
        for value in row.values.values():
            for seed in value.seeds:
                places.setdefault((_of_row(row), seed), place)
    return places


def _of_row(row: Row) -> tuple[object, ...]:
    scored = (row.dataset, row.protocol, row.source, row.split, row.fingerprint, row.definition)
    trained = (row.trained_on, row.n_train, row.steps, row.config_hash)
    return (row.kind, row.method, row.variant, digest(dict(row.overrides)), *trained, *scored)


def _of_record(record: Record, scored: Scored) -> tuple[object, ...]:
    on = (scored.dataset, scored.protocol, scored.source, scored.split, scored.fingerprint, scored.definition)
    trained_on = f"{record.dataset_ref}/{record.source}" if record.kind == "run" else None
    trained = (trained_on, record.n_train, record.steps, record.config_hash)
    return (record.kind, record.method, record.variant, digest(record.overrides), *trained, *on)


def facts(run: Run) -> list[tuple[str, str]]:
    """What the record says of how the run came about, in the order of reading; what it does not know is left out."""
    record = run.record
    told: list[tuple[str, str | None]] = [
        ("kind", "predictions made outside objbench" if record.kind == "external" else None),
        ("configuration", record.config_hash),
        ("training set", run.trained_on),
        ("training fingerprint", record.fingerprint),
        ("training scenes", _count(record.n_train)),
        ("steps", _count(record.steps)),
        ("parameters", _count(record.parameters)),
        ("wall time", duration(record.wall_seconds)),
        ("training time", duration(record.train_seconds)),
        ("training images/s", _count(record.images_per_second)),
        ("peak memory", _bytes(record.peak_memory_bytes)),
        ("device", record.device),
        ("date", record.date),
        ("objbench", record.code_version),
        ("torch", record.torch_version),
        ("folder", "/".join(run.folder.parts[-_FOLDERS:])),
    ]
    return [(name, value) for name, value in told if value is not None]


def tested_on(run: Run) -> list[tuple[str, list[tuple[str, str]]]]:
    """For each evaluation that the rows use: where, and on what exactly."""
    told = []
    for key in run.evaluations:
        on = run.record.scored[key]
        made = None
        if on.generator is not None:
            made = "generated, " + ", ".join(f"{name} {value}" for name, value in on.generator.items())
        entries: list[tuple[str, str | None]] = [
            ("fingerprint", on.fingerprint),
            ("images", f"{run.record.metrics[key].n_images:,} of {on.height}x{on.width}"),
            ("split", "standard" if on.standard else "not the protocol's standard split"),
            ("data", made),
            ("metrics", f"as {on.definition} defines them"),
        ]
        name = f"{on.dataset}@{on.protocol}/{on.source}:{on.split}"
        told.append((name, [(entry, value) for entry, value in entries if value is not None]))
    return told


def duration(seconds: float | None) -> str | None:
    """`1 h 05 min`, `12 min 03 s` or `4.2 s`."""
    if seconds is None:
        return None
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _count(value: float | None) -> str | None:
    return None if value is None else f"{value:,.0f}"


def _bytes(value: int | None) -> str | None:
    return None if value is None else f"{value / 2**20:,.0f} MiB"
