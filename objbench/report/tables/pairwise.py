"""Paired comparison of two methods, image by image, on the datasets that both were scored on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from objbench.errors import ObjbenchError, RequestError, first_few, unknown_name
from objbench.json_text import for_programs
from objbench.metrics.paired import Paired, defined_for_both, paired
from objbench.registry import DEFAULT_DEFINITION
from objbench.report.rows.comparability import describe, differences
from objbench.report.rows.row import Measured, Origin, Row
from objbench.report.tables.csv_cells import csv_text
from objbench.report.tables.table import Cell, Line, Table
from objbench.spec.metrics import MetricSpec
from objbench.spec.schema import Spec
from objbench.train.artifacts import PER_IMAGE, read_per_image

_EXPLAINED = (
    "difference: first minus second, of means over seeds of means over images; [ , ]: its 95 % interval over "
    "images (the same ones for both) and seeds, by a two-level bootstrap.",
    "ahead: share of the images, in percent, on which the mean over its seeds is the better one.",
)
_MATCH = 1e-6  # of the mean over images and the one in the record


@dataclass(frozen=True)
class Pairwise:
    """Two rows that can be compared, and metric -> the result of the comparison."""

    first: Measured
    second: Measured
    by_metric: dict[str, Paired]

    def metric(self, name: str) -> MetricSpec:
        """The description of a metric."""
        return self.first.values[name].metric


def _title(row: Measured) -> str:
    """The name that tables print, with what tells rows of other overrides apart."""
    return f"{row.title}{row.who.mark}"


def compare_methods(
    rows: Iterable[Row], methods: Sequence[str], metrics: Sequence[str], usual: Sequence[str] = ()
) -> tuple[list[Pairwise], list[str]]:
    """Compare every pair of measured rows of two methods that can be compared.

    Args:
        rows: All rows of the report.
        methods: The two names, as the names of rows; the overrides can be left out if there is one choice.
        metrics: Those to compare by.
        usual: Those to compare by if there are no `metrics`; what one of two rows does not have is left out without a word.

    Returns:
        The pairs, and a line for each dataset or metric that is left out, with the reasons.

    Raises:
        RequestError: A name is unknown or means several methods.
        ObjbenchError: No pair can be compared (the message has the reasons), or the values per image are missing or
            do not fit the record.
    """
    measured = [row for row in rows if isinstance(row, Measured)]
    first, second = (_rows_named(name, measured) for name in methods)
    if first[0].name == second[0].name:
        raise RequestError(f"--compare {methods[0]} --compare {methods[1]}: name two different methods")
    pairs: list[tuple[Measured, Measured]] = []
    refused: dict[str, list[str]] = {}
    for one in first:
        for other in second:
            if one.dataset != other.dataset:
                continue
            reasons = differences(other, one, [m for m in one.values if m in other.values])
            if reasons:
                line = f"{one.dataset}: {describe(other)} against {describe(one)}: {', '.join(reasons)}"
                refused.setdefault(one.dataset, []).append(line)
            else:
                pairs.append((one, other))
    if not pairs:
        lines = [line for reasons in refused.values() for line in reasons]
        raise _cannot(methods, lines or ["they were scored on no dataset in common"])
    compared = {one.dataset for one, _ in pairs}
    without = [line for name, reasons in refused.items() if name not in compared for line in reasons]
    found = []
    for one, other in pairs:
        here = metrics or [name for name in usual if name in one.values and name in other.values]
        pair, left_out = _pair(one, other, here)
        found += [pair] if pair.by_metric else []
        without += left_out
    if not found:
        raise _cannot(methods, without or ["they have no metric in common"])
    return found, without


def _cannot(methods: Sequence[str], reasons: Sequence[str]) -> ObjbenchError:
    why = "\n".join(f"  {line}" for line in reasons)
    return ObjbenchError(f"{methods[0]} and {methods[1]} cannot be compared:\n{why}")


def _rows_named(name: str, rows: Sequence[Measured]) -> list[Measured]:
    """Find the rows of the method `name`; its overrides can be left out if there is one choice of them."""
    exact = [row for row in rows if row.name == name]
    found = exact or [row for row in rows if row.label == name]
    if not found:
        raise unknown_name("method with records", name, {row.name for row in rows})
    choices = {row.name: row for row in found}
    if len(choices) > 1:
        told = "; ".join(f"{full} ({row.who.settings})" for full, row in choices.items())
        raise RequestError(f"--compare {name}: there are several, name one of them: {told}")
    return found


def _pair(first: Measured, second: Measured, metrics: Iterable[str]) -> tuple[Pairwise, list[str]]:
    """Compare two rows by each metric, over the images where it is defined for both; say which metrics are left out."""
    one, other = _values(first), _values(second)
    if one["keys"].tolist() != other["keys"].tolist():
        raise ObjbenchError(
            f"{describe(first)} and {describe(second)}: {PER_IMAGE} names other images of {first.dataset} for the "
            "one than for the other, though the fingerprints are the same: evaluate one of them again with --fresh"
        )
    together = _are_of_the_same_runs(first, second)
    compared: dict[str, Paired] = {}
    left_out = []
    for metric in metrics:
        if lacking := _lacking(metric, (first, one), (second, other)):
            reason = lacking
        elif np.isinf(one[metric]).any() or np.isinf(other[metric]).any():
            reason = "it is infinite for some images"
        elif not defined_for_both(one[metric], other[metric]).any():
            reason = "there is no image for which it is defined for both"
        else:
            compared[metric] = paired(one[metric], other[metric], together=together)
            continue
        left_out.append(f"{first.dataset}: {describe(second)} against {describe(first)}: {metric}: {reason}")
    return Pairwise(first, second, compared), left_out


def _lacking(metric: str, *rows: tuple[Measured, dict[str, NDArray[Any]]]) -> str | None:
    """Why rows cannot be compared by a metric, each given with its values per image; None if both have it for all seeds."""
    known = [row.values[metric].metric for row, _ in rows if metric in row.values]
    if not known:
        return "neither has it"
    if known[0].cost:
        return "it is no score of images"
    reasons = []
    for row, values in rows:
        if metric not in row.values:
            reasons.append(f"{_title(row)} has none")
        elif metric not in values:
            seeds = [str(seed) for seed in row.origins if seed not in row.values[metric].seeds]
            which = f"seed{'s' * (len(seeds) > 1)} {first_few(seeds)} of " if seeds else ""
            reasons.append(f"{which}{_title(row)} has no values per image")
    return ", ".join(reasons) or None


def _are_of_the_same_runs(first: Measured, second: Measured) -> bool:
    """Whether two rows are readings of the same trainings, such as a method's two kinds of masks."""
    folders = [{seed: origin.folder for seed, origin in row.origins.items()} for row in (first, second)]
    return folders[0] == folders[1]


