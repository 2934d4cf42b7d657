"""From records and published numbers to what a paper uses: records -> rows -> plans -> tables -> text, LaTeX, page.

ask.py says what may be asked, answer.py leads from there to what is written. records.py finds and reads the records,
rows.py has the one type of a row, measured.py and published.py make rows, compare.py says what may stand beside what,
success.py counts seeds. plans.py and paper.py say what a table shows, tables.py lays it out (settings.py: tables of
hyper-parameters, versus.py: of two methods) in the words of layout.py and printed.py; render.py, latex.py, export.py and
html write it. figures draws the paper's figures.
"""

from __future__ import annotations

from objbench.report.rows.collect import print_report

__all__ = ["print_report"]
