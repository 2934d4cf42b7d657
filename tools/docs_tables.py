"""Write the tables of docs/baselines.md and docs/miniatures.md anew from the code, results/bench/cost.json and the records.

Cells that say something in words stay; a method without a row is refused, so that somebody says them.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from statistics import fmean

from benches.cost import TITLE
from miniatures.results import SUCCESS
from torch._subclasses.fake_tensor import FakeTensorMode

from objbench.methods.create import build
from objbench.records import Record, Run, read_record, record_files
from objbench.spec.load import load_spec
from objbench.spec.resolve import resolve
from objbench.spec.schema import GROUPS
from objbench.train.artifacts import SAMPLE_SHEET

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
RECORDS = ROOT / "results/miniature/demos"
SPEC = load_spec()
METHODS = {name: block for name, block in SPEC.methods.items() if block.group != "other"}
DATASETS = {
    "Tetrominoes": "tetrominoes",
    "multi-dSprites": "multi_dsprites",
    "CLEVR6": "clevr6",
    "ClevrTex": "clevrtex",
}
SCORES = {"ARI-FG": "ari_fg", "ARI": "ari", "mIoU": "miou"}
ALIGNED = "tetrominoes@aligned"

Row = dict[str, str]


def pages(docs: Path = DOCS) -> dict[Path, str]:
    """The pages with tables of numbers, each with the text that it must have.

    Raises:
        ValueError: A method or preset has no row, or presets that share a row have other counts.
    """
    baselines, miniatures = docs / "baselines.md", docs / "miniatures.md"
    text = baselines.read_text()
    text = with_table(text, "method", _methods(rows_of(text, "method")))
    text = with_table(text, "parameters", _counts(rows_of(text, "parameters")))
    text = with_table(text, "a step", [cost(row["a step"]) for row in rows_of(text, "a step")])
    trained = with_table(miniatures.read_text(), "preset", trainings())
    return {baselines: text, miniatures: trained}


def rows_of(text: str, heading: str) -> list[Row]:
    """The rows of the table of a page whose header begins with `heading`: column -> cell."""
    start, end = _place(text, heading)
    header, _, *rows = text[start:end].splitlines()
    return [dict(zip(_cells(header), _cells(row), strict=True)) for row in rows]


def with_table(text: str, heading: str, rows: Sequence[Row]) -> str:
    """The page with other rows in the table whose header begins with `heading`."""
    start, end = _place(text, heading)
    header, line, *_ = text[start:end].splitlines()
    lines = [f"| {' | '.join(row[column] for column in _cells(header))} |" for row in rows]
    return text[:start] + "\n".join([header, line, *lines]) + text[end:]


def _place(text: str, heading: str) -> tuple[int, int]:
    if (count := text.count(f"\n| {heading} |")) != 1:
        raise ValueError(f"{count} tables begin with '{heading}', expected one")
    start = text.index(f"\n| {heading} |") + 1
    end = text.find("\n\n", start)
    return start, end if end >= 0 else len(text.rstrip("\n"))


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def names(cell: str) -> list[str]:
    """The presets that a cell names: `monet`, `:clevrtex` are monet and monet:clevrtex."""
    first, *others = re.findall(r"`([^`]+)`", cell)
    return [first, *(first.partition(":")[0] + other for other in others)]


@cache
def parameters(name: str, dataset: str) -> int:
    """Parameters of METHOD[:VARIANT] on a dataset, counted without values."""
    reference = SPEC.dataset(dataset)
    with FakeTensorMode():
        method = build(resolve(SPEC, name, reference, {}), reference)
        return sum(parameter.numel() for parameter in method.parameters())


def number(value: float) -> str:
    """Two digits, whole numbers from 100 on.

    >>> number(0.4349), number(1.96), number(9.96), number(1369.2)
    ('0.43', '2.0', '10', '1,369')
    """
    return f"{value:,.0f}" if value >= 99.5 else f"{value:#.2g}".removesuffix(".")


def _span(values: list[float]) -> str:
    low, high = number(min(values)), number(max(values))
    return low if low == high else f"{low} to {high}"


@cache
def steps() -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """METHOD or METHOD, STAGE -> dataset -> precision -> GB, batch and GFLOP/image of a step."""
    found: dict[str, dict[str, dict[str, dict[str, float]]]] = defaultdict(lambda: defaultdict(dict))
    for section in json.loads((ROOT / "results/bench/cost.json").read_text())["sections"]:
        for row in section["rows"]:
            dataset, *stage, precision = row["name"].split()
            method = section["title"].removesuffix(TITLE)
            found[", ".join([method, *stage])][dataset][precision] = {"GB": row["median"], **row["figures"]}
    return found


@cache
def miniatures() -> list[tuple[Path, Run]]:
    """The folders and records of the runs of small presets and of the trivial methods beside them."""
    files = record_files(RECORDS)
    found: list[tuple[Path, Record]] = [(path.parent, read_record(path)) for path in sorted(files)]
    return [(folder, record) for folder, record in found if isinstance(record, Run)]


def _scenes(record: Run) -> str:
    return str(SPEC.dataset(record.dataset_ref))


def _percent(metric: str, *records: Run) -> str:
    """The mean of a metric over the records."""
    return f"{100 * fmean(record.metrics['test'].values[metric].mean for record in records):z.1f}"


def miniature(method: str) -> Row:
    """The cells of a method's miniature in the table of all methods."""
    runs: dict[tuple[str, str | None], list[Run]] = defaultdict(list)
    for _, record in sorted(miniatures(), key=lambda found: found[1].dataset_ref != ALIGNED):
        if record.method == method:
            runs[_scenes(record), record.variant].append(record)
    shown = [
        " / ".join(_percent(metric, *records) for metric in SCORES.values())
        + f" (`:{variant}`)" * (variant not in (None, "demo"))
        + f" on `{dataset}`" * (dataset != ALIGNED)
        + f", {len(records)} seeds" * (len(records) > 1)
        for (dataset, variant), records in runs.items()
    ]
    minutes = [number(min(r.train_seconds for r in records) / 60) for records in runs.values()]
    learned = shown and not METHODS[method].trivial
    return {
        "miniature: ARI-FG / ARI / mIoU": "; ".join(shown) or "none",
        "minutes": "; ".join(minutes) if learned else "-",
    }


