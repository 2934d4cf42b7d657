"""Markdown from templates that packages of objbench hold, with front matter as hubs read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined


def render(package: str, template: str, front_matter: Mapping[str, Any], **values: Any) -> str:
    """The text of a template.

    Args:
        package: Where the template lies.
        template: Its file.
        front_matter: What the template gets as YAML under this name.
        values: What else it gets.

    Raises:
        jinja2.UndefinedError: The template names a value that it does not get.
    """
    environment = Environment(
        loader=PackageLoader(package, "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    text = yaml.safe_dump(dict(front_matter), sort_keys=False, allow_unicode=True)
    return environment.get_template(template).render(front_matter=text, **values)
