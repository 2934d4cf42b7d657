"""From records and published numbers to tables: records -> rows -> plans -> tables -> text, markdown, csv, json.

records.py finds and reads the records, rows.py has the one type of a row, measured.py and published.py make rows,
compare.py says what may stand beside what, tables.py and paper.py arrange, render.py and export.py write.
"""

from __future__ import annotations

from objbench.report.show import print_report

__all__ = ["print_report"]
