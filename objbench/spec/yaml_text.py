"""YAML as objbench reads it: plain values, each key once, no tricks with aliases; what is wrong in one line."""

from __future__ import annotations

import re
from typing import Any

import yaml

from objbench.errors import RequestError

MOST_VALUES = 1_000_000  # of a file whose aliases are written out
_MOST_BITS = 1024  # of a whole number, as many as of the largest float
_FOREIGN = ("timestamp", "binary", "set", "omap", "pairs")
_MERGE = "tag:yaml.org,2002:merge"
_BASE_8 = re.compile(r"[-+]?0[0-7_]+")
_TEXT, _NUMBERS = "tag:yaml.org,2002:str", ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


def parse_yaml(text: str) -> Any:
    """The content of a YAML text: mappings, lists, text, numbers, true, false and null.

    Anchors, aliases and merge keys (`<<`) mean what YAML says; 1:30 and 012 are text.

    Raises:
        RequestError: The text is not valid YAML, has a key twice in one mapping, holds values of other types, half
            characters or numbers that are too long, is nested too deeply, or has aliases that refer to themselves or that would
            fill the memory. The message names the line.

    Example:
        >>> parse_yaml("a: &a {b: 1}\\nc: {<<: *a, d: [2, x]}")
        {'a': {'b': 1}, 'c': {'b': 1, 'd': [2, 'x']}}
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = ", ".join(part for part in (error.context, error.problem) if part)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise RequestError(f"not valid YAML: {where}{what}") from None
    except yaml.YAMLError as error:
        raise RequestError(f"not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise RequestError("not valid YAML: it is nested too deeply") from None


class _Loader(yaml.SafeLoader):
    """Builds plain values; refuses what PyYAML takes without a word."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._sizes: dict[int, int] = {}  # id of a complete node -> values in it, aliases written out

    def compose_node(self, parent: Any, index: Any) -> Any:
        alias: Any = self.peek_event() if self.check_event(yaml.AliasEvent) else None  # type: ignore[no-untyped-call]
        node = super().compose_node(parent, index)
        if alias is not None and not isinstance(node, yaml.ScalarNode) and id(node) not in self._sizes:
            raise _mistake(
                f"the alias '*{alias.anchor}' stands inside of what it refers to", alias.start_mark
            )
        return node

    def compose_sequence_node(self, anchor: Any) -> Any:
        node = super().compose_sequence_node(anchor)
        return self._counted(node, node.value)

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        lines: dict[Any, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _mistake("a key must be a word or a number", key.start_mark)
            if key.tag == _MERGE:
                continue
            name = self.construct_object(key)
            if name in lines:
                raise _mistake(f"the key '{key.value}' stands in line {lines[name]} already", key.start_mark)
            lines[name] = key.start_mark.line + 1
        return self._counted(node, [part for pair in node.value for part in pair])

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
            if isinstance(value, int) and value.bit_length() > _MOST_BITS:
                raise OverflowError
            if isinstance(value, str):
                value.encode()  # half a character, as "\\ud800", is no text and cannot be printed
            return value
        except (ValueError, OverflowError, ArithmeticError, LookupError, AttributeError) as error:
            kind = node.tag.rpartition(":")[2]
            reason = f" ({error})" if isinstance(error, ValueError) else ""
            raise _mistake(f"a value of the type {kind} cannot be read{reason}", node.start_mark) from None

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        """The tag of a node; 1:30 and 012 are text, not the 90 and 10 that YAML 1.1 reads to the bases of 60 and 8."""
        tag = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]
        return _TEXT if tag in _NUMBERS and (":" in value or _BASE_8.fullmatch(value)) else tag

    def _counted(self, node: Any, parts: list[Any]) -> Any:
        size = 1 + sum(self._sizes.get(id(part), 1) for part in parts)
        if size > MOST_VALUES:
            raise _mistake(f"its aliases make up more than {MOST_VALUES:,} values", node.start_mark)
        self._sizes[id(node)] = size
        return node


def _foreign(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    kind = node.tag.rpartition(":")[2]
    raise _mistake(f"a {kind} is neither text nor number; in quotes it is text", node.start_mark)


for _name in _FOREIGN:
    _Loader.add_constructor(f"tag:yaml.org,2002:{_name}", _foreign)


def _mistake(what: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=what, problem_mark=mark)