def overview(method: str) -> Row:
    """The cells of the table of all methods that hold numbers or names."""
    block = METHODS[method]
    year = re.findall(r"\b20\d\d\b", SPEC.references[block.citation].text)[-1] if block.citation else "-"
    learned = {"parameters, million": "-", "GFLOP an image": "-", "GB a step": "-"}
    if not block.trivial:
        learned["parameters, million"] = _span([parameters(method, d) / 1e6 for d in DATASETS.values()])
        counted = [stage for name, stage in steps().items() if name.split(", ")[0] == method]
        single = [precisions["fp32"] for stage in counted for precisions in stage.values()]
        learned["GFLOP an image"] = _span([step["GFLOP/image"] for step in single])
        learned["GB a step"] = _span([step["GB"] for step in single])
    return {"group": block.group, "year": year, **learned, **miniature(method)}


def _methods(rows: list[Row]) -> list[Row]:
    _refuse_missing("method", METHODS, [row["method"].strip("`") for row in rows])
    return [row | overview(row["method"].strip("`")) for row in rows]


def _counts(rows: list[Row]) -> list[Row]:
    """Parameters of every method that learns and of its presets but `demo`, objmae's ablations left out."""
    learned = [name for name, block in METHODS.items() if not block.trivial]
    presets = [f"{n}:{v}" for n in learned for v in METHODS[n].variants if v != "demo" and n != "objmae"]
    _refuse_missing(
        "parameters", [*learned, *presets], [name for row in rows for name in names(row["parameters"])]
    )
    return [{"parameters": row["parameters"], **_count(row["parameters"])} for row in rows]