def _values(row: Measured) -> dict[str, NDArray[Any]]:
    """Read metric -> values of all seeds, float64 (S,N), in the order of "keys", which is there too."""
    seeds = [_of_seed(row, seed, origin) for seed, origin in sorted(row.origins.items())]
    for seed in seeds[1:]:
        if seed["keys"].tolist() != seeds[0]["keys"].tolist():
            raise ObjbenchError(
                f"{describe(row)}: the seeds were scored on different images of {row.dataset}"
            )
    shared = [name for name in seeds[0] if name != "keys" and all(name in seed for seed in seeds)]
    return {"keys": seeds[0]["keys"]} | {name: np.stack([seed[name] for seed in seeds]) for name in shared}


def _of_seed(row: Measured, seed: int, origin: Origin) -> dict[str, NDArray[Any]]:
    path = origin.folder / PER_IMAGE
    again = "run that seed, or evaluate those predictions, again with --fresh"
    found = read_per_image(origin.folder, [origin.key]).get(origin.key, {})
    if "keys" not in found:
        raise ObjbenchError(f"{path}: no values per image of '{origin.key}', which --compare needs; {again}")
    order = np.argsort(found["keys"], kind="stable")
    for metric, statistic in row.values.items():
        values, mean = found.get(metric), statistic.seeds.get(seed)
        if values is None or mean is None:
            continue
        if values.shape != order.shape or not _same(values, mean):
            raise ObjbenchError(f"{path}: {metric} is not that of the record beside it ({mean:.6g}); {again}")
    return {name: values[order] for name, values in found.items() if values.shape == order.shape}


def _same(values: NDArray[Any], mean: float) -> bool:
    if np.isnan(values).all():
        return bool(np.isnan(mean))
    found = np.nanmean(values)
    return bool(found == mean or abs(found - mean) <= _MATCH * max(1.0, abs(mean)))


def pairwise_table(found: Pairwise, spec: Spec) -> Table:
    """Lay out a line per metric, with the notes of both methods below."""
    first, second = found.first, found.second
    names = [_title(first), _title(second)]
    lines = [
        Line(
            "measured",
            Cell(found.metric(metric).title),
            (),
            [
                *(Cell(found.metric(metric).format(mean)) for mean in result.means),
                Cell(_signed(found.metric(metric), result.difference)),
                Cell(_limits(found.metric(metric), result.interval) if result.interval else "-"),
                *(Cell("-" if s is None else f"{100 * s:.0f}") for s in _ahead(found.metric(metric), result)),
                Cell(_of_images(result, found)),
            ],
            (first, second),
        )
        for metric, result in found.by_metric.items()
    ]
    on = first.scored
    by = "" if on.definition == DEFAULT_DEFINITION else f", as {on.definition} scores"
    where = f"{spec.title_under(first.dataset, first.protocol)}, {on.source}, {on.split}{by}"
    return Table(
        f"{where}: {_with_seeds(first)} against {_with_seeds(second)}",
        "metric",
        (),
        ["", "", "", "", "ahead", "ahead", ""],
        [*names, "difference", "95 % interval", *names, "images"],
        lines,
        [*_EXPLAINED, *_notes(found)],
    )


