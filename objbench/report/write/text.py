"""Tables as text: aligned columns for pipes and files, Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from objbench.printable import printable
from objbench.report.tables.table import Cell, Line, Table

BEST = "Bold: the best of those of its column that it can be compared with."


def text(table: Table) -> str:
    """Write aligned columns, of any width, with the legend below."""
    table = printable_table(table)
    grid = [table.full_headings(), *(_texts(line, _bracketed) for line in table.lines)]
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
    table = printable_table(table)
    heading = table.full_headings()
    aligned = ["---"] * n_left(table) + ["---:"] * (len(heading) - n_left(table))
    lines = (_texts(line, _superscript, _escaped) for line in table.lines)
    rows = [list(map(_escaped, heading)), aligned, *lines]
    printed = [f"### {_escaped(table.title)}", "", *("| " + " | ".join(row) + " |" for row in rows), ""]
    below = legend(table, lambda letter: f"<sup>{letter}</sup>", bold=True, escape=_escaped)
    printed += [f"- {line}" for line in below]
    return "\n".join(printed) + "\n"


def printable_table(table: Table) -> Table:
    """The table with every character of its strings that is not printable shown as an escape; newlines too."""
    return replace(
        table,
        title=_one_line(table.title),
        groups=[_one_line(group) for group in table.groups],
        headings=[_one_line(heading) for heading in table.headings],
        lines=[
            replace(
                line,
                label=replace(line.label, text=_one_line(line.label.text)),
                facts=tuple(map(_one_line, line.facts)),
                cells=[replace(cell, text=_one_line(cell.text)) for cell in line.cells],
            )
            for line in table.lines
        ],
        explained=[_one_line(explanation) for explanation in table.explained],
        legend=[(letter, _one_line(note)) for letter, note in table.legend],
    )


def _one_line(text: str) -> str:
    return printable(text.replace("\n", "\\n"))


def n_left(table: Table) -> int:
    """How many columns are aligned to the left: the label, and the first of the facts."""
    return 1 + min(1, len(table.facts))


def legend(
    table: Table,
    mark: Callable[[str], str],
    bold: bool = False,
    escape: Callable[[str], str] = lambda text: text,
) -> list[str]:
    """The lines below a table: explanations, footnotes with their letters formatted by `mark`, references."""
    lines = [escape(line) for line in (*table.explained, *([BEST] if bold and table.has_best else []))]
    lines += [f"{mark(letter)} {escape(note)}" for letter, note in table.legend]
    lines += [escape(f"{key}: {r.text}{f', {r.url}' if r.url else ''}") for key, r in table.references]
    return lines


def _texts(
    line: Line, marked: Callable[[Cell], str], escape: Callable[[str], str] = lambda text: text
) -> list[str]:
    cells = [marked(Cell(escape(cell.text), cell.marks, cell.best)) for cell in (line.label, *line.cells)]
    return [cells[0], *map(escape, line.facts), *cells[1:]]


def _bracketed(cell: Cell) -> str:
    return f"{cell.text} [{','.join(cell.marks)}]" if cell.marks else cell.text


def _superscript(cell: Cell) -> str:
    shown = f"**{cell.text}**" if cell.best else cell.text
    return f"{shown}<sup>{','.join(cell.marks)}</sup>" if cell.marks else shown


def _escaped(text: str) -> str:
    """What Markdown would take for a sign of its own, or HTML for a tag or a character by name.

    >>> print(_escaped("a_b <c> &amp; d & e"))
    a\\_b \\<c> \\&amp; d & e
    """
    return re.sub(r"[\\`*_|<]|&(?=#?\w+;)", r"\\\g<0>", text)


def _aligned(row: list[str], widths: list[int], left: int) -> str:
    words = [value.ljust(width) for value, width in zip(row[:left], widths[:left], strict=True)]
    counts = [value.rjust(width) for value, width in zip(row[left:], widths[left:], strict=True)]
    return "  ".join([*words, *counts]).rstrip()