def _count(cell: str) -> Row:
    first, *others = (
        {column: f"{parameters(name, dataset):,}" for column, dataset in DATASETS.items()}
        for name in names(cell)
    )
    if any(other != first for other in others):
        raise ValueError(f"docs/baselines.md: {cell} stand in one row but have other counts: split it")
    return first


def _refuse_missing(table: str, expected: Iterable[str], found: Sequence[str]) -> None:
    wrong = sorted({*expected} ^ {*found}) or [name for name in found if found.count(name) > 1]
    if wrong:
        raise ValueError(
            f"docs/baselines.md, the table that begins with '{table}': expected one row of each, found another number of "
            f"{', '.join(wrong)}; add or remove the rows, with what they say in words"
        )


def cost(label: str) -> Row:
    """A row of the table of costs: GFLOP an image, GB of a step in float32 and in bfloat16."""
    found = steps()[label.replace("`", "")]
    batches = [f"{found[dataset]['fp32']['batch']:.0f}" for dataset in DATASETS.values()]
    row = {"a step": label, "batch": ", ".join(batches if len(set(batches)) > 1 else batches[:1])}
    for column, dataset in DATASETS.items():
        single, half = found[dataset]["fp32"], found[dataset]["bf16"]
        memory = f"{number(single['GB'])} / {number(half['GB'])}"
        row[column] = f"{number(single['GFLOP/image'])}, {memory}"
    return row


def trainings() -> list[Row]:
    """The rows of the table of miniatures: dataset by dataset, methods by group and name."""
    datasets, groups = list(SPEC.datasets), list(GROUPS)

    def place(found: tuple[Path, Run]) -> tuple[object, ...]:
        record = found[1]
        group = groups.index(METHODS[record.method].group)
        return datasets.index(record.dataset), _scenes(record), group, record.method_label

    def seed(found: tuple[Path, Run]) -> int:
        return found[1].seed

    found = sorted(miniatures(), key=place)
    return [trained(sorted(seeds, key=seed)) for _, seeds in groupby(found, key=place)]


def trained(seeds: Sequence[tuple[Path, Run]]) -> Row:
    """A row of the table of miniatures: the seeds of a preset on one dataset, each ARI-FG with the seed's pictures."""
    records = [record for _, record in seeds]
    if len({(record.config_hash, record.steps, record.parameters) for record in records}) > 1:
        raise ValueError(f"{seeds[0][0].parent} and folders beside it hold runs of several configurations")
    first, scores = records[0], [record.metrics["test"].values for record in records]
    learned = first.steps > 0
    pictures = [f"../{(folder / SAMPLE_SHEET).relative_to(ROOT)}" for folder, _ in seeds]
    each = [f"[{_percent('ari_fg', record)}]({at})" for record, at in zip(records, pictures, strict=True)]
    return {
        "preset": f"`{first.method_label}`",
        "scenes": f"`{_scenes(first)}`",
        "parameters": f"{first.parameters:,}" if learned else "-",
        "steps": f"{first.steps:,}" if learned else "-",
        "minutes": number(min(record.train_seconds for record in records) / 60) if learned else "-",
        "succeed": _successes(first, [values["ari_fg"].mean for values in scores]) if learned else "-",
        "ARI-FG of each seed": ", ".join(each),
        "ARI": _percent("ari", *records),
        "mIoU": _percent("miou", *records),
        "boxes": f"{fmean(values['n_boxes'].mean for values in scores):.1f}"
        if "n_boxes" in scores[0]
        else "-",
    }


def _successes(first: Run, scores: Sequence[float]) -> str:
    return f"{sum(score > SUCCESS[_scenes(first)] for score in scores)} of {len(scores)}"


def main() -> int:
    """Write the pages whose tables have changed, and name them."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    for path, text in pages().items():
        if path.read_text() != text:
            path.write_text(text)
            print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
