"""From a method's name, a dataset and `--set` overrides to the one configuration that a run uses."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from objbench.errors import RequestError, unknown_name
from objbench.registry import names
from objbench.spec.datasets import DatasetRef
from objbench.spec.key_value import key_yaml
from objbench.spec.nested import as_yaml, deep_merge, flatten, unflatten
from objbench.spec.schema import MethodSpec, Spec, VariantSpec

_LENGTHS = ("recipe.steps", "recipe.epochs")
_NO_RESULT = ("checkpoint_minutes",)  # keys of the recipe that change no result: not a part of what a run is


@dataclass(frozen=True)
class MethodConfig:
    """A method, its variant and its resolved hyper-parameters for one dataset.

    `overrides` are the dotted keys of --set in the type of the method's block, so that 1e-3 and 0.001 are the same;
    without those that change no result.
    """

    method: str
    variant: str | None
    overrides: dict[str, Any]
    config: dict[str, Any]
    implementation: str  # module:Class

    @property
    def identity(self) -> dict[str, Any]:
        """The hyper-parameters that can change a result: what config.json holds and the hash is of."""
        recipe = {key: value for key, value in self.config["recipe"].items() if key not in _NO_RESULT}
        return {**self.config, "recipe": recipe}

    @property
    def hash(self) -> str:
        """sha256 of the class of the method and of its `identity`, the number of slots included."""
        return hash_of({"implementation": self.implementation, "config": self.identity})

    @property
    def label(self) -> str:
        """The name of the run's folder; see `run_label`."""
        return run_label(self.method, self.variant, self.overrides)


def run_label(method: str, variant: str | None, overrides: Mapping[str, Any]) -> str:
    """`method[-variant][+hash6 of the overrides]`, which names the folder of a run."""
    label = f"{method}-{variant}" if variant else method
    return f"{label}+{digest(overrides)[:6]}" if overrides else label


def hash_of(run: Mapping[str, Any]) -> str:
    """sha256 of the class and the hyper-parameters of a run, of its config.json or of what will be in it."""
    return digest({key: run[key] for key in ("implementation", "config")})


