"""The help of every verb: one style, and examples that are valid command lines."""

from __future__ import annotations

import re
import shlex

import pytest
import typer.main
from helpers.commands import call

from objbench.cli.main import VERBS, app


def help_of(verb: str, flag: str = "--help") -> str:
    found = call(verb, flag)
    assert found.exit_code == 0
    return found.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_short_flag_for_its_help(verb: str) -> None:
    assert help_of(verb, "-h") == help_of(verb)
    assert "-h, --help" in help_of(verb)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_examples_that_parse(verb: str) -> None:
    lines = [line for line in help_of(verb).splitlines() if line.startswith("      objbench ")]
    assert lines
    group = typer.main.get_command(app)
    for line in lines:
        words = shlex.split(line)
        assert words[1] == verb
        context = typer.Context(group)  # type: ignore[arg-type]
        name, command, rest = group.resolve_command(context, words[1:])  # type: ignore[attr-defined]
        command.make_context(name, rest)  # wrong options raise


@pytest.mark.parametrize("verb", VERBS)
def test_values_are_named_in_capitals_whatever_their_type(verb: str) -> None:
    text = help_of(verb)
    assert not re.search(r"<\w", text)
    assert "{" not in text.splitlines()[0]


def test_each_size_has_a_text_of_its_own() -> None:
    text = " ".join(help_of("prepare").split())
    assert all(
        text.count(part) == 1 for part in ("scenes to learn from", "scenes to validate on", "scenes to score")
    )


def test_options_without_a_meaning_are_not_offered_but_accepted() -> None:
    assert "--runs" not in help_of("show")
    assert "--runs" in help_of("run")
    for verb in ("segment", "publish", "report"):  # a dataset of one's own is declared in the data folder
        assert "--data" in help_of(verb)
    assert "unknown dataset" in call("show", "nothing", "--runs", "r").stderr
