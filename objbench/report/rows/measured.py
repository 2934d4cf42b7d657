"""Rows from records: seeds grouped, selected if that is asked for, with mean and sample std."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from objbench.errors import RequestError
from objbench.records import FoundRecord, Record, Run
from objbench.registry import DEFAULT_DEFINITION
from objbench.report.rows.duplicates import one_per_seed
from objbench.report.rows.images import averaged_images
from objbench.report.rows.notes import with_notes
from objbench.report.rows.row import (
    ALL_SEEDS,
    Images,
    Measured,
    MethodId,
    Origin,
    Statistic,
    Training,
)
from objbench.report.rows.titles import label_of, title_of
from objbench.scores import Scored, mean_and_std
from objbench.spec.datasets import TEST
from objbench.spec.metrics import NOT_STATED, MetricSpec
from objbench.spec.resolve import digest
from objbench.spec.schema import Spec

_ROUNDING = 1e-6  # of means of float32 numbers


class _Chosen(NamedTuple):
    """The records that count, which they are in words, and whether others were left out."""

    records: Sequence[Record]
    words: str
    selected: bool


@dataclass(frozen=True)
class Selection:
    """Which seeds count: all, or the `top` ones by the mean of `metric` on the test split of the training dataset.

    Attributes:
        top: How many; None for all.
        metric: By which they are ranked.
        sign: -1 if lower values of the metric are better.
    """

    top: int | None = None
    metric: str = ""
    sign: int = 1

    @classmethod
    def parse(cls, text: str, spec: Spec) -> Selection:
        """Parse `all` or `top:N:METRIC`.

        Raises:
            RequestError: For anything else, and for a metric that is not known.
        """
        if text == ALL_SEEDS:
            return cls()
        head, _, rest = text.partition(":")
        count, _, metric = rest.partition(":")
        if head != "top" or not count.isdecimal() or int(count) == 0 or not metric:
            raise RequestError(f"--select {text}: expected all or top:N:METRIC, such as top:3:miou")
        return cls(int(count), metric, spec.directed_metric(metric).sign)

    def choose(self, seeds: Sequence[Record], spec: Spec) -> _Chosen:
        """Choose among the seeds of one method on one training set."""
        ranked = [record for record in seeds if self._is_scored(record)]
        if self.top is None or self.top >= len(seeds):
            return _Chosen(seeds, ALL_SEEDS, selected=False)
        title = spec.metric(self.metric).title
        if not ranked:
            return _Chosen(seeds, f"all seeds, there is no {title} to select by", selected=False)
        ranked.sort(key=lambda record: (-self.sign * self._score(record), record.seed))
        chosen = sorted(ranked[: self.top], key=lambda record: record.seed)
        on = chosen[0].scored[TEST]
        where = spec.title_under(on.dataset, on.protocol)
        words = f"best {len(chosen)} of {len(seeds)} seeds by {title} on the test split of {where}"
        return _Chosen(chosen, words, selected=True)

    def _is_scored(self, record: Record) -> bool:
        scores = record.metrics.get(TEST)
        return scores is not None and self.metric in scores.values and not math.isnan(self._score(record))

    def _score(self, record: Record) -> float:
        return record.metrics[TEST].values[self.metric].mean


@dataclass(frozen=True)
class MeasuredRows:
    """Rows, and one line per record that could not be used."""

    rows: list[Measured]
    skipped: list[str]


def measured_rows(found: list[FoundRecord], spec: Spec, selection: Selection) -> MeasuredRows:
    """Make one row per method and test split, over the selected seeds; a seed that occurs twice counts once."""
    rows: list[Measured] = []
    sound: list[FoundRecord] = []
    skipped: list[str] = []
    for item in found:
        if fault := _out_of_range(item.record, spec):
            skipped.append(f"{item.path}: {fault}")
        else:
            sound.append(item)
    for group in _grouped(sound):
        seeds, told = one_per_seed(group)
        skipped += told
        chosen = selection.choose([item.record for item in seeds], spec)
        numbers = {record.seed for record in chosen.records}
        rows += _rows_of([item for item in seeds if item.record.seed in numbers], chosen, spec)
    return MeasuredRows(sorted(with_notes(rows, spec), key=lambda row: _rank(row, spec)), skipped)


def _out_of_range(record: Record, spec: Spec) -> str | None:
    """What is wrong with the first mean that its metric cannot have; None if all are possible. An undefined one (NaN) is."""
    for key, scores in record.metrics.items():
        for name, value in scores.values.items():
            if spec.metric(name).is_outside(value.mean, _ROUNDING):
                low, high = spec.metric(name).range
                bounds = (
                    f"{'-inf' if low is None else f'{low:g}'} to {'inf' if high is None else f'{high:g}'}"
                )
                return (
                    f"{name} of '{key}' is {value.mean:g}, expected {bounds}; run that seed, or evaluate those "
                    "predictions, again with --fresh"
                )
    return None


def _grouped(found: list[FoundRecord]) -> list[list[FoundRecord]]:
    """Group records that differ only in their seed and in the further test splits that they were scored on.

    Predictions may have no scores of the whole test split by the default definition: they join those that have.
    """
    groups: dict[tuple[Any, ...], dict[Scored | None, list[FoundRecord]]] = {}
    for item in found:
        r = item.record
        trained = (r.fingerprint, r.trained) if isinstance(r, Run) else r.trained_on
        method = (r.kind, r.method, r.variant, digest(r.overrides))
        groups.setdefault((r.place, *method, trained), {}).setdefault(r.scored.get(TEST), []).append(item)
    for by_test in groups.values():
        without = by_test.pop(None, [])
        by_test.setdefault(next(iter(by_test), None), []).extend(without)
    return [group for by_test in groups.values() for group in by_test.values() if group]


def _rows_of(found: list[FoundRecord], chosen: _Chosen, spec: Spec) -> list[Measured]:
    """Make a row for every test split that the seeds of one group were scored on."""
    splits: dict[tuple[str, Scored], list[Origin]] = {}
    for item in found:
        for key, scored in item.record.scored.items():
            splits.setdefault((key, scored), []).append(Origin(item.folder_of(key), item.record, key))
    rows = []
    for members in splits.values():
        lacking = chosen.selected and len(members) < len(found)
        more = f"; {len(members)} of them scored here" if lacking else ""
        rows.append(_row(members, chosen.words + more, chosen.selected, spec))
    return rows


def _row(members: list[Origin], selection: str, selected: bool, spec: Spec) -> Measured:
    first, key = members[0].record, members[0].key
    scored = first.scored[key]
    known = spec.datasets.get(scored.dataset)
    method = spec.methods.get(first.method)
    trivial = first.kind == "run" and method is not None and method.trivial
    values = _statistics(members, spec)
    scores = [origin.record.metrics[key] for origin in members]
    masks = scores[0].masks
    changed = method.masks.get(masks) if method is not None and masks is not None else None
    return Measured(
        label=label_of(first, spec, masks),
        title=title_of(first, spec, masks),
        who=MethodId(first.method, first.variant, first.overrides, trivial),
        dataset=scored.dataset,
        protocol=scored.protocol,
        n=len(members),
        selection=selection,
        selected=selected,
        std_kind="sample",
        definitions=_meanings(values, scored.definition, changed),
        values=values,
        scored=scored,
        n_images=scores[0].n_images,
        dataset_slots=known.slots if known else None,
        evaluation_slots=scores[0].slots,
        masks=masks,
        crowded=max((score.crowded for score in scores if score.crowded is not None), default=None),
        repeated=max((score.repeated for score in scores if score.repeated is not None), default=None),
        default_protocol=scored.protocol == spec.default_protocol(scored.dataset),
        trained=_training(first, spec) if isinstance(first, Run) else None,
        training_places=_training_places(scored, spec),
        devices=tuple(sorted({origin.record.device for origin in members})),
        origins={origin.record.seed: origin for origin in members},
    )


def _training_places(scored: Scored, spec: Spec) -> frozenset[str]:
    """Its own place, and those of the datasets that are also tested on it."""
    parents = spec.tested_by(scored.dataset)
    return frozenset([scored.place, *(f"{name}@{scored.protocol}/{scored.source}" for name in parents)])


def _training(run: Run, spec: Spec) -> Training:
    standard = _standard_n_train(run, spec)
    return Training(
        **dict(run.trained),
        trained_on=run.place,
        train_fingerprint=run.fingerprint,
        standard_n_train=standard,
    )


def _meanings(values: Mapping[str, Statistic], definition: str, masks: str | None) -> dict[str, str]:
    """Metric -> its definition; `masks` says how the masks change those that are computed from them, None if not."""
    by_evaluator = "" if definition == DEFAULT_DEFINITION else f", as {definition} computes it"
    by_masks = "" if masks is None else f", {masks}"
    suffixes = {"masks": by_masks + by_evaluator, "reconstruction": by_evaluator, "boxes": ""}
    metrics = {name: value.metric for name, value in values.items()}
    return {
        name: metric.meaning + suffixes[metric.computed_from]
        for name, metric in metrics.items()
        if metric.meaning != NOT_STATED
    }


def _standard_n_train(record: Run, spec: Spec) -> int | None:
    """How many training scenes the protocol has for the whole source; None if it does not fix the number."""
    dataset = spec.datasets.get(record.dataset)
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


def _statistics(members: list[Origin], spec: Spec) -> dict[str, Statistic]:
    """Compute mean and sample std over seeds for every metric; the costs of a run belong to its own test split."""
    seeds: dict[str, dict[int, float]] = {}
    intervals: dict[str, dict[int, tuple[float, float]]] = {}
    images: dict[str, dict[int, Images]] = {}
    for origin in members:
        record = origin.record
        scores = record.metrics[origin.key].values
        values = {name: value.mean for name, value in scores.items()}
        if origin.key == TEST and isinstance(record, Run):
            values |= {"hours": record.wall_seconds / 3600, "iterations": float(record.steps)}
        for name, value in values.items():
            seeds.setdefault(name, {})[record.seed] = value
        for name, score in scores.items():
            if score.interval is not None:
                intervals.setdefault(name, {})[record.seed] = score.interval
        for name, averaged in averaged_images(origin).items():
            images.setdefault(name, {})[record.seed] = averaged
    return {
        name: _statistic(spec.metric(name), values, intervals.get(name, {}), images.get(name, {}))
        for name, values in seeds.items()
    }


def _statistic(
    metric: MetricSpec,
    seeds: dict[int, float],
    intervals: dict[int, tuple[float, float]],
    images: dict[int, Images],
) -> Statistic:
    mean, std = mean_and_std(list(seeds.values()))
    return Statistic(metric, mean, std, seeds, intervals, images=images)


def _rank(row: Measured, spec: Spec) -> tuple[Any, ...]:
    """Sort key: methods in the order of benchmarks.yaml, trivial ones last, variants after the method itself."""
    who, order = row.who, list(spec.methods)
    place = order.index(who.method) if who.method in order else len(order)
    of_method = (who.trivial, row.kind != "run", place, who.method, who.variant or "")
    return (*of_method, row.protocol, row.scored.source)