def digest(content: Any) -> str:
    """sha256 of the canonical JSON of `content`."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def resolve(spec: Spec, name: str, dataset: DatasetRef, overrides: Mapping[str, Any]) -> MethodConfig:
    """The configuration of `METHOD[:VARIANT]` on `dataset`, with dotted `overrides` applied in order.

    Later layers win: the dataset's number of slots and the shared recipe, method, dataset, variant, variant on this
    dataset, overrides. Where the method has no block for the dataset, `settings_block` says whose settings it takes;
    its variant takes the same, unless it has a block of its own for the dataset.
    Values are not checked here: the class of the method declares what each may be, and `objbench.methods.create.build`
    checks them.

    Raises:
        RequestError: unknown method, variant or key.
    """
    method, variant = method_and_variant(spec, name)
    method_name, _, variant_name = name.partition(":")
    block = settings_block(spec, method_name, dataset)
    config = _lay(_shared(spec, method, dataset.spec.slots), method.datasets.get(block or "", {}))
    if variant is not None:
        config = _lay(config, variant.config)
        own = dataset.name if dataset.name in variant.datasets else block
        config = _lay(config, variant.datasets.get(own or "", {}))
    overrides = _one_length(_leaves(overrides))
    for key, value in overrides.items():
        config = _lay(config, unflatten({key: value}))
    final = flatten(config)
    typed = {
        key: value if final[key] is None else final[key]
        for key, value in overrides.items()
        if key.removeprefix("recipe.") not in _NO_RESULT
    }
    return MethodConfig(method_name, variant_name or None, typed, config, spec.method_class(method_name))


def _leaves(overrides: Mapping[str, Any], block: str = "") -> dict[str, Any]:
    """Overrides under the dotted keys of single settings, the later ones behind: `model: {width: 96}` is `model.width: 96`.

    Numbers and arrays of numpy and torch are numbers and lists, as in a yaml.
    """
    leaves: dict[str, Any] = {}
    for name, value in overrides.items():
        key = f"{block}{name}"
        if isinstance(value, Mapping) and not value:
            raise RequestError(
                f"{key}: an empty mapping sets nothing; expected a value, such as {key}.NAME=VALUE"
            )
        plain = as_yaml(value)
        for leaf, found in (
            _leaves(plain, f"{key}.") if isinstance(plain, Mapping) else {key: plain}
        ).items():
            leaves.pop(leaf, None)
            leaves[leaf] = found
    return leaves


def _one_length(overrides: dict[str, Any]) -> dict[str, Any]:
    """Overrides with the steps or the epochs of the training alone: the later one takes the other away."""
    given = [key for key in overrides if key in _LENGTHS and overrides[key] is not None]
    return {
        key: value
        for key, value in overrides.items()
        if key not in _LENGTHS or key in given[-1:] or not given
    }


def whole_config(spec: Spec, identity: Mapping[str, Any]) -> dict[str, Any]:
    """The hyper-parameters of a run whose `identity` this is; what is not in there is as in benchmarks.yaml."""
    return deep_merge({"recipe": {key: spec.recipe[key] for key in _NO_RESULT}}, identity)


def shared_config(spec: Spec, name: str) -> dict[str, Any]:
    """The hyper-parameters of `METHOD[:VARIANT]` on a dataset for which it has no block; `slots` is None there."""
    method, variant = method_and_variant(spec, name)
    return _lay(_shared(spec, method, None), variant.config if variant is not None else {})


def method_and_variant(spec: Spec, name: str) -> tuple[MethodSpec, VariantSpec | None]:
    """The blocks that `METHOD[:VARIANT]` names.

    Raises:
        RequestError: The method or the variant is not known.
    """
    method_name, colon, variant = name.partition(":")
    if method_name not in spec.methods and method_name in names("methods"):
        raise RequestError(
            f"method '{method_name}' is installed but has no block methods.{method_name}: "
            "put one into a benchmarks.yaml in its package, or into a file of your own, with --config"
        )
    method = spec.method(method_name)
    if colon and variant not in method.variants:
        raise unknown_name(f"variant of {method_name}", variant, method.variants)
    return method, method.variants[variant] if colon else None


def _shared(spec: Spec, method: MethodSpec, slots: int | None) -> dict[str, Any]:
    return deep_merge({"slots": slots, "recipe": spec.recipe}, method.config)


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """`["recipe.steps=300", ...]` as a mapping; values are read as YAML."""
    overrides: dict[str, Any] = {}
    for assignment in assignments:
        key, value = key_yaml("--set", assignment, "recipe.steps=300", empty=True)
        overrides.pop(key, None)  # the later --set wins, in order as well
        overrides[key] = value
    return overrides


def settings_block(spec: Spec, name: str, dataset: DatasetRef) -> str | None:
    """The dataset under whose name the method `name` (without variant) has its settings for `dataset`.

    The dataset itself; else the one that its block names with `settings_like`; else the first one with images of the
    same size. None: no block fits, and the method's `config` stands alone. `--set` and a block of one's own change
    either.
    """
    blocks = spec.method(name).datasets
    known = [other for other in blocks if other in spec.datasets]
    same_size = [other for other in known if spec.datasets[other].image_shape == dataset.spec.image_shape]
    candidates = (dataset.name, dataset.spec.settings_like, *same_size)
    return next((other for other in candidates if other in blocks), None)


def borrowed_settings(spec: Spec, name: str, dataset: DatasetRef) -> str | None:
    """What a person must know where no published recipe exists for `METHOD[:VARIANT]` on `dataset`; None where one does."""
    method, _, variant = name.partition(":")
    block = settings_block(spec, method, dataset)
    known = spec.method(method)
    own = variant and dataset.name in known.variants[variant].datasets
    if own or not known.datasets or block == dataset.name:
        return None
    taken = f"those of {block}" if block else "its defaults"
    return (
        f"{method} has no published recipe for {dataset.name}: its settings are {taken}; "
        f"a block methods.{method}.datasets.{dataset.name} (--config) or --set changes them"
    )


def _lay(config: dict[str, Any], block: dict[str, Any]) -> dict[str, Any]:
    """`block` over `config`, each value in the type that the key has; steps take epochs away, and the reverse."""
    known = flatten(config)
    given = flatten(block)
    for key in given:
        if key not in known:
            raise unknown_name("key", key, known)
    typed = {key: _in_the_type_of(known[key], value) for key, value in given.items()}
    merged = deep_merge(config, unflatten(typed))
    if typed.get("recipe.steps") is not None:
        merged["recipe"]["epochs"] = None
    elif typed.get("recipe.epochs") is not None:
        merged["recipe"]["steps"] = None
    return merged


def _in_the_type_of(default: Any, value: Any) -> Any:
    """`value` as a number of the type of `default`, where it is one; YAML reads 1e-3 as a word."""
    if isinstance(value, str) and not isinstance(default, str):
        with contextlib.suppress(ValueError):
            value = float(value)
    if isinstance(value, float) and value.is_integer() and not isinstance(default, float):
        return int(value)
    if type(value) is int and isinstance(default, float):
        return float(value)
    return value
