"""Records to rows: grouped over seeds, selected where that is declared, with mean and sample std."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from objbench.errors import RequestError
from objbench.records import Record, Scored
from objbench.registry import DEFAULT_DEFINITION
from objbench.report.rows.records import FoundRecord
from objbench.report.rows.row import ALL_SEEDS, Origin, Row, Statistic
from objbench.spec.datasets import TEST
from objbench.spec.metrics import NOT_STATED, MetricSpec
from objbench.spec.resolve import digest
from objbench.spec.schema import Spec


@dataclass(frozen=True)
class Selection:
    """`all` seeds, or the `top` ones by the mean of `metric` on the test split of the training dataset.

    sign: -1 where lower values of the metric are better.
    """

    top: int | None = None
    metric: str = ""
    sign: int = 1

    @classmethod
    def parse(cls, text: str, spec: Spec) -> Selection:
        """Read `all` or `top:N:METRIC`; RequestError for anything else."""
        if text == ALL_SEEDS:
            return cls()
        head, _, rest = text.partition(":")
        count, _, metric = rest.partition(":")
        if head != "top" or not count.isdecimal() or int(count) == 0 or not metric:
            raise RequestError(f"--select {text}: expected all or top:N:METRIC, such as top:3:miou")
        return cls(int(count), metric, spec.directed_metric(metric).sign)

    def choose(self, seeds: list[Record]) -> tuple[list[Record], str]:
        """The chosen seeds of one method on one training set, and the words for what was chosen."""
        ranked = [record for record in seeds if self._is_scored(record)]
        if self.top is None or self.top >= len(seeds):
            return seeds, ALL_SEEDS
        if not ranked:
            return seeds, f"{ALL_SEEDS} {len(seeds)} seeds, there is no {self.metric} to select by"
        ranked.sort(key=lambda record: (-self.sign * self._score(record), record.seed))
        chosen = sorted(ranked[: self.top], key=lambda record: record.seed)
        where = chosen[0].scored[TEST].dataset
        words = f"best {len(chosen)} of {len(seeds)} seeds by {self.metric} on the test split of {where}"
        return chosen, words

    def _is_scored(self, record: Record) -> bool:
        scores = record.metrics.get(TEST)
        return scores is not None and self.metric in scores.values and not math.isnan(self._score(record))

    def _score(self, record: Record) -> float:
        return record.metrics[TEST].values[self.metric].mean


@dataclass(frozen=True)
class Measured:
    """The rows made of records, and one line per record that could not be used."""

    rows: list[Row]
    skipped: list[str]


def measured_rows(found: list[FoundRecord], spec: Spec, selection: Selection) -> Measured:
    """One row per method and scored dataset, over the selected seeds; a seed that comes twice counts once."""
    rows: list[Row] = []
    skipped: list[str] = []
    for group in grouped(found):
        seeds: dict[int, FoundRecord] = {}
        for item in group:
            first = seeds.setdefault(item.record.seed, item)
            if first is not item:
                skipped.append(
                    f"{item.path}: seed {item.record.seed} of the same configuration as {first.path}"
                )
        chosen, words = selection.choose([item.record for _, item in sorted(seeds.items())])
        rows += _rows_of([seeds[record.seed] for record in chosen], words, spec)
    return Measured(sorted(rows, key=lambda row: _rank(row, spec)), skipped)


def grouped(found: list[FoundRecord]) -> list[list[FoundRecord]]:
    """Records that differ in nothing but their seed and in what else they were scored on."""
    groups: dict[tuple[Any, ...], list[FoundRecord]] = {}
    for item in found:
        r = item.record
        test = _identity(r.scored[TEST]) if TEST in r.scored else None
        trained = (r.dataset, r.protocol, r.source, r.fingerprint, r.n_train)
        method = (r.kind, r.method, r.variant, digest(r.overrides), r.config_hash, r.steps)
        groups.setdefault((*trained, test, *method), []).append(item)
    return list(groups.values())


def _identity(scored: Scored) -> tuple[Any, ...]:
    return tuple(tuple(sorted(v.items())) if isinstance(v, dict) else v for v in scored.model_dump().values())


def _rows_of(found: list[FoundRecord], selection: str, spec: Spec) -> list[Row]:
    """A row for every test split that the seeds of one group were scored on."""
    splits: dict[tuple[Any, ...], list[tuple[FoundRecord, str]]] = {}
    for item in found:
        for key, scored in item.record.scored.items():
            splits.setdefault((key, *_identity(scored)), []).append((item, key))
    return [_row(members, selection, spec) for members in splits.values()]


def _row(members: list[tuple[FoundRecord, str]], selection: str, spec: Spec) -> Row:
    first, key = members[0][0].record, members[0][1]
    scored = first.scored[key]
    known = spec.datasets.get(scored.dataset)
    method = spec.methods.get(first.method)
    values = _statistics([(item.record, key) for item, key in members], spec)
    return Row(
        kind=first.kind,
        dataset=scored.dataset,
        protocol=scored.protocol,
        default_protocol=known is not None and scored.protocol == known.default_protocol,
        source=scored.source,
        split=scored.split,
        fingerprint=scored.fingerprint,
        standard=scored.standard,
        generator=scored.generator,
        resolution=(scored.height, scored.width),
        n_images=first.metrics[key].n_images,
        definition=scored.definition,
        trained_on=f"{first.dataset_ref}/{first.source}" if first.kind == "run" else None,
        n_train=first.n_train,
        standard_n_train=_standard_n_train(first, spec),
        steps=first.steps,
        method=first.method,
        variant=first.variant,
        overrides=first.overrides,
        config_hash=first.config_hash,
        label=first.method_label,
        trivial=first.kind == "run" and method is not None and method.trivial,
        n=len(members),
        selection=selection,
        std_kind="sample",
        definitions=_meanings(values, scored.definition),
        devices=tuple(sorted({item.record.device for item, _ in members})),
        values=values,
        origins={item.record.seed: Origin(item.path.parent, key) for item, key in members},
    )


def _meanings(values: Mapping[str, Statistic], definition: str) -> dict[str, str]:
    suffix = "" if definition == DEFAULT_DEFINITION else f", as {definition} computes it"
    meanings = {name: value.metric.meaning for name, value in values.items()}
    return {name: meaning + suffix for name, meaning in meanings.items() if meaning != NOT_STATED}


def _standard_n_train(record: Record, spec: Spec) -> int | None:
    """How many training scenes the protocol makes of the whole source, None where it does not say it exactly."""
    dataset = spec.datasets.get(record.dataset) if record.kind == "run" else None
    protocol = dataset.protocols.get(record.protocol) if dataset else None
    rule = protocol.sources.get(record.source, {}).get("train") if protocol else None
    if dataset is None or protocol is None or rule is None:
        return None
    if rule.size is not None:
        return rule.size
    records = dataset.sources[record.source].records.get(rule.file)
    if records is None or protocol.options or record.source in protocol.select:  # these may leave scenes out
        return None
    return len(range(*slice(rule.start, rule.stop).indices(records)))


def _statistics(members: list[tuple[Record, str]], spec: Spec) -> dict[str, Statistic]:
    """Mean and sample std over seeds of every metric; the cost of a run goes with its own test split."""
    seeds: dict[str, dict[int, float]] = {}
    intervals: dict[str, dict[int, tuple[float, float]]] = {}
    for record, key in members:
        scores = record.metrics[key].values
        values = {name: value.mean for name, value in scores.items()}
        if key == TEST and record.wall_seconds is not None and record.steps is not None:
            values |= {"hours": record.wall_seconds / 3600, "iterations": float(record.steps)}
        for name, value in values.items():
            seeds.setdefault(name, {})[record.seed] = value
        for name, score in scores.items():
            if score.interval is not None:
                intervals.setdefault(name, {})[record.seed] = score.interval
    return {
        name: _statistic(spec.metric(name), values, intervals.get(name, {})) for name, values in seeds.items()
    }


def _statistic(
    metric: MetricSpec, seeds: dict[int, float], intervals: dict[int, tuple[float, float]]
) -> Statistic:
    values = list(seeds.values())
    try:
        mean = statistics.fmean(values)
        squares = math.fsum((value - mean) * (value - mean) for value in values)
    except (OverflowError, ValueError):  # a seed that diverged beyond all numbers
        mean = squares = math.nan
    std = math.sqrt(squares / (len(values) - 1)) if len(values) > 1 else None
    return Statistic(metric, mean, std, seeds, intervals)


def _rank(row: Row, spec: Spec) -> tuple[Any, ...]:
    """Methods in the order of benchmarks.yaml with the trivial ones last, variants after the method itself."""
    order = list(spec.methods)
    place = order.index(row.method) if row.method in order else len(order)
    return (row.trivial, row.kind != "run", place, row.method, row.variant or "", row.protocol, row.source)
