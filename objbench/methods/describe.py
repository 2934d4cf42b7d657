"""What a method lets be set: each key with its meaning, its range, and its value by dataset and variant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from objbench.methods.create import method_class
from objbench.spec.explain import in_words
from objbench.spec.nested import value_at
from objbench.spec.resolve import resolve, shared_config
from objbench.spec.schema import Spec
from objbench.spec.settings import fields_of, parse


@dataclass(frozen=True)
class Setting:
    """One hyper-parameter.

    Attributes:
        meaning: what it is, in words.
        range: which values it may have, in words.
        default: its value on a dataset for which the method has no block.
        datasets: its value on each dataset for which the method, or the variant that was asked for, has a block.
        variants: variant -> its value on each dataset, for the variants that change it somewhere.
    """

    meaning: str
    range: str
    default: Any
    datasets: dict[str, Any]
    variants: dict[str, dict[str, Any]]


def settings_of(spec: Spec, name: str) -> dict[str, Setting]:
    """Every setting of `METHOD[:VARIANT]` by its dotted key, the method's own ones before those of its recipe.

    Raises:
        RequestError: unknown method or variant, or values in its yaml that its class refuses.
    """
    method, _, variant = name.partition(":")
    default = shared_config(spec, name)
    kind = method_class(method, spec.method_class(method)).Settings
    known = spec.method(method)
    own = {*known.datasets, *(known.variants[variant].datasets if variant else ())}
    datasets = [dataset for dataset in spec.datasets if not known.datasets or dataset in own]

    def values(name: str) -> dict[str, dict[str, Any]]:
        configs = {dataset: resolve(spec, name, spec.dataset(dataset), {}).config for dataset in datasets}
        return {dataset: parse(kind, config).model_dump(mode="json") for dataset, config in configs.items()}

    plain = values(name)
    varied = {} if variant else {other: values(f"{method}:{other}") for other in known.variants}
    found = {}
    for key, field in sorted(fields_of(kind), key=lambda item: item[0].startswith("recipe.")):
        here = {dataset: value_at(plain[dataset], key) for dataset in datasets}
        there = {other: {d: value_at(of[d], key) for d in datasets} for other, of in varied.items()}
        changed = {other: by_dataset for other, by_dataset in there.items() if by_dataset != here}
        found[key] = Setting(field.description or "", in_words(field), value_at(default, key), here, changed)
    return found
