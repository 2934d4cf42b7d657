"""Tables on terminals of several widths: whole numbers everywhere, and nothing that a terminal would execute."""

from __future__ import annotations

import io
import re

import pytest
from helpers.synthetic import record, save, scored, scores
from rich.console import Console

from objbench.report.rows.collect import collect
from objbench.report.rows.measured import Selection
from objbench.report.tables.build import build
from objbench.report.tables.paper import paper_plans
from objbench.report.tables.plan import dataset_plans
from objbench.report.tables.table import Cell, Line, Table
from objbench.report.write.terminal import print_table
from objbench.report.write.text import markdown, printable_table, text
from objbench.spec.load import load_spec

SPEC = load_spec()
LONG = "a_method_with_a_name_that_is_longer_than_any_narrow_terminal_is_wide"


def printed(table, width):
    out = io.StringIO()
    print_table(printable_table(table), Console(file=out, width=width, force_terminal=False))
    return out.getvalue()


def tables(folder, names):
    save(folder, *(record(seed, name, metrics={"test": scores(ari=0.8 + seed / 90)})
                   for name in names for seed in range(3)))  # fmt: skip
    found = collect(SPEC, folder, Selection()).rows
    plans = [*dataset_plans(found, ["tetrominoes"], SPEC), *paper_plans("1", found, ())]
    return [build(plan, SPEC, all_seeds=True, intervals=True) for plan in plans]


@pytest.mark.parametrize("names", [["objmae", "grid"], ["objmae", LONG]])
@pytest.mark.parametrize("width", [40, 60, 80, 120, 1000])
def test_every_value_stands_whole_on_one_line(tmp_path, names, width):
    for table in tables(tmp_path, names):
        lines = printed(table, width).splitlines()
        for line in table.lines:
            for value in (line.label.text, *line.facts, *(cell.text for cell in line.cells)):
                whole = re.compile(rf"(?<![\w.±]){re.escape(value.strip())}(?![\w.±])")
                assert any(whole.search(shown) for shown in lines), (value, width)
        assert "…" not in "".join(lines)


@pytest.mark.parametrize("width", [80, 120])
def test_no_part_of_a_grid_is_wider_than_the_terminal(tmp_path, width):
    for table in tables(tmp_path, ["objmae"]):
        shown = printed(table, width)
        assert "a block per line" not in shown
        grid = shown[shown.index("\n", shown.index(table.title)) : shown.index("n: seeds;")].splitlines()
        assert max(len(line) for line in grid if not line.startswith("Too wide")) <= width


def test_a_table_that_does_not_fit_says_so():
    lines = [Line("measured", Cell("objmae"), ("generated", "5"), [Cell("0.00125"), Cell("97.3 ± 0.4")])]
    table = Table("tetrominoes", "method", ("data", "n"), ["", ""], ["mse", "ari_fg"], lines)
    assert "Too wide" not in printed(table, 80)
    assert "Too wide for 30 columns: in 3 parts." in printed(table, 30)
    stacked = printed(table, 15)
    assert "Too wide for 15 columns: a block per line." in stacked
    assert "\nobjmae\n  data: generated\n  n: 5\n  mse: 0.00125\n  ari_fg: 97.3 ± 0.4\n" in stacked


def test_escapes_are_shown_and_not_sent(tmp_path):
    overrides = {"recipe.note": "\x1b[2J\x00red\nline\u202e"}
    save(tmp_path, record(overrides=overrides, on={"test": scored(generator={"\x1b]0;title\x07": 1})}))
    found = collect(SPEC, tmp_path, Selection()).rows
    (plan,) = dataset_plans([row for row in found if not row.published], [], SPEC)
    table = build(plan, SPEC)
    for shown in (printed(table, 80), text(table), markdown(table)):
        assert not set("\x1b\x00\x07\u202e") & set(shown)
        assert shown.replace("\n", "").isprintable()
        plain = shown.replace("\\\\", "\\")
        assert r"\x1b[2J\x00red\nline\u202e" in plain
        assert r"\x1b]0;title\x07" in plain
