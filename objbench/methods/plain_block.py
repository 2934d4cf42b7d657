"""The block of a method from a plain file: what benchmarks.yaml says of others, worked out from its class."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from objbench.errors import RequestError
from objbench.methods.base import Method
from objbench.methods.plain_file import MethodFile, loaded_file, read_file
from objbench.registry import names
from objbench.spec.load import load_spec
from objbench.spec.names import split_reference
from objbench.spec.nested import as_yaml, deep_merge, unflatten
from objbench.spec.schema import MethodSpec, Spec
from objbench.spec.settings import SHARED_KEYS, fields_of
from objbench.stores import Place

_INHERITED = ("group", "masks", "citation", "datasets", "variants", "resources")


def with_files(
    references: Sequence[str], config: Path | None = None, data: Place | None = None
) -> tuple[Spec, list[str]]:
    """The benchmarks with the methods from files, and METHOD[:VARIANT] for each reference.

    Args:
        references: METHOD[:VARIANT] or FILE.py[:CLASS[:VARIANT]].
        config: Your own yaml, laid over benchmarks.yaml and over what the files say.
        data: The folder of the prepared datasets.

    Raises:
        RequestError: A file or a layer is wrong.
    """
    methods, files = named(references)
    return spec_with(files, config, data), methods


Kept = Callable[[Path, str | None], MethodFile | None]


def named(
    references: Sequence[str], kept: Kept = lambda path, kind: None
) -> tuple[list[str], tuple[MethodFile, ...]]:
    """METHOD[:VARIANT] for each reference, and the files of those that name one, which are executed.

    Args:
        references: METHOD[:VARIANT] or FILE.py[:CLASS[:VARIANT]].
        kept: What is kept of a file that is gone, by its path and class.

    Raises:
        RequestError: A file is wrong, or two of them would have one name.
    """
    methods: list[str] = []
    files: dict[str, MethodFile] = {}
    for reference in references:
        found = split_reference(reference)
        if found is None:
            methods.append(reference)
            continue
        path, kind, variant = found
        file = (None if path.exists() else kept(path, kind)) or read_file(path, kind)
        other = files.setdefault(file.method, file)
        if other.path != file.path:
            raise RequestError(
                f"{other.path} and {file.path} would both be the method {file.method}: rename one of them"
            )
        methods.append(f"{file.method}:{variant}" if variant else file.method)
    return methods, tuple(files.values())


def spec_with(files: Sequence[MethodFile], config: Path | None = None, data: Place | None = None) -> Spec:
    """The benchmarks, with a block for the method of each file.

    Raises:
        RequestError: A layer is wrong, or a method of a file has the name of another method.
    """
    if not files:
        return load_spec(config, data)
    known = load_spec(None, data)
    for file in files:
        if file.method in known.methods or file.method in names("methods"):
            raise RequestError(
                f"{file.path}: there is a method '{file.method}' already; rename the file or the class"
            )
    layers = [(str(file.path), {"methods": {file.method: block(file, known)}}) for file in files]
    spec = load_spec(config, data, layers)
    for file in files:
        if spec.methods[file.method].class_ != file.implementation:
            raise RequestError(
                f"--config {config}: methods.{file.method}.class: {file.path} says it; leave it out there"
            )
    return spec


def block(file: MethodFile, spec: Spec) -> dict[str, Any]:
    """What a yaml would say of the method of a file.

    `config` holds the defaults of its `Settings`; a setting without one is null there, which its type refuses until a
    yaml or `--set` gives a value. Where the class is derived from a registered method, whatever it does not say itself
    is as in the block of that one.
    """
    kind = file.load()
    base = _registered_base(kind, spec)
    inherited = spec.methods[base].model_dump(by_alias=True, exclude_unset=True) if base else {}
    own = (key for key, field in fields_of(kind.Settings) if key not in SHARED_KEYS)
    text = inspect.cleandoc(kind.__dict__.get("__doc__") or "") or f"The class {file.kind} of {file.file}"
    layers = (unflatten(dict.fromkeys(own)), inherited.get("config", {}), defaults(kind.Settings))
    return {
        **{key: inherited[key] for key in _INHERITED if key in inherited},
        "title": file.kind,
        "summary": text.splitlines()[0].removesuffix("."),
        "class": file.implementation,
        "config": reduce(deep_merge, layers),
    }


def described(spec: Spec, method: str, implementation: str | None) -> MethodSpec:
    """The block of the method of a run: from the benchmarks, else worked out from its file, which is loaded.

    Args:
        spec: The benchmarks.
        method: The name of the method, without variant.
        implementation: Of a method from a file; None for one of a package.
    """
    file = loaded_file(implementation) if implementation else None
    if file is None or method in spec.methods:
        return spec.method(method)
    return MethodSpec.model_validate(block(file, spec))


def _registered_base(kind: type[Method], spec: Spec) -> str | None:
    """The registered method that a class is derived from, None if it is derived from none."""
    registered = {
        method.class_ or names("methods").get(name, ""): name for name, method in spec.methods.items()
    }
    above = (f"{base.__module__}:{base.__qualname__}" for base in kind.__mro__[1:])
    return next((registered[base] for base in above if base in registered), None)


def defaults(settings: type[BaseModel]) -> dict[str, Any]:
    """The defaults of Settings as the `config` of a block, a tuple as a list. Those of a group may be some of its keys.

    Raises:
        RequestError: A default is no value that a yaml can have.

    >>> from objbench.spec.settings import Recipe
    >>> from pydantic import Field
    >>> class Settings(Method.Settings):
    ...     recipe: Recipe = Field({"steps": 300})
    ...     width: int = Field(8, description="of the network")
    >>> defaults(Settings)
    {'recipe': {'steps': 300}, 'width': 8}
    """
    found: dict[str, Any] = {}
    for name, field in settings.model_fields.items():
        given = None if field.is_required() else field.get_default(call_default_factory=True)
        if isinstance(given, BaseModel):
            given = given.model_dump()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            inner = defaults(field.annotation)
            if isinstance(given, Mapping):
                inner = deep_merge(inner, given)
            if inner:
                found[name] = _as_yaml(name, inner)
        elif not field.is_required():
            found[name] = _as_yaml(name, given)
    return found


def _as_yaml(name: str, given: Any) -> Any:
    try:
        return json.loads(json.dumps(as_yaml(given)))
    except (TypeError, ValueError):
        raise RequestError(
            f"Settings.{name}: its default {given!r:.40} is no value that a yaml can have (a number, word, list or mapping)"
        ) from None
