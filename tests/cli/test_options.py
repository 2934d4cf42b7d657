"""Completion in a shell, as its script asks for it."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from objbench.cli.main import app


def completions(line: str) -> list[str]:
    words = line.split(" ")
    environment = {
        "_OBJBENCH_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    return CliRunner().invoke(app, [], prog_name="objbench", env=environment).stdout.split()


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("objbench pre", ["prepare"]),
        ("objbench info tetro", ["tetrominoes"]),
        ("objbench info ari_", ["ari_fg"]),
        ("objbench prepare tetrominoes@al", ["tetrominoes@aligned"]),
        ("objbench run slot", ["slot_attention"]),
        ("objbench run objmae:no_m", ["objmae:no_masking"]),
        ("objbench run grid --dataset multi_dsprites_on", []),
        ("objbench run grid --in", ["--in-memory"]),
        ("objbench report --format m", ["markdown"]),
        ("objbench list me", ["methods", "metrics"]),
    ],
)
def test_verbs_options_and_names_are_completed(line: str, found: list[str]) -> None:
    assert completions(line) == found
