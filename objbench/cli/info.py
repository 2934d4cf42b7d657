"""objbench info: what is known of a dataset, a method or a metric."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from objbench.cli.common import Context, print_json, verb
from objbench.cli.method_card import method_card
from objbench.cli.options import complete_name
from objbench.cli.overview import costs, dataset_overview, method_overview, metric_card
from objbench.errors import unknown_name
from objbench.spec.names import split_reference
from objbench.spec.own import SOURCES as OWN_SOURCES

if TYPE_CHECKING:
    from objbench.data.format.manifest import Manifest, Split
    from objbench.spec.datasets import DatasetSpec, ProtocolSpec, SplitRule
    from objbench.spec.schema import Spec
    from objbench.spec.sources import SourceSpec


class _Card(yaml.SafeDumper):
    """Repeats shared blocks instead of referring to them, and writes lists of numbers in one line."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _list(card: yaml.SafeDumper, items: list[Any] | tuple[Any, ...]) -> yaml.Node:
    numbers = all(isinstance(item, int | float) for item in items)
    return card.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=numbers)


_Card.add_representer(list, _list)
_Card.add_representer(tuple, _list)


@verb
def info(
    context: Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="DATASET|METHOD|METRIC",
            help="A name from objbench list, or FILE.py:CLASS.",
            autocompletion=complete_name,
        ),
    ],
    full: Annotated[
        bool, typer.Option("--full", help="Print everything that is known, on as many lines as it takes.")
    ] = False,
) -> None:
    """What a person asks of a dataset, a method or a metric, in 80 columns; --full and --json give everything.

    Example:
        objbench info clevr6
        objbench info slot_attention --full
        objbench info ari_fg
        objbench info ./mine.py:Mine
    """
    spec, asked = context.spec, name
    if split_reference(name) is not None:
        from objbench.methods.plain_block import with_files

        spec, (name,) = with_files([name], context.config, context.data)
    if name.partition("@")[0] in spec.datasets:
        card = _dataset(context, name)
        text = _full_dataset(card) if full else dataset_overview(card, spec, _manifests(context, card))
    elif name.partition(":")[0] in spec.methods:
        from objbench.methods.describe import settings_of

        card, settings = _method(spec, name), settings_of(spec, name)
        text = method_card(card, settings) if full else _method_overview(context, spec, card, asked)
        card["settings"] = {key: asdict(setting) for key, setting in settings.items()}
    elif name in (metrics := spec.all_metrics()):
        card = {"name": name, **metrics[name].model_dump()}
        text = metric_card(name, metrics[name])
    else:
        raise unknown_name("dataset, method or metric", name, [*spec.datasets, *spec.methods, *metrics])
    if context.json:
        print_json(card)
    else:
        print(text)


def _full_dataset(card: dict[str, Any]) -> str:
    return str(yaml.dump(card, Dumper=_Card, sort_keys=False, allow_unicode=True, width=110)).rstrip()


def _manifests(context: Context, card: dict[str, Any]) -> dict[str, list[Manifest]]:
    from objbench.data.format.manifest import prepared

    dataset = card["name"].partition("@")[0]
    references = [context.spec.dataset(f"{dataset}@{protocol}") for protocol in card["protocols"]]
    return {str(reference): list(prepared(context.data, reference).values()) for reference in references}


def _method_overview(context: Context, spec: Spec, card: dict[str, Any], asked: str) -> str:
    from objbench.methods.create import build
    from objbench.records import find_records
    from objbench.spec.resolve import resolve

    method = card["name"].partition(":")[0]
    parameters = {}
    for name in list(spec.method(method).datasets)[:4]:
        if name in spec.datasets:
            reference = spec.dataset(name)
            model = build(resolve(spec, card["name"], reference, {}), reference)
            parameters[name] = sum(p.numel() for p in model.parameters() if p.requires_grad)
    records = [found.record for found in find_records(context.runs_to_read).records]
    return method_overview(card, spec, parameters, costs(records, method), asked)


def _dataset(context: Context, name: str) -> dict[str, Any]:
    from objbench.data.format.manifest import prepared

    reference = context.spec.dataset(name)
    dataset = reference.spec
    protocols = {reference.protocol: reference.rule} if "@" in name else dataset.protocols
    sources = {source for rule in protocols.values() for source in rule.sources}
    here = {
        protocol: prepared(context.data, context.spec.dataset(f"{reference.name}@{protocol}"))
        for protocol in protocols
    }
    return _without_blanks(
        {
            "name": name,
            "title": dataset.title,
            "description": dataset.description,
            "size": f"{dataset.height}x{dataset.width}",
            "slots": dataset.slots,
            "default_source": dataset.default_source,
            "also_test": dataset.also_test,
            "protocols": {
                protocol: _without_blanks(
                    {
                        **_rule(dataset.under(protocol), rule),
                        "prepared": {
                            source: {name: _prepared(split) for name, split in manifest.splits.items()}
                            for source, manifest in here[protocol].items()
                        },
                    }
                )
                for protocol, rule in protocols.items()
            },
            "sources": {
                source: _without_blanks(dataset.sources[source].model_dump(exclude_none=True))
                for source in dataset.sources
                if source in sources
            },
            "errata": dataset.errata,
            "citation": _citations(context.spec, dataset.citation),
        }
    )


