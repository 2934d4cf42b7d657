"""What a value of a configuration may be, in words: in refusals, and in the tables of `objbench info`."""

from __future__ import annotations

from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen, MultipleOf
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from objbench.errors import RequestError, one_of, shortened, unknown_name

_SCALARS = {int: "whole number", float: "number", str: "word"}


def refusal(key: str, expected: str, found: object) -> RequestError:
    """The refusal of a value: its dotted key, what was expected, what was found.

    >>> str(refusal("model.width", "a whole number >= 1", 0))
    'model.width: expected a whole number >= 1, found 0'
    """
    return RequestError(f"{key}: expected {expected}, found {shortened(repr(found))}")


def explain(model: type[BaseModel], error: ValidationError) -> list[str]:
    """One line per mistake in what was to be parsed as a `model`, in the words of `refusal`."""
    lines = []
    for item in error.errors():
        place, kind = _follow(model, item["loc"])
        key = ".".join(place)
        if item["type"] == "extra_forbidden":
            parent, _, name = key.rpartition(".")
            block = _container(_follow(model, item["loc"][:-1])[1])
            known = _fields(block) if _is_model(block) else ()
            lines.append(str(unknown_name(f"key in {parent}" if parent else "key", name, known)))
        elif item["type"] == "value_error":
            told = item["msg"].removeprefix("Value error, ")
            lines.append(told if not key or told.startswith(key) else f"{key}: {told}")
        else:
            expected = in_words(kind) or _plainly(kind, item["msg"])
            found = "nothing" if item["type"] == "missing" else shortened(repr(item["input"]))
            lines.append(f"{key}: expected {expected}, found {found}")
    return list(dict.fromkeys(lines))


def _plainly(kind: Any, message: str) -> str:
    """What pydantic says of a block or a list that `in_words` has no words for."""
    block = _container(kind)
    if _is_model(block) or get_origin(block) is dict:
        return "a mapping"
    if get_origin(block) in (list, tuple):
        return "a list"
    return "a value" if message == "Field required" else message.removeprefix("Input should be ")


def in_words(kind: Any) -> str:
    """The values of a type or of a field of a pydantic model; "" where there is no simple description.

    >>> in_words(Annotated[int, Ge(1)] | None)
    'a whole number >= 1 or null'
    >>> in_words(list[Annotated[int, MultipleOf(8)]])
    'a list of multiples of 8'
    >>> in_words(Literal["log", "linear"] | None)
    'log, linear or null'
    >>> in_words(list[Literal["log", "linear"]])
    'a list of log or linear'
    """
    options = _options(kind)
    return one_of(options) if all(options) else ""


def _options(kind: Any) -> list[str]:
    """The alternatives that a type allows, each in words."""
    base, constraints = _unwrapped(kind)
    if get_origin(base) in (Union, UnionType):
        return [option for part in get_args(base) for option in _options(part)]
    if get_origin(base) is Literal:
        return [str(value) for value in get_args(base)]
    if get_origin(base) is list:
        items = _scalar(*_unwrapped(get_args(base)[0]), plural=True)
        filled = any(isinstance(constraint, MinLen) for constraint in constraints)
        return [items and f"a {'non-empty ' if filled else ''}list of {items}"]
    return [_scalar(base, constraints, plural=False)]


def _scalar(base: Any, constraints: list[Any], plural: bool) -> str:
    if base is NoneType:
        return "null"
    if base is bool:
        return "true or false"
    if get_origin(base) is Literal:  # of the items of a list
        return one_of([str(value) for value in get_args(base)])
    name = _SCALARS.get(base, "")
    for constraint in constraints:
        if isinstance(constraint, MultipleOf):
            name = f"multiple of {constraint.multiple_of}"
    if not name:
        return ""
    if plural:
        name = name.replace("multiple", "multiples") if "multiple" in name else f"{name}s"
    bounds = " and ".join(_bounds(constraints))
    return f"{'' if plural else 'a '}{name}{f' {bounds}' if bounds else ''}"


def _bounds(constraints: list[Any]) -> Iterator[str]:
    signs = (Gt, "gt", ">"), (Ge, "ge", ">="), (Lt, "lt", "<"), (Le, "le", "<=")
    for kind, attribute, sign in signs:
        for constraint in constraints:
            if isinstance(constraint, kind):
                yield f"{sign} {getattr(constraint, attribute)}"


def _unwrapped(kind: Any) -> tuple[Any, list[Any]]:
    """A type without its annotations, and the constraints that these hold."""
    if isinstance(kind, FieldInfo):
        base, constraints = _unwrapped(kind.annotation)
        return base, [*constraints, *kind.metadata]
    if get_origin(kind) is Annotated:
        base, *notes = get_args(kind)
        base, constraints = _unwrapped(base)
        for note in notes:
            constraints += note.metadata if isinstance(note, FieldInfo) else [note]
        return base, constraints
    return kind, []


def _follow(kind: Any, location: tuple[int | str, ...]) -> tuple[list[str], Any]:
    """The part of pydantic's location that consists of keys and indices, and the type or field found there."""
    place: list[str] = []
    for part in location:
        block = _container(kind)
        if get_origin(block) in (Union, UnionType):
            break  # what follows tells the options of the union apart
        if _is_model(block):
            kind = _fields(block).get(str(part))
        else:
            kind = get_args(block)[-1] if get_origin(block) in (dict, list) else None
        place.append(str(part))
    return place, kind


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a model by the keys that yaml has for them."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _container(kind: Any) -> Any:
    """A type without its annotations; X for `X | None`."""
    base, _ = _unwrapped(kind)
    options = [option for option in get_args(base) if option is not NoneType]
    if get_origin(base) in (Union, UnionType) and len(options) == 1:
        return _unwrapped(options[0])[0]
    return base


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
