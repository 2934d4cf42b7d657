"""The card of a method for the terminal, in 80 columns: labels on the left, values on the right."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from objbench.methods.describe import Setting

WIDTH, LABEL = 80, 32


def method_card(about: Mapping[str, Any], settings: Mapping[str, Setting]) -> str:
    """The card as text.

    Args:
        about: name, title, summary and group, if there are any also variants and citation (name -> text).
        settings: by their dotted keys.
    """
    lines = [f"{about['name']}: {about['title']}", *textwrap.wrap(about["summary"], WIDTH)]
    lines.append(f"group: {about['group']}")
    for text in about.get("citation", {}).values():
        lines += textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)
    if variants := about.get("variants"):
        lines += ["", _row("VARIANT", "DESCRIPTION")]
        lines += [_row(f":{name}", description) for name, description in variants.items()]
    lines += ["", _row("SETTING", "DEFAULT")]
    for key, setting in settings.items():
        lines += ["", *_setting(key, setting)]
    return "\n".join(lines)


def _setting(key: str, setting: Setting) -> Iterator[str]:
    """Its key and default value, its meaning and range, and where it has another value."""
    yield _row(key, _text(setting.default))
    yield from textwrap.wrap(setting.meaning, WIDTH, initial_indent="  ", subsequent_indent="  ")
    yield _row("  range", setting.range)
    for label, value in _exceptions(setting):
        yield _row(f"  {label}", _text(value))


def _exceptions(setting: Setting) -> Iterator[tuple[str, Any]]:
    """Datasets with a value of their own, then variants: on all datasets, or on those where they change it."""
    other = {name: value for name, value in setting.datasets.items() if value != setting.default}
    for value, names in _by_value(other):
        yield ", ".join(names), value
    for variant, values in setting.variants.items():
        if len(_by_value(values)) == 1:
            yield f":{variant}", next(iter(values.values()))
            continue
        changed = {name: value for name, value in values.items() if value != setting.datasets[name]}
        for value, names in _by_value(changed):
            yield f":{variant} on {', '.join(names)}", value


def _by_value(values: Mapping[str, Any]) -> list[tuple[Any, list[str]]]:
    """The values and the names that have each, in the order of the first name."""
    groups: dict[str, tuple[Any, list[str]]] = {}
    for name, value in values.items():
        groups.setdefault(json.dumps(value), (value, []))[1].append(name)
    return list(groups.values())


def _row(label: str, value: str) -> str:
    left = textwrap.wrap(label, LABEL - 1, subsequent_indent="    ", drop_whitespace=False)
    right = textwrap.wrap(value, WIDTH - LABEL, break_long_words=False, break_on_hyphens=False) or [""]
    if any(len(word) > LABEL - len("    ") - 1 for word in label.split()):  # names are not broken
        above = textwrap.wrap(
            label, WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
        )
        return "\n".join([*above, *(f"{'':{LABEL}}{line}" for line in right)])
    height = max(len(left), len(right))
    left, right = ([*side, *[""] * (height - len(side))] for side in (left, right))
    return "\n".join(f"{one:<{LABEL}}{two}".rstrip() for one, two in zip(left, right, strict=True))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
