"""Cards from templates."""

from __future__ import annotations

import jinja2
import pytest

from objbench import markdown
from objbench.markdown import render


@pytest.fixture
def template(monkeypatch):
    def use(text):
        monkeypatch.setattr(markdown, "PackageLoader", lambda *_: jinja2.DictLoader({"card": text}))

    return use


def test_front_matter_keeps_its_order_and_its_letters(template):
    template("---\n{{ front_matter }}---\n{{ name }}\n")
    assert render("p", "card", {"z": "é", "a": [1]}, name="<b>") == "---\nz: é\na:\n- 1\n---\n<b>\n"


def test_a_value_that_is_not_given_is_an_error(template):
    template("{{ missing }}")
    with pytest.raises(jinja2.UndefinedError, match="missing"):
        render("p", "card", {})
