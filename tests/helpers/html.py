"""The HTML page of runs, and the parts of it that tests look at."""

from __future__ import annotations

import json
from html.parser import HTMLParser

from objbench.report.html.page import page
from objbench.report.html.runs import runs_of
from objbench.report.rows.collect import collect
from objbench.report.rows.measured import Selection
from objbench.report.tables.plan import dataset_plans
from objbench.spec.load import load_spec

VOID = {"meta", "link", "input", "br", "img"}


class Document(HTMLParser):
    """Ids, attributes that load something, the text of each script and style, and tables as rows of texts."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.loads, self.links, self.raw, self.rows, self.open = [], [], [], [], [], []
        self.policy = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if "id" in given:
            self.ids.append(given["id"])
        self.loads += [given[name] for name in ("src", "srcset", "data", "action") if given.get(name)]
        self.loads += [given["href"]] if tag == "link" else []
        self.links += [given["href"]] if tag == "a" else []
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"]
        if tag in ("script", "style"):
            self.raw.append([tag, given, ""])
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("script", "style"):
            self.raw[-1][2] += data
        elif {"td", "th"} & set(self.open) and "sup" not in self.open:
            self.rows[-1][-1] += data

    @property
    def data(self):
        return json.loads(next(text for tag, given, text in self.raw if given.get("id") == "data"))

    @property
    def lines(self):
        return [[" ".join(cell.split()) for cell in row] for row in self.rows]


def rows_in(runs):
    spec = load_spec()
    return spec, collect(spec, runs, Selection()).rows


def made(runs, **options):
    spec, rows = rows_in(runs)
    return page(dataset_plans(rows, [], spec), spec, **options)


def shown_runs(runs):
    spec, rows = rows_in(runs)
    return runs_of(dataset_plans(rows, [], spec), spec)
