"""Tables of probes: what slots know of their objects, beside what can be known without them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from objbench.json_text import for_programs
from objbench.report.rows.comparability import method_differences
from objbench.report.rows.notes import method_notes
from objbench.report.rows.row import Measured, Row
from objbench.report.tables.csv_cells import csv_text
from objbench.report.tables.table import Cell, Footnotes, Line, Table
from objbench.scores import FactorScore, ProbeScores, mean_and_std
from objbench.spec.datasets import TEST
from objbench.spec.schema import Spec

_EXPLAINED = (
    "Accuracy and R2 in percent of factors predicted from slots; n: seeds; ±: sample std over seeds; missed: percent of "
    "the objects without a slot, for which the majority is predicted.",
    "masks alone: the same probe on colour and place of the predicted masks; untrained: on the slots of the untrained model; "
    "majority: the most frequent class, or the mean, of the training objects that have a slot; ± over the methods.",
)
_READINGS: dict[str, tuple[str, Callable[[FactorScore], float | None]]] = {
    "slots": ("slots", lambda found: found.score),
    "masks": ("masks alone", lambda found: found.masks),
    "untrained": ("untrained", lambda found: found.untrained),
}


@dataclass(frozen=True)
class Probed:
    """A method whose slots were probed on one test split.

    Attributes:
        row: Its row of scores, for its name and its training.
        key: Of the test split, as in its records.
        probe: PROBE or PROBE+loss.
        seeds: Seed -> what was found.
    """

    row: Measured
    key: str
    probe: str
    seeds: dict[int, ProbeScores]

    @property
    def first(self) -> ProbeScores:
        """The scores of the first seed."""
        return next(iter(self.seeds.values()))

    @property
    def setting(self) -> tuple[Any, ...]:
        """What two methods must have in common to stand in one table: probe, training and test scenes, factors."""
        found = self.first
        return (self.probe, found.train_fingerprint, found.n_train, found.scored, tuple(found.factors))


def probed(rows: Iterable[Row], datasets: Sequence[str] = (), probe: str | None = None) -> list[list[Probed]]:
    """What was probed, in groups that can be compared.

    Args:
        rows: The rows of a report.
        datasets: DATASET or DATASET@PROTOCOL of the test scenes; none for all.
        probe: PROBE or PROBE+loss; None for all.
    """
    groups: dict[tuple[Any, ...], list[Probed]] = {}
    for row in rows:
        if isinstance(row, Measured) and row.kind == "run":
            for found in _of_row(row):
                on = found.first.scored
                asked = not datasets or not {on.dataset, f"{on.dataset}@{on.protocol}"}.isdisjoint(datasets)
                if asked and probe in (None, found.probe):
                    groups.setdefault(found.setting, []).append(found)
    return list(groups.values())


def _of_row(row: Measured) -> Iterator[Probed]:
    """Every probe of the records behind the row of a method's own test split."""
    found: dict[tuple[Any, ...], Probed] = {}
    for seed, origin in sorted(row.origins.items()):
        if origin.key != TEST:
            return
        for key, by_name in (origin.record.probes or {}).items():
            for name, scores in by_name.items():
                one = Probed(row, key, name, {seed: scores})
                found.setdefault(one.setting, Probed(row, key, name, {})).seeds[seed] = scores
    yield from found.values()


def probe_table(group: Sequence[Probed], spec: Spec) -> Table:
    """Lay out three lines per method (slots, masks alone, untrained) and one for the majority; a column per factor."""
    first = group[0].first
    columns = [*first.factors, *first.means]
    measures = [first.factors[name].measure if name in first.factors else name for name in columns]
    notes = Footnotes()
    of_methods = method_notes([found.row for found in group], spec)
    lines = [
        line
        for found, marks in zip(group, of_methods, strict=True)
        for line in _lines(found, group, columns, notes.letters([*marks, *_remarks(found, spec)]))
    ]
    majority = [_printed([found.first for found in group], name, lambda s: s.majority) for name in columns]
    lines.append(Line("majority", Cell("majority"), ("", ""), [*map(Cell, majority), Cell("-")]))
    on = first.scored
    where = spec.title_under(on.dataset, on.protocol)
    probe = f"{group[0].probe.replace('_', ' ')} probe of {first.n_train:,} scenes"
    tested = (
        "" if on.standard else f", tested on {first.n_images:,} images, not the protocol's standard split"
    )
    return Table(
        f"{where}, {on.source}, {on.split}: {probe}{tested}",
        "method",
        ("read from", "n"),
        [*({"accuracy": "accuracy", "r2": "R2"}[measure] for measure in measures), ""],
        [*(name if name in first.factors else "mean" for name in columns), "missed"],
        lines,
        list(_EXPLAINED),
        notes.legend(),
    )


