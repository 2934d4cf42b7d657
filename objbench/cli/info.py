"""objbench info: the card of a dataset or a method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from objbench.cli.common import Context, print_json, verb
from objbench.errors import unknown_name

if TYPE_CHECKING:
    from objbench.spec import SourceSpec, Spec, SplitRule


@verb
def info(
    context: Context,
    name: Annotated[str, typer.Argument(metavar="DATASET|METHOD", help="A name that `objbench list` gives.")],
) -> None:
    """The card of a dataset (sources, licences, protocols, factors, errata) or of a method (hyper-parameters)."""
    spec = context.spec
    if name.partition("@")[0] in spec.datasets:
        card = _dataset(context, name)
    elif name.partition(":")[0] in spec.methods:
        card = _method(spec, name)
    else:
        raise unknown_name("dataset or method", name, [*spec.datasets, *spec.methods])
    if context.json:
        print_json(card)
    else:
        print(yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=110), end="")


def _dataset(context: Context, name: str) -> dict[str, Any]:
    from objbench.data.manifest import prepared

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
                protocol: {
                    "description": rule.description.strip(),
                    "options": rule.options,
                    "splits": {
                        source: {split: _records(r, dataset.sources[source]) for split, r in rules.items()}
                        for source, rules in rule.sources.items()
                    },
                    "prepared": {
                        source: {
                            split: {"scenes": s.count, "fingerprint": s.fingerprint}
                            for split, s in m.splits.items()
                        }
                        for source, m in here[protocol].items()
                    },
                }
                for protocol, rule in protocols.items()
            },
            "sources": {
                source: dataset.sources[source].model_dump()
                for source in dataset.sources
                if source in sources
            },
            "errata": dataset.errata,
            "citation": _citations(context.spec, dataset.citation),
        }
    )


def _records(rule: SplitRule, source: SourceSpec) -> str:
    """A split rule in words, for the complete release."""
    also = ", also in train" if rule.in_train else ""
    total = source.records.get(rule.file, rule.stop)
    if total is None:  # a release of unknown length: as Python slices it
        return f"records {rule.start}:{'' if rule.stop is None else rule.stop} of {rule.file}{also}"
    start, stop, _ = slice(rule.start, rule.stop).indices(total)
    return f"{stop - start:,} scenes: records {start:,} to {stop - 1:,} of {rule.file}{also}"


def _method(spec: Spec, name: str) -> dict[str, Any]:
    from objbench.config import resolve

    method = spec.method(name.partition(":")[0])
    resolved = {
        dataset: resolve(spec, name, spec.dataset(dataset), {}).config
        for dataset in spec.datasets
        if not method.datasets or dataset in method.datasets
    }
    return _without_blanks(
        {
            "name": name,
            "title": method.title,
            "summary": method.summary,
            "trivial": method.trivial,
            "variants": {variant: v.description for variant, v in method.variants.items()},
            "citation": _citations(spec, [method.citation] if method.citation else []),
            "datasets": resolved,
        }
    )


def _citations(spec: Spec, keys: list[str]) -> dict[str, str]:
    found = {key: spec.references[key] for key in keys if key in spec.references}
    return {key: f"{reference.text} {reference.url or ''}".rstrip() for key, reference in found.items()}


def _without_blanks(card: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in card.items() if value not in ({}, [], None)}
