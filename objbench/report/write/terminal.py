"""Tables for a terminal: styled, and never cut. What is too wide is split into parts, or stacked."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from objbench.report.tables.table import Cell, Table
from objbench.report.write.text import legend, n_left, printable_table, text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text


def print_tables(tables: Sequence[Table]) -> None:
    """Print tables to stdout: styled on a terminal, aligned text in a pipe."""
    if not sys.stdout.isatty():
        sys.stdout.write("\n".join(map(text, tables)))
        return
    from rich.console import Console

    console = Console()
    for table in tables:
        print_table(printable_table(table), console)
        print()


def print_table(table: Table, console: Console) -> None:
    """Print a table with its legend; say so if it does not fit into the width of the terminal."""
    from rich.text import Text

    parts = _parts(table, console)
    told = [Text(table.title, style="italic")]
    if parts is None:
        told.append(Text(f"Too wide for {console.width} columns: a block per line.", style="dim"))
    elif len(parts) > 1:
        told.append(Text(f"Too wide for {console.width} columns: in {len(parts)} parts.", style="dim"))
    console.print(*told, sep="\n", soft_wrap=True)
    if parts is None:
        console.print(*_stacked(table), sep="\n", soft_wrap=True)
    else:
        for part in parts:
            console.print(_grid(table, part))
    below = legend(table, lambda letter: f"[{letter}]", bold=True)
    console.print(Text("\n".join(below), style="dim"), overflow="ignore")  # words are never broken


def _parts(table: Table, console: Console) -> list[list[int]] | None:
    """Distribute the columns over as few parts as fit, each with the labels; None if a single column does not fit."""
    parts: list[list[int]] = [[0]]
    for column in range(1, len(table.full_headings())):
        if not _fits(table, [*parts[-1], column], console):
            if not _fits(table, [0, column], console):
                return None
            parts.append([0])
        parts[-1].append(column)
    return parts


def _fits(table: Table, columns: list[int], console: Console) -> bool:
    unlimited = console.options.update(max_width=1_000_000)
    return console.measure(_grid(table, columns), options=unlimited).maximum <= console.width


def _grid(table: Table, columns: list[int]) -> RichTable:
    """The table with some of its columns, numbered as in `full_headings`; no cell is ever broken."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(box=SIMPLE_HEAD)
    headings = table.full_headings("\n")
    for i in columns:
        left = i < n_left(table)
        shown.add_column(Text(headings[i]), justify="left" if left else "right", no_wrap=True)
    for number, line in enumerate(table.lines):
        if number and line.section != table.lines[number - 1].section:
            shown.add_section()
        cells = [line.label, *map(Cell, line.facts), *line.cells]
        shown.add_row(*(_styled(cells[i]) for i in columns), style="" if line.seed is None else "dim")
    return shown


def _stacked(table: Table) -> Iterator[Text]:
    """A block per line of the table: its label, then each heading with its value."""
    from rich.text import Text

    for line in table.lines:
        yield Text("")
        yield _styled(line.label)
        cells = [*map(Cell, line.facts), *line.cells]
        for heading, cell in zip(table.full_headings()[1:], cells, strict=True):
            if cell.text:
                yield Text(f"  {heading}: ").append_text(_styled(cell))
    yield Text("")


def _styled(cell: Cell) -> Text:
    from rich.text import Text

    shown = Text(cell.text, style="bold" if cell.best else "")
    return shown.append(f" [{','.join(cell.marks)}]", style="not bold") if cell.marks else shown
