"""Which rows can be compared, the reasons if they cannot, and the best among those that can."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from objbench.report.rows.images import same_images
from objbench.report.rows.row import Measured, Published, Row
from objbench.scores import Scored
from objbench.spec.metrics import NOT_STATED


def conflicts(rows: Iterable[Row], metrics: Sequence[str]) -> list[str]:
    """Return one line for each row that cannot be compared with the first row of its dataset (measured rows first)."""
    by_dataset: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.published):
        by_dataset.setdefault(row.dataset, []).append(row)
    lines = []
    for dataset, members in by_dataset.items():
        reference = members[0]
        for row in members[1:]:
            if reasons := [*differences(row, reference, metrics), *other_images(row, reference, metrics)]:
                lines.append(
                    f"{dataset}: {describe(row)} against {describe(reference)}: " + ", ".join(reasons)
                )
    return lines


def describe(row: Row) -> str:
    """Name a row in a message: `objmae:demo+95240a (generated)` or `monet (greff2019)`."""
    return f"{row.name} ({row.data})"


def best(rows: Iterable[Row], metric: str, printed: Callable[[float], float]) -> set[int]:
    """Find the best rows of one dataset: better than some row they can be compared with, and worse than none.

    Args:
        rows: All of one dataset, with a value of `metric`.
        metric: Its name.
        printed: A mean as it is printed. Values that print the same are neither better nor worse.

    Returns:
        The `id()` of each best row.
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
    """Whether the values of `metric` can be compared: no difference, and means over the same images."""
    row, reference = (one, other) if one.published else (other, one)
    return not differences(row, reference, [metric]) and not other_images(row, reference, [metric])


def _standing(row: Row, metric: str) -> tuple[object, ...]:
    """Everything that `comparable` reads of a row: rows of equal standing can be compared with the same rows."""
    stated = (row.test_id, row.definitions.get(metric), row.selection if row.selected else None)
    if not isinstance(row, Measured):
        return (row.protocol, _conditions(row), *stated)
    learned = row.learned
    trained: object = (row.kind, row.trained_on)
    if learned:
        trained = (
            learned.trained_on,
            learned.n_train,
            learned.train_fingerprint,
            learned.shortened,
            learned.val_fingerprint,
        )
    images = frozenset(row.values[metric].images.values())
    return (row.scored, row.n_images, trained, images, *stated)


def differences(row: Row, reference: Row, metrics: Sequence[str]) -> list[str]:
    """Return the reasons why `row` cannot be compared with `reference`; none if it can.

    If only one of the two is measured, it must be `reference`.
    """
    if isinstance(row, Measured) and isinstance(reference, Measured):
        reasons = [*_scored_differences(row, reference), *method_differences(row, reference)]
    else:
        reasons = [*_protocol_difference(row, reference), *_condition_differences(row, reference)]
        reasons += _selection_difference(row, reference)
    for metric in metrics:
        value = row.values.get(metric)
        if value is None or value.metric.cost:
            continue
        mine = row.definitions.get(metric)
        theirs = reference.definitions.get(metric, value.metric.meaning if mine else None)
        if mine == NOT_STATED or mine != theirs:
            reasons.append(f"{metric} is '{mine}', not '{theirs}'")
    return reasons


def method_differences(row: Measured, reference: Measured) -> list[str]:
    """Return the reasons why what one method learned cannot be compared with what the other did, wherever it was scored."""
    return [*_training_difference(row, reference), *_selection_difference(row, reference)]


def _selection_difference(row: Row, reference: Row) -> list[str]:
    """Selected seeds beside all seeds, or beside seeds of another selection."""
    mine, theirs = (one.selection if one.selected else "not of selected seeds" for one in (row, reference))
    return [f"{mine}, not {theirs.removeprefix('not ')}"] if mine != theirs else []


def _condition_differences(row: Row, reference: Row) -> list[str]:
    """What only one of two rows was trained or scored with."""
    mine, theirs = _conditions(row), _conditions(reference)
    return [
        *(text for text in mine if text not in theirs),
        *(f"not {text}" for text in theirs if text not in mine),
    ]


def _conditions(row: Row) -> tuple[str, ...]:
    return row.conditions if isinstance(row, Published) else ()


def other_images(row: Row, reference: Row, metrics: Sequence[str]) -> list[str]:
    """Return the metrics that two measured rows average over different images, as they are undefined for others."""
    reasons = []
    for metric in metrics:
        mine, theirs = row.values.get(metric), reference.values.get(metric)
        if mine is None or theirs is None or row.published or reference.published:
            continue
        if not same_images(mine, theirs):
            counts = ["/".join(f"{n:,}" for n in value.n_images) for value in (mine, theirs)]
            reasons.append(
                f"{metric} is a mean over {counts[0]} images, not {counts[1]}"
                if counts[0] != counts[1]
                else f"{metric} is a mean over {counts[0]} other images"
            )
    return reasons


def _scored_differences(row: Measured, reference: Measured) -> list[str]:
    compared = [
        (Scored.model_fields[name].title or name, mine, theirs)
        for (name, mine), (_, theirs) in zip(row.scored, reference.scored, strict=True)
    ]
    compared.append(("number of images", row.n_images, reference.n_images))
    return [f"{name} {mine!s:.40} is not {theirs!s:.40}" for name, mine, theirs in compared if mine != theirs]


def _training_difference(row: Measured, reference: Measured) -> list[str]:
    place, other_place = row.trained_on, reference.trained_on
    known = None not in (place, other_place)
    if known and place != other_place:
        return [f"trained on {place}, not {other_place}"]
    one, other = row.learned, reference.learned
    if one is None or other is None:  # what is said of predictions is said of the whole split
        return [learned.shortened for learned in (one, other) if known and learned and learned.shortened]
    if one.n_train != other.n_train:
        return [f"trained on {one.n_train:,} scenes, not {other.n_train:,}"]
    mine, theirs = one.train_fingerprint, other.train_fingerprint
    if mine != theirs:
        return [f"trained on a split of fingerprint {mine:.12}, not {theirs:.12}"]
    guide, other_guide = one.val_fingerprint, other.val_fingerprint
    if None not in (guide, other_guide) and guide != other_guide:
        return [f"guided by a val split of fingerprint {guide:.12}, not {other_guide:.12}"]
    return []


def _protocol_difference(row: Row, reference: Row) -> list[str]:
    """Compare published numbers with others, published or measured."""
    if row.test_id is not None and row.test_id == reference.test_id:
        return _not_the_benchmarks_training(reference) if isinstance(reference, Measured) else []
    if reference.published and row.protocol == reference.protocol != "not stated":
        return []
    theirs = reference.protocol
    if isinstance(reference, Measured):
        theirs += f"/{reference.scored.source}"
    if row.protocol == theirs:
        return ["neither states its protocol"]
    return [f"protocol '{row.protocol}' is not '{theirs}'"]


def _not_the_benchmarks_training(row: Measured) -> list[str]:
    """Why what `row` learned from is not the whole training split that belongs to its test split."""
    if row.trained_on is None:
        return ["trained on what is not known"] if row.kind == "external" else []
    if row.trained_on not in row.training_places:
        return [f"trained on {row.trained_on}"]
    return [row.learned.shortened] if row.learned and row.learned.shortened else []