def _lines(
    found: Probed, group: Sequence[Probed], columns: Sequence[str], marks: tuple[str, ...]
) -> Iterator[Line]:
    seeds = list(found.seeds.values())
    for reading, (title, value) in _READINGS.items():
        texts = [_printed(seeds, name, value) for name in columns]
        if set(texts) == {"-"}:
            continue
        of_slots = reading == "slots"
        label = Cell(found.row.title, marks) if of_slots else Cell("")
        cells = [
            Cell(text, best=of_slots and _is_best(found, group, name))
            for name, text in zip(columns, texts, strict=True)
        ]
        missed, _ = mean_and_std([100 * one.missed for one in seeds])
        last = Cell(f"{missed:.1f}" if of_slots else "")
        section = f"{found.row.title}{found.row.who.mark}"
        yield Line(section, label, (title, str(len(seeds))), [*cells, last], (found.row,))


def _remarks(found: Probed, spec: Spec) -> list[str]:
    """Where the method was trained, if it was probed elsewhere, and whether seeds of it were not probed."""
    run = found.row.origins[min(found.seeds)].record
    place = spec.place_title(run.place)
    n, of = len(found.seeds), len(found.row.origins)
    return [f"trained on {place}"] * (found.key != TEST) + [f"{n} of {of} seeds probed"] * (n < of)


def _printed(seeds: Sequence[ProbeScores], name: str, value: Callable[[FactorScore], float | None]) -> str:
    """`mean ± std` over seeds, in percent; "-" where there is no value."""
    found = _percents(seeds, name, value)
    if not found:
        return "-"
    mean, std = mean_and_std(found)
    return f"{mean:z.1f} ± {std:.1f}" if std is not None else f"{mean:z.1f}"


def _percents(
    seeds: Sequence[ProbeScores], name: str, value: Callable[[FactorScore], float | None]
) -> list[float]:
    numbers = (value(_score(one, name)) for one in seeds)
    return [100 * number for number in numbers if number is not None]


def _score(found: ProbeScores, name: str) -> FactorScore:
    return found.factors[name] if name in found.factors else found.means[name]


def _is_best(found: Probed, group: Sequence[Probed], name: str) -> bool:
    """Whether the slots' score, as printed, is the highest of those that it can be compared with, and not all are equal."""
    rivals = [_rounded(other, name) for other in group if not method_differences(found.row, other.row)]
    values, mine = [value for value in rivals if value is not None], _rounded(found, name)
    return mine is not None and max(values) == mine > min(values)


def _rounded(found: Probed, name: str) -> float | None:
    """The mean score of the slots over seeds, in percent, as it is printed."""
    scores = _percents(list(found.seeds.values()), name, _READINGS["slots"][1])
    return round(mean_and_std(scores)[0], 1) if scores else None


def probes_json(groups: Iterable[Sequence[Probed]]) -> str:
    """Write an array of objects, one per method, seed and probe; scores are fractions."""
    content = [_about(found, seed) | scores.model_dump() for found, seed, scores in _each(groups)]
    return for_programs(content) + "\n"


def probes_csv(groups: Iterable[Sequence[Probed]]) -> str:
    """Write one line per method, seed, probe and factor or mean; scores are fractions."""
    lines: list[list[Any]] = []
    for found, seed, scores in _each(groups):
        about = _about(found, seed) | scores.scored.names
        for name in (*scores.factors, *scores.means):
            score = _score(scores, name)
            low, high = score.interval or (None, None)
            line = about | {
                "n_train": scores.n_train,
                "factor": name if name in scores.factors else f"mean {name}",
                "measure": score.measure,
                "slots": score.score,
                "low": low,
                "high": high,
                "majority": score.majority,
                "masks": score.masks,
                "untrained": score.untrained,
                "missed": scores.missed,
            }
            if not lines:
                lines.append(list(line))
            lines.append(list(line.values()))
    return csv_text(lines)


def _each(groups: Iterable[Sequence[Probed]]) -> Iterator[tuple[Probed, int, ProbeScores]]:
    for group in groups:
        for found in group:
            for seed, scores in found.seeds.items():
                yield found, seed, scores


def _about(found: Probed, seed: int) -> dict[str, Any]:
    record, row = found.row.origins[seed].record, found.row
    return {
        "method": row.label,
        "overrides": row.who.settings,
        "seed": seed,
        "selection": row.selection,
        "trained_on": record.place,
        "train_fingerprint": row.trained.train_fingerprint if row.trained else None,
        "training_scenes": row.trained.n_train if row.trained else None,
        "key": found.key,
    }
