"""Tables as text: aligned columns for pipes and files, the same with colour for a terminal, markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from objbench.report.tables import Cell, Line, Table

if TYPE_CHECKING:
    from rich.console import RenderableType

METHOD_WIDTH = 14  # below this a terminal folds the other columns first
_FIXED = ("method", "data", "n", "train")
_EXPLAINED = "n: seeds; train: training scenes; ± of measured rows: sample std over seeds."
_INTERVALS = " [ , ]: 95 % bootstrap interval of one seed's mean over its test images."


def text(table: Table) -> str:
    """The table in aligned columns, however wide, with its legend below."""
    grid = [_heading(table), *(_texts(line, _bracketed) for line in table.lines)]
    widths = [max(len(row[i]) for row in grid) for i in range(len(grid[0]))]
    rule = "  ".join("-" * width for width in widths)
    printed = [table.title, "", _aligned(grid[0], widths), rule]
    for i, line in enumerate(table.lines):
        if i and line.section != table.lines[i - 1].section:
            printed.append(rule)
        printed.append(_aligned(grid[i + 1], widths))
    return "\n".join([*printed, "", *_legend(table, lambda letter: f"[{letter}]")]) + "\n"


def markdown(table: Table) -> str:
    """The table in GitHub's markdown, footnotes as superscripts."""
    heading = _heading(table)
    aligned = ["---"] * 2 + ["---:"] * (len(heading) - 2)
    rows = [heading, aligned, *(_texts(line, _superscript, _escaped) for line in table.lines)]
    printed = [f"### {table.title}", "", *("| " + " | ".join(row) + " |" for row in rows), ""]
    for line in _legend(table, lambda letter: f"<sup>{letter}</sup>"):
        printed += [f"- {_escaped(line)}"]
    return "\n".join(printed) + "\n"


def rich(table: Table) -> Iterable[RenderableType]:
    """The table for a terminal: folded where that is too narrow, never cut."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(title=Text(table.title), title_justify="left", box=SIMPLE_HEAD)
    for i, heading in enumerate(_heading(table)):
        justify = "left" if i < 2 else "right"
        width = METHOD_WIDTH if i == 0 else None
        shown.add_column(Text(heading), justify=justify, overflow="fold", min_width=width)  # type: ignore[arg-type]
    for i, line in enumerate(table.lines):
        if i and line.section != table.lines[i - 1].section:
            shown.add_section()
        style = "dim" if line.label.text.startswith("  ") else ""
        shown.add_row(*(Text(value) for value in _texts(line, _bracketed)), style=style)
    yield shown
    yield Text("\n".join(_legend(table, lambda letter: f"[{letter}]")), style="dim")


def _heading(table: Table) -> list[str]:
    return [*_FIXED, *table.headings]


def _texts(
    line: Line, marked: Callable[[Cell], str], escape: Callable[[str], str] = lambda text: text
) -> list[str]:
    cells = [marked(Cell(escape(cell.text), cell.marks)) for cell in (line.label, *line.cells)]
    return [cells[0], escape(line.data), line.n, line.n_train, *cells[1:]]


def _bracketed(cell: Cell) -> str:
    return f"{cell.text} [{','.join(cell.marks)}]" if cell.marks else cell.text


def _superscript(cell: Cell) -> str:
    return f"{cell.text}<sup>{','.join(cell.marks)}</sup>" if cell.marks else cell.text


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace("_", "\\_")


def _aligned(row: list[str], widths: list[int]) -> str:
    left = [value.ljust(width) for value, width in zip(row[:2], widths[:2], strict=True)]
    right = [value.rjust(width) for value, width in zip(row[2:], widths[2:], strict=True)]
    return "  ".join([*left, *right]).rstrip()


def _legend(table: Table, mark: Callable[[str], str]) -> list[str]:
    lines = [_EXPLAINED + (_INTERVALS if table.intervals else "")]
    lines += [f"{mark(letter)} {note}" for letter, note in table.legend]
    lines += [f"{key}: {r.text}{f', {r.url}' if r.url else ''}" for key, r in table.references]
    return lines
