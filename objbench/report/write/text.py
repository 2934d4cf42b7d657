"""Tables as text: aligned columns for pipes and files, styled text for a terminal, Markdown."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from objbench.report.tables.table import Cell, Line, Table

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

METHOD_WIDTH = 14  # a narrow terminal folds the other columns before it makes this one narrower
BEST = "Bold: the best of those of its column that it can be compared with."


def text(table: Table) -> str:
    """Write aligned columns, of any width, with the legend below."""
    grid = [table.full_headings, *(_texts(line, _bracketed) for line in table.lines)]
    widths = [max(len(row[i]) for row in grid) for i in range(len(grid[0]))]
    rule = "  ".join("-" * width for width in widths)
    left = n_left(table)
    printed = [table.title, "", _aligned(grid[0], widths, left), rule]
    for i, line in enumerate(table.lines):
        if i and line.section != table.lines[i - 1].section:
            printed.append(rule)
        printed.append(_aligned(grid[i + 1], widths, left))
    return "\n".join([*printed, "", *legend(table, lambda letter: f"[{letter}]")]) + "\n"


def markdown(table: Table) -> str:
    """Write GitHub's Markdown, with footnotes as superscripts and the best in bold."""
    heading = table.full_headings
    aligned = ["---"] * n_left(table) + ["---:"] * (len(heading) - n_left(table))
    rows = [heading, aligned, *(_texts(line, _superscript, _escaped) for line in table.lines)]
    printed = [f"### {table.title}", "", *("| " + " | ".join(row) + " |" for row in rows), ""]
    for line in legend(table, lambda letter: f"<sup>{letter}</sup>", bold=True):
        printed += [f"- {_escaped(line)}"]
    return "\n".join(printed) + "\n"


def rich(table: Table) -> Iterable[RenderableType]:
    """Render for a terminal, with the best in bold; cells are folded if it is too narrow, never cut."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(title=Text(table.title), title_justify="left", box=SIMPLE_HEAD)
    for i, heading in enumerate(table.full_headings):
        justify = "left" if i < n_left(table) else "right"
        width = METHOD_WIDTH if i == 0 else None
        shown.add_column(Text(heading), justify=justify, overflow="fold", min_width=width)  # type: ignore[arg-type]
    for i, line in enumerate(table.lines):
        if i and line.section != table.lines[i - 1].section:
            shown.add_section()
        cells = [_styled(cell) for cell in (line.label, *map(Cell, line.facts), *line.cells)]
        shown.add_row(*cells, style="" if line.seed is None else "dim")
    yield shown
    yield Text("\n".join(legend(table, lambda letter: f"[{letter}]", bold=True)), style="dim")


def print_tables(tables: Sequence[Table]) -> None:
    """Print tables to stdout: styled on a terminal, aligned text in a pipe."""
    if not sys.stdout.isatty():
        sys.stdout.write("\n".join(map(text, tables)))
        return
    from rich.console import Console

    console = Console()
    for table in tables:
        console.print(*rich(table), "", sep="\n")


def n_left(table: Table) -> int:
    """How many columns are aligned to the left: the label, and the first of the facts."""
    return 1 + min(1, len(table.facts))


def legend(table: Table, mark: Callable[[str], str], bold: bool = False) -> list[str]:
    """The lines below a table: explanations, footnotes with their letters formatted by `mark`, references."""
    lines = [*table.explained, *([BEST] if bold and table.has_best else [])]
    lines += [f"{mark(letter)} {note}" for letter, note in table.legend]
    lines += [f"{key}: {r.text}{f', {r.url}' if r.url else ''}" for key, r in table.references]
    return lines


def _texts(
    line: Line, marked: Callable[[Cell], str], escape: Callable[[str], str] = lambda text: text
) -> list[str]:
    cells = [marked(Cell(escape(cell.text), cell.marks, cell.best)) for cell in (line.label, *line.cells)]
    return [cells[0], *map(escape, line.facts), *cells[1:]]


def _bracketed(cell: Cell) -> str:
    return f"{cell.text} [{','.join(cell.marks)}]" if cell.marks else cell.text


def _styled(cell: Cell) -> Text:
    from rich.text import Text

    shown = Text(cell.text, style="bold" if cell.best else "")
    return shown.append(f" [{','.join(cell.marks)}]", style="not bold") if cell.marks else shown


def _superscript(cell: Cell) -> str:
    shown = f"**{cell.text}**" if cell.best else cell.text
    return f"{shown}<sup>{','.join(cell.marks)}</sup>" if cell.marks else shown


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace("_", "\\_")


def _aligned(row: list[str], widths: list[int], left: int) -> str:
    words = [value.ljust(width) for value, width in zip(row[:left], widths[:left], strict=True)]
    counts = [value.rjust(width) for value, width in zip(row[left:], widths[left:], strict=True)]
    return "  ".join([*words, *counts]).rstrip()
