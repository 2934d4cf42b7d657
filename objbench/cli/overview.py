"""What a person asks of a dataset, a method or a metric, in 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from objbench.records import Run

if TYPE_CHECKING:
    from objbench.data.format.manifest import Manifest
    from objbench.records import Record
    from objbench.spec.metrics import MetricSpec
    from objbench.spec.schema import Spec

_WIDTH, _LABEL = 80, 12


def dataset_overview(card: dict[str, Any], spec: Spec, prepared: dict[str, list[Manifest]]) -> str:
    """The screen of a dataset.

    Args:
        card: Everything that is known of it.
        spec: benchmarks.yaml.
        prepared: DATASET[@PROTOCOL] -> what is prepared of it.
    """
    name = card["name"].partition("@")[0]
    recipes = sorted(method for method, block in spec.methods.items() if name in block.datasets)
    anywhere = sorted(method for method, block in spec.methods.items() if not block.datasets)
    protocols = card["protocols"]
    first = next(iter(protocols))
    source = card["default_source"]
    splits = protocols[first]["splits"]
    shown = splits.get(source) or next(iter(splits.values()))
    lines = [f"{card['name']}: {card['title']}", *textwrap.wrap(card["description"], _WIDTH), ""]
    lines += _field(
        "size", f"{card['size']} pixels, K = {card['slots']} slots (the background is one of them)"
    )
    for split, rule in shown.items():
        lines += _field(split, rule)
    lines += _field("sources", "; ".join(_sources(card)))
    for protocol, rule in protocols.items():
        use = rule.get("used_by") or _first_sentence(rule["description"])
        lines += _field(
            "protocol", f"{protocol}{' (the default)' * (protocol == spec.default_protocol(name))}: {use}"
        )
    lines += _field("also tested", ", ".join(card.get("also_test", [])))
    lines += _field(
        "recipes",
        f"{', '.join(recipes) or 'none of its own'}; others take their method's defaults; without training: "
        f"{', '.join(anywhere) or 'none'}",
    )
    lines += _field("prepared", "; ".join(_prepared(prepared)) or f"no; objbench prepare {card['name']}")
    errata = [str(text) for text in card.get("errata", [])]
    for erratum in errata[:3]:
        lines += _field("erratum", _first_sentence(erratum))
    if len(errata) > 3:
        lines += _field("", f"{len(errata) - 3} more errata")
    lines += ["", f"objbench info {card['name']} --full: licences, factors, records, citation"]
    return "\n".join(lines)


def method_overview(
    card: dict[str, Any], spec: Spec, parameters: dict[str, int], costs: Sequence[str], asked: str
) -> str:
    """The screen of a method.

    Args:
        card: Everything that is known of it but its settings.
        spec: benchmarks.yaml.
        parameters: Dataset -> number of trained parameters there.
        costs: What trainings of it cost, a line each.
        asked: What the user named it by.
    """
    from objbench.spec.schema import GROUPS

    block = spec.method(card["name"].partition(":")[0])
    lines = [f"{card['name']}: {card['title']}", *textwrap.wrap(card["summary"], _WIDTH), ""]
    for text in card.get("citation", {}).values():
        lines += _field("paper", text)
    lines += _field("group", f"{block.group}: {GROUPS[block.group]}")
    lines += _field("datasets", ", ".join(block.datasets) or "any")
    for masks, meaning in block.masks.items():
        lines += _field("masks", f"also {masks}: {meaning}")
    for variant, description in card.get("variants", {}).items():
        lines += _field("preset", f":{variant}: {description}")
    counts = "; ".join(f"{count:,} on {dataset}" for dataset, count in parameters.items())
    lines += _field("parameters", counts)
    if not block.trivial:
        lines += _field("cost", "; ".join(costs) or "no record here says it (--runs names other records)")
    lines += [
        "",
        f"objbench info {asked} --full: all settings with ranges and values",
    ]
    return "\n".join(lines)


def metric_card(name: str, metric: MetricSpec) -> str:
    """What a metric is and how its values are read."""
    low, high = ("no bound" if bound is None else f"{bound:g}" for bound in metric.range)
    better = f"{metric.better} is better" if metric.better else "neither direction is better"
    lines = [f"{name}: {metric.title}", *textwrap.wrap(metric.summary, _WIDTH), ""]
    lines += _field("definition", metric.meaning)
    lines += _field("range", f"{low} to {high}{', printed in percent' * metric.percent}")
    lines += _field("direction", better)
    lines += _field("table", "a column by default" if metric.column else f"only with --metrics {name}")
    return "\n".join(lines)


def costs(records: Iterable[Record], method: str) -> list[str]:
    """What the trainings of a method that are on record cost: hours by dataset and device, as measured."""
    measured: dict[tuple[str, str, str, int], list[float]] = {}
    for record in records:
        if isinstance(record, Run) and record.method == method and record.steps:
            key = (record.method_label, record.dataset_ref, record.device, record.steps)
            measured.setdefault(key, []).append(record.train_seconds / 3600)
    return [
        f"{label} on {dataset}: {sum(hours) / len(hours):.2g} h for {steps:,} steps on {device} "
        f"(measured, mean of {len(hours)})"
        for (label, dataset, device, steps), hours in measured.items()
    ]


def reduced_sizes(manifest: Manifest) -> dict[str, int] | None:
    """Split -> number of scenes, None if all are of the standard size."""
    if all(split.standard for split in manifest.splits.values()):
        return None
    return {name: split.count for name, split in manifest.splits.items()}


def marked(sizes: dict[str, int] | None) -> str:
    """What follows the name of a source whose sizes are not the standard ones, so that none is taken for the benchmark.

    >>> marked({"train": 2000, "test": 64}), marked(None)
    (' (not the standard sizes: 2,000 train, 64 test)', '')
    """
    if sizes is None:
        return ""
    return f" (not the standard sizes: {', '.join(f'{count:,} {split}' for split, count in sizes.items())})"


def _sources(card: dict[str, Any]) -> Iterator[str]:
    for name, source in card["sources"].items():
        yield f"{name}{' (the default)' * (name == card['default_source'])}: {source['title']}"


def _prepared(prepared: dict[str, list[Manifest]]) -> Iterator[str]:
    for reference, manifests in prepared.items():
        for manifest in manifests:
            repeats = "".join(f"; {name}: {words}" for name, words in manifest.repeats.items())
            yield f"{reference} from {manifest.source}{marked(reduced_sizes(manifest))}{repeats}"


def _first_sentence(text: str) -> str:
    head, stop, _ = text.partition(". ")
    return f"{head}." if stop else text


def _field(label: str, text: str) -> list[str]:
    if not text:
        return []
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=f"{label:{_LABEL}}",
        subsequent_indent=" " * _LABEL,
        break_long_words=False,
        break_on_hyphens=False,
    )
