"""Which runs a figure shows: the seeds of one method on one test set, among all records."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from objbench.errors import ObjbenchError, RequestError, unknown_name
from objbench.progress import Say
from objbench.registry import DEFAULT_DEFINITION
from objbench.report.rows.row import Measured
from objbench.spec.datasets import TEST
from objbench.spec.resolve import method_and_variant
from objbench.spec.schema import Spec

PREFERRED = "objmae"  # the method of the paper
RANKING = "ari_fg"  # chooses the best method if the preferred one has no records


def rows_on(rows: Iterable[Measured], dataset: str, spec: Spec) -> list[Measured]:
    """Select the rows on the test split of `dataset` (`DATASET[@PROTOCOL]`) by the default definition.

    Rows of alternative masks are left out: figures show the masks that methods segment with.
    The rows of one method are sorted: default protocol, upstream data, whole training set and most seeds first.
    """
    name, _, protocol = dataset.partition("@")
    here = [
        row
        for row in rows
        if (row.dataset, row.scored.split, row.scored.definition) == (name, TEST, DEFAULT_DEFINITION)
        and protocol in ("", row.protocol)
        and row.masks is None
    ]
    known = spec.datasets.get(name)
    source = known.default_source if known else None
    return sorted(
        here,
        key=lambda row: (
            not row.default_protocol,
            row.scored.generator is not None,
            row.scored.source != source,
            row.learned is not None and row.learned.shortened is not None,
            any(origin.key != TEST for origin in row.origins.values()),
            bool(row.who.overrides),
            -len(row.origins),
        ),
    )


def choose_rows(
    rows: Sequence[Measured], methods: Sequence[str], spec: Spec, dataset: str, tell: Say
) -> list[Measured]:
    """Choose a row for each of `methods`, all on the same test images.

    Without methods the row is one of objmae, or of the best method if objmae has no records.

    Args:
        rows: As `rows_on` sorts them.
        methods: `METHOD[:VARIANT]`.
        spec: The benchmarks.
        dataset: Its name, for messages.
        tell: Called with a message that names the choice if there was one.

    Raises:
        ObjbenchError: There are no records (the message has the command that makes them), or none on the same images.
        RequestError: A method or its variant is not known.
    """
    if not rows:
        raise ObjbenchError(f"no records on {dataset} to draw from: {_how_to_make(methods, dataset, spec)}")
    if not methods:
        return [_default(rows, tell)]
    of_each = []
    for method in methods:
        of_it = [row for row in rows if row.label == method]
        if not of_it and method.partition(":")[0] not in spec.methods:
            raise unknown_name(
                f"method with records on {dataset}", method, dict.fromkeys(r.label for r in rows)
            )
        if not of_it:
            how = _how_to_make([method], dataset, spec)
            raise ObjbenchError(f"no records of {method} on {dataset} to draw from: {how}")
        of_each.append(of_it)
    shared = set.intersection(*({row.scored.fingerprint for row in of_it} for of_it in of_each))
    if not shared:
        where = "; ".join(
            f"{of_it[0].label} on {', '.join(row.scored.place for row in of_it)}" for of_it in of_each
        )
        raise ObjbenchError(f"{' and '.join(methods)} were scored on no test split in common: {where}")
    return [_first([row for row in of_it if row.scored.fingerprint in shared], tell) for of_it in of_each]


def choose_seeds(row: Measured, seed: int | None) -> list[int]:
    """The seeds of a row to draw: all, or the one asked for.

    Raises:
        RequestError: The row does not have the seed.
    """
    if seed is None:
        return sorted(row.origins)
    if seed not in row.origins:
        there = ", ".join(map(str, sorted(row.origins)))
        raise RequestError(f"--seed {seed}: {row.name} on {row.scored.place} has seeds {there} to draw from")
    return [seed]


def seeds(n: int) -> str:
    """Print `1 seed`, `2 seeds`."""
    return f"{n} seed" if n == 1 else f"{n} seeds"


def _default(rows: Sequence[Measured], tell: Say) -> Measured:
    own = [row for row in rows if row.who.method == PREFERRED and row.kind == "run"]
    if own:
        return _first([row for row in own if row.who.variant is None] or own, tell)
    here = [row for row in rows if row.scored.place == rows[0].scored.place]
    learned = [row for row in here if not row.who.trivial] or here
    best = max(learned, key=_ranked)
    tell(
        f"no records of {PREFERRED} on {best.scored.place} that this figure can show: {best.name}, the best of those that it "
        f"can show by {RANKING}, is drawn"
    )
    return best


def _ranked(row: Measured) -> float:
    value = row.values.get(RANKING)
    return -math.inf if value is None or math.isnan(value.mean) else value.mean


def _first(rows: Sequence[Measured], tell: Say) -> Measured:
    if len(rows) > 1:
        first, *others = (
            f"{row.name} on {row.scored.place}, {seeds(len(row.origins))}, {_steps(row):,} steps"
            for row in rows
        )
        tell(f"drawn is {first}; there are also {'; '.join(others)}")
    return rows[0]


def _steps(row: Measured) -> int:
    return row.trained.steps if row.trained else 0


def _how_to_make(methods: Sequence[str], dataset: str, spec: Spec) -> str:
    """The command that makes the missing records; RequestError if it would refuse one of the methods."""
    for name in methods:
        method_and_variant(spec, name)
    method = methods[0] if methods else PREFERRED
    if parents := spec.tested_by(dataset.partition("@")[0]):
        return (
            f"objbench run {method} --dataset {parents[0]} scores on it too where it is prepared, and "
            f"objbench evaluate RUN --dataset {dataset} scores a finished run"
        )
    return f"objbench run {method} --dataset {dataset} makes them, --runs names the folder that they are in"
