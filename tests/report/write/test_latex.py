"""The LaTeX of tables: balanced and escaped everywhere, and compiled where there is a LaTeX with booktabs."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from helpers.synthetic import generated, record, save, scored

from objbench.report.rows.collect import collect
from objbench.report.rows.measured import Selection
from objbench.report.rows.success import Success
from objbench.report.tables.build import build
from objbench.report.tables.hyperparameters import (
    HYPERPARAMETER_TABLES,
    hyperparameters,
    hyperparameters_table,
)
from objbench.report.tables.paper import PAPER_TABLES, paper_plans
from objbench.report.tables.plan import dataset_plans, with_success
from objbench.report.tables.table import Cell, Line, Table
from objbench.report.write.latex import escaped, latex
from objbench.spec.load import load_spec

ODD = 'a_b & 50 % of $x$ #1 {y} ~ ^ \\end{table} <z> | "q" ± × – Vikström 模型 đ'


@pytest.fixture
def tables(tmp_path):
    """Every table of the paper, two tables of datasets, and one full of odd signs."""
    spec = load_spec()
    save(
        tmp_path,
        record(0),
        record(1),
        generated(method=ODD),
        record(0, "monet", on={"test": scored(standard=False)}),
    )
    rows = collect(spec, tmp_path, Selection()).rows
    plans = [plan for number in PAPER_TABLES for plan in paper_plans(number, rows, [])]
    plans += [with_success(plan, Success("ari_fg", 0.5)) for plan in dataset_plans(rows, [], spec)]
    found = [build(plan, spec, all_seeds=True, intervals=True) for plan in plans]
    found += [
        hyperparameters_table(hyperparameters(number, spec, []), spec) for number in HYPERPARAMETER_TABLES
    ]
    return [*found, odd_table()]


def odd_table():
    cell = Cell(ODD, ("a",), best=True)
    bracket = Line("s", Cell("[starts with a bracket"), ("x",), [Cell("[1, 2]")])
    return Table(
        ODD, ODD, (ODD,), [ODD], [ODD], [Line("s", cell, (ODD,), [cell]), bracket], [ODD], [("a", ODD)]
    )


def read(text):
    """The environments and braces of LaTeX source, checked for balance; the rows of its tabular, as cells."""
    source = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    open_environments, depth = [], 0
    for token in re.finditer(r"\\(?:begin|end)\{(\w+)\}|\\.|[{}]|[$&#^_%~]", source, re.DOTALL):
        sign = token[0]
        if sign.startswith("\\begin"):
            open_environments.append(token[1])
        elif sign.startswith("\\end"):
            assert open_environments.pop() == token[1]
        elif sign in "{}":
            depth += 1 if sign == "{" else -1
            assert depth >= 0
        else:
            assert sign not in "#^_%", f"'{sign}' is not escaped"
    assert (open_environments, depth) == ([], 0)
    assert len(re.findall(r"(?<!\\)\$", source)) % 2 == 0
    body = source.partition("\\toprule")[2].partition("\\bottomrule")[0]
    return [re.split(r"(?<!\\)&", row) for row in body.split(r"\\") if "&" in row]


def test_every_table_is_balanced_escaped_and_as_wide_as_its_columns(tables):
    for table in tables:
        text = latex(table)
        columns = re.search(r"\\begin\{tabular\}\{@\{\}(\w+)@\{\}\}", text)[1]
        rows = read(text)
        widths = {sum(map(width, row)) for row in rows}
        assert widths == {len(columns)} == {len(table.full_headings())}


def width(cell):
    """How many columns a cell takes."""
    span = re.search(r"\\multicolumn\{(\d+)\}", cell)
    return int(span[1]) if span else 1


def test_it_is_a_booktabs_table_with_caption_label_and_notes():
    table = Table(
        "Table 1: comparison, ARI-FG", "method", ("data",), [""], ["ARI-FG"],
        [Line("m", Cell("a_b", ("a", "b")), ("emorl",), [Cell("90.0 ± 0.1", best=True)]),
         Line("m", Cell("  seed 0"), ("",), [Cell("90.0")], seed=0),
         Line("p", Cell("monet"), ("greff2019",), [Cell("80.0", ("c",))])],
        ["n: seeds."], [("a", "generated data"), ("c", "as quoted in greff2019")],
        [("greff2019", load_spec().references["greff2019"])],
    )  # fmt: skip
    assert (
        latex(table)
        == r"""% needs \usepackage{booktabs}; --bibtex writes what is cited
\begin{table}[t]
\centering
\caption{comparison, ARI-FG}
\label{tab:table-1-comparison-ari-fg}
\small
\setlength{\tabcolsep}{4pt}
\begin{tabular}{@{}llr@{}}
\toprule
method & data & ARI-FG \\
\midrule
a\_b\textsuperscript{a,b} & emorl & \textbf{90.0 $\pm$ 0.1} \\
\quad seed 0 &  & 90.0 \\
\midrule
monet & \cite{greff2019} & 80.0\textsuperscript{c} \\
\bottomrule
\end{tabular}
\par\smallskip
\begin{minipage}{\linewidth}\footnotesize\raggedright
n: seeds.\par
Bold: the best of those of its column that it can be compared with.\par
\textsuperscript{a}~generated data\par
\textsuperscript{c}~as quoted in \cite{greff2019}\par
\end{minipage}
\end{table}
"""
    )


def test_datasets_with_several_metrics_stand_above_them(tmp_path):
    plan = paper_plans("2", collect(load_spec(), tmp_path, Selection()).rows, [])[1]
    lines = latex(build(plan, load_spec())).splitlines()
    start = lines.index(r"\toprule")
    assert lines[start + 1 : start + 4] == [
        r" &  &  &  & \multicolumn{2}{c}{ClevrTex OOD} & \multicolumn{2}{c}{ClevrTex CAMO} \\",
        r"\cmidrule(lr){5-6}\cmidrule(lr){7-8}",
        r"method & data & n & train & mIoU & ARI-FG & mIoU & ARI-FG \\",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("100 % & $5", r"100 \% \& \$5"),
        ("a_b#{c}", r"a\_b\#\{c\}"),
        ("~^\\", r"\textasciitilde{}\textasciicircum{}\textbackslash{}"),
        ("<5 | >3", r"\textless{}5 \textbar{} \textgreater{}3"),
        ("1 ± 2 – 3", r"1 $\pm$ 2 -- 3"),
        ("Vikström", "Vikström"),
        ("Vikstro\u0308m", "Vikström"),
        ("模 đ\n\x07x", "[U+6A21] [U+0111] x"),
    ],
)
def test_signs_are_escaped(text, expected):
    assert escaped(text) == expected


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX here")
def test_latex_compiles_what_is_pasted(tables, tmp_path):
    if not subprocess.run(["kpsewhich", "booktabs.sty"], capture_output=True, text=True).stdout:
        pytest.skip("a LaTeX without booktabs")
    body = "\n\\clearpage\n".join(latex(table) for table in tables)
    source = f"\\documentclass{{article}}\n\\usepackage{{booktabs}}\n\\begin{{document}}\n{body}\\end{{document}}\n"
    (tmp_path / "paper.tex").write_text(source, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    assert (tmp_path / "paper.pdf").stat().st_size > 10_000
