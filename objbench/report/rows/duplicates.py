"""Several records of one seed: a run that was copied, scored further in both places, or trained anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from objbench.records import FoundRecord, Record


def one_per_seed(group: Sequence[FoundRecord]) -> tuple[list[FoundRecord], list[str]]:
    """One record for each seed of a method: the first, with the scores and probes that only its copies have.

    Returns:
        The records in the order of their seeds, and one line for each that is not among them.
    """
    seeds: dict[int, FoundRecord] = {}
    told = []
    for item in group:
        first = seeds.setdefault(item.record.seed, item)
        if first is not item:
            seeds[item.record.seed], line = _joined(first, item)
            told.append(line)
    return [found for _, found in sorted(seeds.items())], told


def _joined(first: FoundRecord, copy: FoundRecord) -> tuple[FoundRecord, str]:
    """`first` with what only `copy` holds, unless their common scores differ; and what is told of it."""
    line = f"{copy.path}: seed {copy.record.seed} of the same configuration as {first.path}"
    known, other = first.record, copy.record
    scores = {key: other.metrics[key] for key in other.metrics if key not in known.metrics}
    known_probes, probes = known.probes or {}, {}
    for key, by_name in (other.probes or {}).items():
        if further := {
            name: found for name, found in by_name.items() if name not in known_probes.get(key, {})
        }:
            probes[key] = further
    if not scores and not probes:
        return first, line
    held = ", ".join([*(f"scores of {key}" for key in scores), *(f"probes of {key}" for key in probes)])
    if not _same_training(known, other):
        return first, f"{line}, but of another training; left out with its {held}"
    record = known.model_copy(
        update={
            "metrics": known.metrics | scores,
            "scored": known.scored | {key: other.scored[key] for key in scores},
            "probes": {
                key: known_probes.get(key, {}) | probes.get(key, {}) for key in [*known_probes, *probes]
            }
            or None,
        }
    )
    elsewhere = {**first.elsewhere, **{key: copy.folder_of(key) for key in scores}}
    return replace(first, record=record, elsewhere=elsewhere), f"{line}, to which its {held} are added"


def _same_training(one: Record, other: Record) -> bool:
    """Whether two records of a seed have scores in common, and these and their weights are equal."""
    common = one.metrics.keys() & other.metrics.keys()
    weights = (getattr(record, "weights_sha256", None) for record in (one, other))
    return (
        bool(common)
        and len(set(weights)) == 1
        and all(one.metrics[key].model_dump_json() == other.metrics[key].model_dump_json() for key in common)
    )
