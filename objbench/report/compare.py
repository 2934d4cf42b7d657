"""What may stand beside what: the footnotes that set rows apart, and the refusal of a mixed table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from objbench.registry import DEFAULT_DEFINITION
from objbench.report.rows import ALL_SEEDS, COST_METRICS, MEANING, Row, is_percent


def row_notes(row: Row, peers: Sequence[Row]) -> list[str]:
    """What sets `row` apart from what its column stands for; `peers`: all rows on the same dataset, itself too."""
    return _published_notes(row) if row.published else _measured_notes(row, peers)


def cell_notes(row: Row, metric: str) -> list[str]:
    """What sets one value apart: a definition that is not the one of that name here, a cost's device, missing seeds."""
    if metric in COST_METRICS and row.devices:
        return [f"on {', '.join(row.devices)}"]
    if not row.published and len(row.values[metric].seeds) != row.n:
        return [f"{metric}: of {len(row.values[metric].seeds)} of the {row.n} seeds, the others have none"]
    if not row.published or not is_percent(metric):
        return []
    definition = row.definitions[metric]
    return [] if definition == MEANING.get(metric) else [f"{metric}: {_stated('definition', definition)}"]


def _published_notes(row: Row) -> list[str]:
    seeds = f" over {row.n} seeds" if row.n else ""
    parts = [_stated("protocol", row.protocol)]
    if any(value.std is not None for value in row.values.values()):
        parts.append(f"± {_stated('kind of std', row.std_kind)}{seeds}")
    if row.quoted_in:
        parts.append(f"as quoted in {row.quoted_in}")
    selection = [] if row.selection == ALL_SEEDS else [row.selection]
    return ["; ".join(parts), *selection, *row.notes]


def _stated(what: str, text: str) -> str:
    if text == "not stated":
        return f"{what} not stated"
    return f"{text} std" if what == "kind of std" else text


def _measured_notes(row: Row, peers: Sequence[Row]) -> list[str]:
    notes = []
    if row.generator is not None:
        made = ", ".join(f"{key} {value}" for key, value in row.generator.items())
        notes.append(f"generated data, not the upstream release (generator {made})")
    if not row.default_protocol:
        notes.append(f"protocol {row.protocol}, not the default one of {row.dataset}")
    if row.split != "test":
        notes.append(f"scored on the {row.split} split, not on test")
    if not row.standard:
        notes.append(f"not the protocol's standard {row.split} split ({row.n_images:,} images)")
    scored_on = f"{row.dataset}@{row.protocol}/{row.source}"
    if row.trained_on != scored_on and row.steps:
        notes.append(f"trained on {row.trained_on}")
    if row.short_training:
        notes.append(row.short_training)
    notes += _odd_ones(row, [peer for peer in peers if not peer.published])
    if row.definition != DEFAULT_DEFINITION:
        notes.append(f"scored as {row.definition} defines the metrics, not as {DEFAULT_DEFINITION}")
    if row.kind == "external":
        notes.append("predictions made outside objbench")
    if row.overrides:
        notes.append("with " + ", ".join(f"{key}={value}" for key, value in row.overrides.items()))
    if row.selection != ALL_SEEDS:
        notes.append(row.selection)
    return notes


def _odd_ones(row: Row, peers: Sequence[Row]) -> list[str]:
    """What is said only where the measured rows of a dataset disagree about it."""
    notes = []
    if len({peer.fingerprint for peer in peers}) > 1:
        notes.append(f"{row.split} split of fingerprint {(row.fingerprint or '')[:12]} ({row.source})")
    if len({peer.resolution for peer in peers}) > 1 and row.resolution:
        notes.append(f"scored at {row.resolution[0]}x{row.resolution[1]}")
    if row.steps and not row.short_training and len({peer.n_train for peer in peers if peer.steps}) > 1:
        notes.append(f"trained on {row.n_train:,} scenes")
    same = [
        p
        for p in peers
        if (p.kind, p.label, p.overrides) == (row.kind, row.label, row.overrides) and p.steps is not None
    ]
    if row.steps is not None and len({(peer.config_hash, peer.steps) for peer in same}) > 1:
        notes.append(f"configuration {(row.config_hash or '')[:12]}, {row.steps:,} steps")
    return notes


def conflicts(rows: Iterable[Row], metrics: Sequence[str]) -> list[str]:
    """One line per row of a dataset that cannot be compared with the first row of it, measured ones first."""
    by_dataset: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.published):
        by_dataset.setdefault(row.dataset, []).append(row)
    lines = []
    for dataset, members in by_dataset.items():
        reference = members[0]
        for row in members[1:]:
            if reasons := _differences(row, reference, metrics):
                lines.append(
                    f"{dataset}: {describe(row)} against {describe(reference)}: " + ", ".join(reasons)
                )
    return lines


def describe(row: Row) -> str:
    """A row in the words of a message: `objmae (generated)` or `monet (greff2019)`."""
    return f"{row.label} ({row.citation if row.published else row.source})"


def _differences(row: Row, reference: Row, metrics: Sequence[str]) -> list[str]:
    if row.published:
        reasons = _protocol_difference(row, reference)
    else:
        reasons = [
            f"{name} {mine!s:.40} is not {theirs!s:.40}"
            for name, mine, theirs in (
                ("protocol", row.protocol, reference.protocol),
                ("source", row.source, reference.source),
                ("split", row.split, reference.split),
                ("generator", row.generator, reference.generator),
                ("standard split", row.standard, reference.standard),
                ("fingerprint", row.fingerprint, reference.fingerprint),
                ("resolution", row.resolution, reference.resolution),
                ("definition of metrics", row.definition, reference.definition),
            )
            if mine != theirs
        ]
        if row.steps and reference.steps and row.n_train != reference.n_train:
            reasons.append(f"trained on {row.n_train:,} scenes, not {reference.n_train:,}")
    for metric in metrics:
        mine, theirs = row.definitions.get(metric), reference.definitions.get(metric, MEANING.get(metric))
        if metric in row.values and is_percent(metric) and (mine == "not stated" or mine != theirs):
            reasons.append(f"{metric} is '{mine}', not '{theirs}'")
    return reasons


def _protocol_difference(row: Row, reference: Row) -> list[str]:
    if row.test_id is not None and row.test_id == reference.test_id:
        return [reference.short_training] if reference.short_training else []
    if reference.published and row.protocol == reference.protocol != "not stated":
        return []
    theirs = reference.protocol if reference.published else f"{reference.protocol}/{reference.source}"
    return [f"protocol '{row.protocol}' is not '{theirs}'"]
