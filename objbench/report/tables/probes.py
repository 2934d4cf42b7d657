"""Tables of probes: what slots know of their objects, beside what can be known without them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from objbench.json_text import for_programs
from objbench.report.rows.row import Measured, Row
from objbench.report.tables.csv_cells import csv_text
from objbench.report.tables.table import Cell, Footnotes, Line, Table
from objbench.scores import FactorScore, ProbeScores
from objbench.spec.datasets import TEST
from objbench.spec.schema import Spec

_EXPLAINED = (
    "Accuracy and R2 in percent of factors predicted from slots; n: seeds; ±: sample std over seeds; missed: percent of "
    "the objects without a slot, for which the majority is predicted.",
    "masks alone: the same probe on colour and place of the predicted masks; untrained: on the slots of the untrained model; "
    "majority: the most frequent class, or the mean, of the training objects.",
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
    lines = [line for found in group for line in _lines(found, columns, notes, spec)]
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
        _with_best(lines, len(columns)),
        list(_EXPLAINED),
        notes.legend(),
    )


def _lines(found: Probed, columns: Sequence[str], notes: Footnotes, spec: Spec) -> Iterator[Line]:
    marks = notes.letters(_remarks(found, spec))
    seeds = list(found.seeds.values())
    for reading, (title, value) in _READINGS.items():
        cells = [_printed(seeds, name, value) for name in columns]
        if set(cells) == {"-"}:
            continue
        label = Cell(found.row.title, marks) if reading == "slots" else Cell("")
        missed = statistics.fmean(100 * one.missed for one in seeds)
        last = Cell(f"{missed:.1f}" if reading == "slots" else "")
        section = f"{found.row.title}{found.row.who.mark}"
        yield Line(section, label, (title, str(len(seeds))), [*map(Cell, cells), last])


def _remarks(found: Probed, spec: Spec) -> list[str]:
    """In what the method differs from its recipe and from the others of its table."""
    settings, run = found.row.who.settings, found.row.origins[min(found.seeds)].record
    place = spec.place_title(run.dataset, run.protocol, run.source)
    return [f"with {settings}"] * bool(settings) + [f"trained on {place}"] * (found.key != TEST)


def _printed(seeds: Sequence[ProbeScores], name: str, value: Callable[[FactorScore], float | None]) -> str:
    """`mean ± std` over seeds, in percent; "-" where there is no value."""
    found = [100 * number for one in seeds for number in [value(_score(one, name))] if number is not None]
    if not found:
        return "-"
    mean = f"{statistics.fmean(found):z.1f}"
    return mean if len(found) == 1 or len(set(found)) == 1 else f"{mean} ± {statistics.stdev(found):.1f}"


def _score(found: ProbeScores, name: str) -> FactorScore:
    return found.factors[name] if name in found.factors else found.means[name]


def _with_best(lines: Sequence[Line], columns: int) -> list[Line]:
    """The lines with the highest of the slots of each column marked, if there are several methods."""
    slots = [line for line in lines if line.facts[0] == "slots"]
    best = {
        column: max(values)
        for column in range(columns)
        if len(values := [v for line in slots if (v := _number(line.cells[column])) is not None]) > 1
        and len(set(values)) > 1
    }
    return [
        line
        if line.facts[0] != "slots"
        else Line(
            line.section,
            line.label,
            line.facts,
            [
                Cell(cell.text, best=column in best and _number(cell) == best[column])
                for column, cell in enumerate(line.cells)
            ],
        )
        for line in lines
    ]


def _number(cell: Cell) -> float | None:
    return None if cell.text == "-" else float(cell.text.partition(" ")[0])


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
            lines.append(["" if value is None else value for value in line.values()])
    return csv_text(lines)


def _each(groups: Iterable[Sequence[Probed]]) -> Iterator[tuple[Probed, int, ProbeScores]]:
    for group in groups:
        for found in group:
            for seed, scores in found.seeds.items():
                yield found, seed, scores


def _about(found: Probed, seed: int) -> dict[str, Any]:
    record = found.row.origins[seed].record
    return {
        "method": found.row.label,
        "overrides": found.row.who.settings,
        "seed": seed,
        "trained_on": record.place,
        "key": found.key,
    }
