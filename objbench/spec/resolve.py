"""From a method's name, a dataset and `--set` overrides to the one configuration that a run uses."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import ValidationError

from objbench.errors import RequestError, unknown_name
from objbench.registry import names
from objbench.spec.datasets import DatasetRef
from objbench.spec.nested import deep_merge, flatten, unflatten
from objbench.spec.schema import MethodSpec, Recipe, Spec


@dataclass(frozen=True)
class MethodConfig:
    """A method, its variant and its resolved hyper-parameters for one dataset.

    `overrides` are the dotted keys of --set in the type of the method's block, so that 1e-3 and 0.001 are the same.
    """

    method: str
    variant: str | None
    overrides: dict[str, Any]
    config: dict[str, Any]

    @property
    def label(self) -> str:
        """The name of the run's folder: `method[-variant][+hash6 of the overrides]`."""
        label = f"{self.method}-{self.variant}" if self.variant else self.method
        return f"{label}+{digest(self.overrides)[:6]}" if self.overrides else label

    @property
    def recipe(self) -> Recipe:
        """The typed part of `config["recipe"]`."""
        return Recipe.model_validate(self.config["recipe"])


def digest(content: Any) -> str:
    """sha256 of the canonical JSON of `content`."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def resolve(spec: Spec, name: str, dataset: DatasetRef, overrides: Mapping[str, Any]) -> MethodConfig:
    """The configuration of `METHOD[:VARIANT]` on `dataset`, with dotted `overrides` applied in order.

    Later layers win: shared recipe, method, dataset, variant, variant on this dataset, overrides.
    Raises RequestError for an unknown method, variant or key, or a value of the wrong type.
    """
    method_name, _, variant_name = name.partition(":")
    if method_name not in spec.methods and method_name in names("methods"):
        raise RequestError(
            f"method '{method_name}' is installed but has no block methods.{method_name}: "
            "put one into a benchmarks.yaml in its package, or into a file of your own, with --config"
        )
    method = spec.method(method_name)
    config = deep_merge({"recipe": spec.recipe}, method.config)
    where = f"methods.{method_name}"
    config = _lay(config, _for_dataset(method_name, method, dataset), f"{where}.datasets.{dataset.name}")
    if variant_name:
        if variant_name not in method.variants:
            raise unknown_name(f"variant of {method_name}", variant_name, method.variants)
        variant = method.variants[variant_name]
        where = f"{where}.variants.{variant_name}"
        config = _lay(config, variant.config, f"{where}.config")
        config = _lay(config, variant.datasets.get(dataset.name, {}), f"{where}.datasets.{dataset.name}")
    for key, value in overrides.items():
        config = _lay(config, unflatten({key: value}), "--set")
    try:
        Recipe.model_validate(config["recipe"])
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise RequestError(f"recipe.{place}: {first['msg']} (found {first['input']!r})") from None
    final = flatten(config)
    typed = {key: value if final[key] is None else final[key] for key, value in overrides.items()}
    return MethodConfig(method_name, variant_name or None, typed, config)


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """`["recipe.steps=300", ...]` as a mapping; values are read as YAML."""
    overrides: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key:
            raise RequestError(f"--set {assignment}: expected key=value, such as --set recipe.steps=300")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            raise RequestError(f"--set {assignment}: '{text}' is not a value (number, word, list)") from None
        overrides.pop(key, None)  # the later --set wins, in order as well
        overrides[key] = value
    return overrides


def _for_dataset(name: str, method: MethodSpec, dataset: DatasetRef) -> dict[str, Any]:
    if method.datasets and dataset.name not in method.datasets:
        known = ", ".join(sorted(method.datasets))
        raise RequestError(
            f"method '{name}' has no hyper-parameters for dataset '{dataset.name}' (it has: {known}). "
            f"Give it a block methods.{name}.datasets.{dataset.name} in a file of your own, with --config"
        )
    return method.datasets.get(dataset.name, {})


def _lay(config: dict[str, Any], block: dict[str, Any], where: str) -> dict[str, Any]:
    """`block` over `config`, each value in the type that the key has; steps take epochs away, and the reverse."""
    known = flatten(config)
    given = flatten(block)
    for key in given:
        if key not in known:
            raise unknown_name("key", key, known)
    typed = {key: _as_type_of(f"{where} {key}", known[key], value) for key, value in given.items()}
    merged = deep_merge(config, unflatten(typed))
    if typed.get("recipe.steps") is not None:
        merged["recipe"]["epochs"] = None
    elif typed.get("recipe.epochs") is not None:
        merged["recipe"]["steps"] = None
    return merged


def _as_type_of(key: str, default: Any, value: Any) -> Any:
    """`value` in the type of `default`; YAML reads 1e-3 as a word, which is a number here."""
    if isinstance(value, str) and not isinstance(default, str):
        with contextlib.suppress(ValueError):
            value = float(value)
    if isinstance(value, float) and value.is_integer() and not isinstance(default, float):
        value = int(value)
    if value is None or (default is None and not isinstance(value, bool)):
        return value
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not type(default):
        expected = "a number or word" if default is None else type(default).__name__
        raise RequestError(f"{key}: expected {expected}, found {value!r}")
    return value
