"""Docstrings as the site reads them: `Example:` is the section that mkdocstrings knows as `Examples:`."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object


class ExampleSections(Extension):
    """Examples of docstrings are shown as code."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rename the section of an object that was just read."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
