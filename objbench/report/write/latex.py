"""Tables for a paper: a LaTeX table environment with booktabs rules, ready to be pasted."""

from __future__ import annotations

import re
import unicodedata

from objbench.report.tables.table import Cell, Line, Table
from objbench.report.write.text import BEST, n_left

_SPECIAL = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''",
    "±": r"$\pm$", "×": r"$\times$", "–": "--", "—": "---", "’": "'", "…": r"\dots{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}  # fmt: skip
# Letters of Latin-1 and Latin Extended-A that do not exist in LaTeX's default encoding (OT1).
_WITHOUT_FORM = set("ÐÞðþĄąĐđĘęĦħĮįĸĿŀŉŊŋŦŧŲųſªµº")


def latex(table: Table) -> str:
    r"""Write a table environment that needs the package booktabs; published rows \cite their keys.

    `bibtex` writes their entries.
    """
    label = "tab:" + re.sub(r"[^a-z0-9]+", "-", table.title.lower()).strip("-")
    title = re.sub(r"^Table \d+: ", "", table.title)
    left = n_left(table)
    columns = "l" * left + "r" * (len(table.full_headings()) - left)
    lines = [
        r"% needs \usepackage{booktabs}" + ("; --bibtex writes what is cited" if table.references else ""),
        r"\begin{table}[t]",
        r"\centering",
        rf"\caption{{{escaped(title)}}}",
        rf"\label{{{label}}}",
        r"\small",
        r"\setlength{\tabcolsep}{4pt}",
        rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
        r"\toprule",
        *_heading(table),
        r"\midrule",
        *_body(table),
        r"\bottomrule",
        r"\end{tabular}",
        *_notes(table),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    r"""Escape `text` for LaTeX. A character that pdflatex cannot print becomes its code point, such as [U+6A21].

    >>> escaped("100 % of a_b")
    '100 \\% of a\\_b'
    """
    return "".join(_sign(sign) for sign in unicodedata.normalize("NFC", text))


def _sign(sign: str) -> str:
    if sign in _SPECIAL:
        return _SPECIAL[sign]
    if sign.isspace():
        return " "
    if sign.isascii():
        return sign if sign.isprintable() else ""
    known = sign.isalpha() and ord(sign) < 0x180 and sign not in _WITHOUT_FORM
    return sign if known else f"[U+{ord(sign):04X}]"


def _heading(table: Table) -> list[str]:
    """One line of headings, or two if there are groups."""
    leading = [escaped(name) for name in (table.first, *table.facts)]
    names = [escaped(name) for name in table.headings]
    if not any(table.groups):
        return [_row([*leading, *names])]
    above, rules = [""] * len(leading), []
    start = 0
    while start < len(names):
        stop = start
        while stop < len(names) and table.groups[stop] == table.groups[start]:
            stop += 1
        above.append(rf"\multicolumn{{{stop - start}}}{{c}}{{{escaped(table.groups[start])}}}")
        if table.groups[start]:
            rules.append(rf"\cmidrule(lr){{{len(leading) + start + 1}-{len(leading) + stop}}}")
        start = stop
    return [_row(above), "".join(rules), _row([*leading, *names])]


def _body(table: Table) -> list[str]:
    printed = []
    for i, line in enumerate(table.lines):
        if i and line.section != table.lines[i - 1].section:
            printed.append(r"\midrule")
        printed.append(_line(line, {key for key, _ in table.references}))
    return printed


def _line(line: Line, citable: set[str]) -> str:
    label = _cell(Cell(line.label.text.strip(), line.label.marks))
    facts = [rf"\cite{{{fact}}}" if fact in citable else escaped(fact) for fact in line.facts]
    return _row([label if line.seed is None else rf"\quad {label}", *facts, *map(_cell, line.cells)])


def _cell(cell: Cell) -> str:
    shown = rf"\textbf{{{escaped(cell.text)}}}" if cell.best else escaped(cell.text)
    return rf"{shown}\textsuperscript{{{','.join(cell.marks)}}}" if cell.marks else shown


def _row(cells: list[str]) -> str:
    # The empty group keeps a row that starts with a bracket from being read as the argument of the \\ above it.
    return "{}" * cells[0].startswith("[") + " & ".join(cells) + r" \\"


def _notes(table: Table) -> list[str]:
    """The explanations and footnotes below the table, in small print."""
    keys = [key for key, _ in table.references]
    explained = [escaped(line) for line in [*table.explained, *([BEST] if table.has_best else [])]]
    notes = [rf"\textsuperscript{{{letter}}}~{_citing(text, keys)}" for letter, text in table.legend]
    if not explained and not notes:
        return []
    return [
        r"\par\smallskip",
        r"\begin{minipage}{\linewidth}\footnotesize\raggedright",
        *(line + r"\par" for line in [*explained, *notes]),
        r"\end{minipage}",
    ]


def _citing(text: str, keys: list[str]) -> str:
    parts = re.split(rf"\b({'|'.join(map(re.escape, keys))})\b", text) if keys else [text]
    return "".join(rf"\cite{{{part}}}" if part in keys else escaped(part) for part in parts)
