"""The tables and the picture of docs/report.md and docs/probes.md are what the commands beside them make."""

from __future__ import annotations

import re
import shlex

import numpy as np
import pytest
from helpers.paths import ROOT
from PIL import Image
from typer.testing import CliRunner

from objbench.cli.main import app


def beside(what: str, page: str = "report.md") -> tuple[list[str], str]:
    """The command whose output the page shows as `what`, and what it shows."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    start = (
        f"<!-- the {what} below is that of the command, checked by tests/project/test_report_page.py -->\n"
    )
    found = re.search(
        re.escape(start) + r"```sh\nobjbench ([^\n]*)\n```\n\n(.*?)\n\n(?=<!--|\Z)", text + "\n", re.DOTALL
    )
    assert found, f"docs/{page} shows no {what} with a command above it"
    return shlex.split(found[1]), found[2]


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("page", ["report.md", "probes.md"])
def test_the_table_is_the_output_of_the_command_word_for_word(page):
    command, shown = beside("output", page)
    result = CliRunner().invoke(app, command)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.strip() == shown


def test_the_picture_is_the_one_that_the_command_draws(tmp_path):
    command, shown = beside("picture")
    committed = ROOT / command[-1]
    assert re.fullmatch(rf"!\[.+\]\(\.\./{re.escape(command[-1])}\)", shown)
    drawn = tmp_path / committed.name
    result = CliRunner().invoke(app, [*command[:-1], str(drawn)])
    assert result.exit_code == 0, result.stderr
    old, new = (np.asarray(Image.open(path).convert("L"), float) for path in (committed, drawn))
    assert new.shape == pytest.approx(old.shape, rel=0.02)
    height, width = (min(sizes) for sizes in zip(old.shape, new.shape, strict=True))
    gap = np.abs(old[:height, :width] - new[:height, :width])
    assert gap.mean() < 2  # grey levels: another version of matplotlib sets letters a little differently
