"""The runs behind the measured rows of a report, and the provenance of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from objbench.progress import duration
from objbench.records import External, Run, Trained
from objbench.report.rows.row import Measured
from objbench.report.rows.titles import title_of
from objbench.report.tables.plan import Plan
from objbench.spec.schema import Spec

_FOLDERS = 4  # DATASET/SOURCE/METHOD/seed-N: what lies above them belongs to one machine


@dataclass(frozen=True)
class ShownRun:
    """A record behind some row.

    Attributes:
        id: Identifies it on the page.
        title: The name of its method in tables.
        evaluations: The keys of its scores that the rows are made of.
    """

    id: str
    folder: Path
    record: Run | External
    title: str
    evaluations: tuple[str, ...]

    @property
    def overrides(self) -> str:
        """The overrides as `key=value, ...`; empty if there are none."""
        return ", ".join(f"{key}={value}" for key, value in self.record.overrides.items())

    @property
    def series(self) -> str:
        """The name that all seeds of one configuration share: the title, and the overrides if there are any."""
        return f"{self.title} ({self.overrides})" if self.record.overrides else self.title

    @property
    def generated(self) -> bool:
        """Whether any of the scores is on generated data."""
        return any(self.record.scored[key].generator is not None for key in self.evaluations)


def runs_of(plans: Sequence[Plan], spec: Spec) -> list[ShownRun]:
    """Find the records behind the measured rows of `plans`, each once, in the order of the rows and of their seeds."""
    records: dict[Path, Run | External] = {}
    used: dict[Path, set[str]] = {}
    for row in (row for plan in plans for row in plan.rows if isinstance(row, Measured)):
        for _, origin in sorted(row.origins.items()):
            records[origin.folder] = origin.record
            used.setdefault(origin.folder, set()).add(origin.key)
    return [
        ShownRun(
            f"r{i}",
            folder,
            record,
            title_of(record, spec),
            tuple(key for key in record.scored if key in used[folder]),
        )
        for i, (folder, record) in enumerate(records.items())
    ]


def facts(run: ShownRun) -> list[tuple[str, str]]:
    """The provenance of a run, as (name, value) in the order of reading."""
    record = run.record
    made = [
        ("device", record.device),
        ("date", record.date),
        ("objbench", record.code_version),
        ("torch", record.torch_version),
        ("folder", "/".join(run.folder.parts[-_FOLDERS:])),
    ]
    if not isinstance(record, Run):
        said = [("said to be trained on", record.trained_on)] if record.trained_on else []
        return [("kind", "predictions made outside objbench"), *said, *made]
    titles = {name: field.title or name for name, field in Trained.model_fields.items()}
    speed = record.images_per_second
    return [
        ("training set", record.place),
        ("training fingerprint", record.fingerprint),
        *((titles[name], _text(value)) for name, value in record.trained if value is not None),
        ("parameters", _text(record.parameters)),
        ("wall time", _time(record.wall_seconds)),
        ("training time", _time(record.train_seconds)),
        *([("training images/s", f"{speed:,.0f}")] if speed is not None else []),
        ("peak memory of the last process", f"{record.peak_memory_bytes / 2**20:,.0f} MiB"),
        *made,
    ]


def tested_on(run: ShownRun) -> list[tuple[str, list[tuple[str, str]]]]:
    """For each evaluation that the rows use: its test split, and facts about it as (name, value)."""
    told = []
    for key in run.evaluations:
        on = run.record.scored[key]
        scores, made = run.record.metrics[key], None
        if on.generator is not None:
            made = "generated, " + ", ".join(f"{name} {value}" for name, value in on.generator.items())
        entries: list[tuple[str, str | None]] = [
            ("fingerprint", on.fingerprint),
            ("images", f"{scores.n_images:,} of {on.height}x{on.width}"),
            ("masks", scores.masks),
            ("slots", None if scores.slots is None else f"{scores.slots}, not as many as in training"),
            ("crowded images", None if scores.crowded is None else _crowded(scores.crowded)),
            (
                "repeated images",
                None if scores.repeated is None else f"{scores.repeated:,} are in the training split, too",
            ),
            ("split", "standard" if on.standard else "not the protocol's standard split"),
            ("data", made),
            ("metrics", f"as {on.definition} defines them"),
        ]
        told.append(
            (f"{on.place}:{on.split}", [(entry, value) for entry, value in entries if value is not None])
        )
    return told


def _crowded(count: int) -> str:
    return f"{count:,} with more objects than predicted planes"


def _time(seconds: float) -> str:
    return f"{duration(seconds)} ({seconds:,.1f} s)"


def _text(value: int | str) -> str:
    return f"{value:,}" if isinstance(value, int) else value