def _notes(found: Pairwise) -> list[str]:
    """The images that are left out, the notes of both methods, then of each alone."""
    first, second = found.first, found.second
    common = [note for note in first.notes if note in second.notes]
    told = [
        f"{found.metric(metric).title}: over the {_of_images(result, found)} images for which it is defined for both"
        for metric, result in found.by_metric.items()
        if result.n_images < first.n_images
    ]
    if _are_of_the_same_runs(first, second):
        told.append("both are readings of the same trainings, whose seeds are paired")
    told += [f"both: {note}" for note in common]
    for row in (first, second):
        name = _title(row)
        told += [f"{name}: {note}" for note in row.notes if note not in common]
        if row.n == 1 and any(result.interval for result in found.by_metric.values()):
            told.append(f"{name}: one seed, so the interval says nothing of how its seeds differ")
    return told


def _of_images(result: Paired, found: Pairwise) -> str:
    of = found.first.n_images
    return f"{of:,}" if result.n_images == of else f"{result.n_images:,} of {of:,}"


def _with_seeds(row: Measured) -> str:
    return f"{_title(row)} ({row.n} seed{'s' * (row.n != 1)})"


def _signed(metric: MetricSpec, value: float) -> str:
    return f"+{metric.format(value)}" if metric.rounded(value) > 0 else metric.format(value)


def _limits(metric: MetricSpec, interval: tuple[float, float]) -> str:
    """`[low, high]`; a limit that would be rounded to zero has one digit, to tell on which side of zero it is."""
    unit = 100 if metric.percent else 1
    low, high = (
        metric.format(limit) if metric.rounded(limit) or not limit else f"{unit * limit:.1g}"
        for limit in interval
    )
    return f"[{low}, {high}]"


def _ahead(metric: MetricSpec, result: Paired) -> tuple[float | None, float | None]:
    """The share of images on which each method is better; None if the metric does not say which values are better."""
    first, second = result.ahead
    return {"higher": (first, second), "lower": (second, first), None: (None, None)}[metric.better]


_RESULT = (
    "metric", "mean_first", "mean_second", "difference", "low", "high", "ahead_first", "ahead_second", "images",
    "images_of_split",
)  # fmt: skip


def pairwise_json(pairs: Sequence[Pairwise]) -> str:
    """Write an array of objects, one per pair and metric; scores are fractions."""
    lines = [_about(pair) | result for pair in pairs for result in _results(pair)]
    return for_programs(lines) + "\n"


def pairwise_csv(pairs: Sequence[Pairwise]) -> str:
    """Write one line per pair and metric; scores are fractions."""
    lines: list[list[Any]] = [[*_about(pairs[0]), *_RESULT]]
    for pair in pairs:
        about = _about(pair).values()
        lines += [[*about, *result.values()] for result in _results(pair)]
    return csv_text(lines)


def _about(pair: Pairwise) -> dict[str, Any]:
    """The fields of a pair: what both were scored on, and the two methods."""
    return {
        **pair.first.scored.names,
        "first": pair.first.name,
        "second": pair.second.name,
        **{
            f"{name}_{side}": value
            for name, values in _OF_A_SIDE.items()
            for side, value in (("first", values(pair.first)), ("second", values(pair.second)))
        },
    }


# What tells comparisons of methods of the same names apart, and what their numbers stand for.
_OF_A_SIDE: dict[str, Callable[[Measured], Any]] = {
    "seeds": lambda row: tuple(sorted(row.origins)),
    "config_hash": lambda row: row.trained.config_hash if row.trained else None,
    "trained_on": lambda row: row.trained_on,
    "n_train": lambda row: row.learned.n_train if row.learned else None,
    "slots": lambda row: row.slots,
    "selection": lambda row: row.selection,
    "notes": lambda row: row.notes,
}


def _results(pair: Pairwise) -> Iterator[dict[str, Any]]:
    for metric, result in pair.by_metric.items():
        (low, high), (ahead, behind) = result.interval or (None, None), _ahead(pair.metric(metric), result)
        images = (result.n_images, pair.first.n_images)
        values = (metric, *result.means, result.difference, low, high, ahead, behind, *images)
        yield dict(zip(_RESULT, values, strict=True))