def _rule(dataset: DatasetSpec, rule: ProtocolSpec) -> dict[str, Any]:
    """A protocol: what it selects, what it does to the pixels, and the splits of each source."""
    return {
        "description": rule.description.strip(),
        "used_by": rule.used_by,
        "size": f"{dataset.height}x{dataset.width}",
        "select": {source: select.model_dump(exclude_none=True) for source, select in rule.select.items()},
        "transform": rule.transform.model_dump(exclude_none=True) if rule.transform else None,
        "options": rule.options,
        "splits": {
            source: {
                split: _split(split, r, source, dataset, selected=source in rule.select)
                for split, r in rules.items()
            }
            for source, rules in rule.sources.items()
        },
    }


def _split(split: str, rule: SplitRule, source: str, dataset: DatasetSpec, selected: bool) -> str:
    """A split of a source in words."""
    if source in OWN_SOURCES:
        share = "eight" if split == "train" else "one"
        pattern = dataset.sources[source].options.get(split)
        named = f"what is named {pattern or split} there; where nothing is, {share} of ten scenes, by the hash of their names"
        whole = not selected and _part(rule) == "all"
        return named if whole else f"{_part(rule)} of {named}"
    return (_qualifying if selected else _records)(rule, dataset.sources[source])


def _records(rule: SplitRule, source: SourceSpec) -> str:
    """A split rule in words, for the complete release."""
    also = ", also in train" if rule.in_train else ""
    total = source.records.get(rule.file, rule.stop)
    if total is None or total < 0:  # a release of unknown length
        return f"{_part(rule)} records of {rule.file}{also}"
    start, stop, _ = slice(rule.start, rule.stop).indices(total)
    return f"{stop - start:,} scenes: records {start:,} to {stop - 1:,} of {rule.file}{also}"


def _qualifying(rule: SplitRule, source: SourceSpec) -> str:
    """A split rule that counts those scenes that qualify, in words."""
    first, last = rule.records
    total = source.records.get(rule.file)
    if total is not None:
        first, last, _ = slice(first, last).indices(total)
    until = "the last" if last is None else f"{last - 1:,}"
    about = f"about {rule.about:,} scenes: " if rule.size is None else ""
    also = ", also in train" if rule.in_train else ""
    return f"{about}{_part(rule)} qualifying records among {first:,} to {until} of {rule.file}{also}"


def _part(rule: SplitRule) -> str:
    """The bounds of a rule in words: which of all."""
    start, stop = rule.start, rule.stop
    if start == 0:
        if stop is None:
            return "all"
        return f"all but the last {-stop:,}" if stop < 0 else f"the first {stop:,}"
    if stop is None:
        return f"the last {-start:,}" if start < 0 else f"all after the first {start:,}"
    if start < 0:
        return f"the {stop - start:,} before the last {-stop:,}"
    return f"the {stop - start:,} after the first {start:,}"


def _prepared(split: Split) -> dict[str, Any]:
    """What is prepared of a split: `objects` is the histogram, number of objects -> scenes."""
    return _without_blanks(
        {
            "scenes": split.count,
            "fingerprint": split.fingerprint,
            "objects": split.object_counts,
            "repeated": split.repeated,
            "skipped": {scene.index: scene.reason for scene in split.skipped},
        }
    )


def _method(spec: Spec, name: str) -> dict[str, Any]:
    """What is known of a method, but for its settings."""
    method = spec.method(name.partition(":")[0])
    return _without_blanks(
        {
            "name": name,
            "title": method.title,
            "summary": method.summary,
            "group": method.group,
            "trivial": method.trivial,
            "variants": {variant: v.description for variant, v in method.variants.items()},
            "citation": _citations(spec, [method.citation] if method.citation else []),
        }
    )


def _citations(spec: Spec, keys: list[str]) -> dict[str, str]:
    found = {key: spec.references[key] for key in keys if key in spec.references}
    return {key: f"{reference.text} {reference.url or ''}".rstrip() for key, reference in found.items()}


def _without_blanks(card: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in card.items() if value not in ({}, [], None)}
