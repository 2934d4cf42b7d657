"""The numbers of docs/baselines.md and docs/miniatures.md are those of the code, of results/bench/cost.json and of records."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from functools import cache
from pathlib import Path
from statistics import fmean

import pytest
from benches.cost import TITLE
from helpers.paths import ROOT
from torch._subclasses.fake_tensor import FakeTensorMode

from objbench.methods.create import build
from objbench.records import Run, read_record, record_files
from objbench.spec.load import load_spec
from objbench.spec.resolve import resolve
from objbench.spec.schema import GROUPS

SPEC = load_spec()
METHODS = {name: block for name, block in SPEC.methods.items() if block.group != "other"}
DATASETS = {
    "Tetrominoes": "tetrominoes",
    "multi-dSprites": "multi_dsprites",
    "CLEVR6": "clevr6",
    "ClevrTex": "clevrtex",
}
COSTS = json.loads((ROOT / "results/bench/cost.json").read_text())["sections"]
SCORES = {"ARI-FG": "ari_fg", "ARI": "ari", "mIoU": "miou"}
ALIGNED = "tetrominoes@aligned"


def table(page: str, heading: str) -> list[dict[str, str]]:
    """The rows of the table whose header begins with `heading`: column -> cell."""
    lines = (ROOT / "docs" / page).read_text().split(f"\n| {heading} |")
    assert len(lines) == 2, f"{page}: {len(lines) - 1} tables begin with {heading}"
    header, _, *rows = f"| {heading} |{lines[1]}".split("\n\n")[0].strip().splitlines()
    return [dict(zip(cells(header), cells(row), strict=True)) for row in rows]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def names(cell: str) -> list[str]:
    """The presets that a cell names: `monet`, `:clevrtex` are monet and monet:clevrtex."""
    first, *others = re.findall(r"`([^`]+)`", cell)
    return [first, *(first.partition(":")[0] + other for other in others)]


@cache
def parameters(name: str, dataset: str) -> int:
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


def span(values: list[float]) -> str:
    low, high = number(min(values)), number(max(values))
    return low if low == high else f"{low} to {high}"


@cache
def steps() -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """METHOD or METHOD, STAGE -> dataset -> precision -> GB, batch and GFLOP/image of a step."""
    found: dict[str, dict[str, dict[str, dict[str, float]]]] = defaultdict(lambda: defaultdict(dict))
    for section in COSTS:
        for row in section["rows"]:
            dataset, *stage, precision = row["name"].split()
            method = section["title"].removesuffix(TITLE)
            found[", ".join([method, *stage])][dataset][precision] = {"GB": row["median"], **row["figures"]}
    return found


def scenes(record: Run) -> str:
    return record.dataset_ref.removesuffix("@standard")


def miniatures() -> list[tuple[Path, Run]]:
    files = [path for folder in ("baselines", "demo") for path in record_files(ROOT / "results" / folder)]
    return [(path.parent, read_record(path)) for path in sorted(files)]


def percent(metric: str, *records: Run) -> str:
    """The mean of a metric over the records."""
    return f"{100 * fmean(record.metrics['test'].values[metric].mean for record in records):.1f}"


def miniature(method: str) -> dict[str, str]:
    """The cells of a method's miniature in the table of all methods."""
    runs: dict[tuple[str, str | None], list[Run]] = defaultdict(list)
    for _, record in sorted(miniatures(), key=lambda found: found[1].dataset_ref != ALIGNED):
        if record.method == method:
            runs[scenes(record), record.variant].append(record)
    shown = [
        " / ".join(percent(metric, *records) for metric in SCORES.values())
        + f" (`:{variant}`)" * (variant not in (None, "demo"))
        + f" on `{dataset}`" * (dataset != ALIGNED)
        + f", {len(records)} seeds" * (len(records) > 1)
        for (dataset, variant), records in runs.items()
    ]
    minutes = [number(fmean(r.train_seconds for r in records) / 60) for records in runs.values()]
    learned = shown and not METHODS[method].trivial
    return {
        "miniature: ARI-FG / ARI / mIoU": "; ".join(shown) or "none",
        "minutes": "; ".join(minutes) if learned else "-",
    }


def overview(method: str) -> dict[str, str]:
    """The cells of the table of all methods that hold numbers or names."""
    block = METHODS[method]
    year = re.findall(r"\b20\d\d\b", SPEC.references[block.citation].text)[-1] if block.citation else "-"
    learned = {"parameters, million": "-", "GFLOP an image": "-", "GB a step": "-"}
    if not block.trivial:
        learned["parameters, million"] = span([parameters(method, d) / 1e6 for d in DATASETS.values()])
        counted = [stage for name, stage in steps().items() if name.split(", ")[0] == method]
        single = [precisions["fp32"] for stage in counted for precisions in stage.values()]
        learned["GFLOP an image"] = span([step["GFLOP/image"] for step in single])
        learned["GB a step"] = span([step["GB"] for step in single])
    return {"group": block.group, "year": year, **learned, **miniature(method)}


def cost(label: str) -> dict[str, str]:
    """A row of the table of costs: GFLOP an image, GB of a step in float32 and in bfloat16."""
    found = steps()[label.replace("`", "")]
    batches = [f"{found[dataset]['fp32']['batch']:.0f}" for dataset in DATASETS.values()]
    row = {"a step": label, "batch": ", ".join(batches if len(set(batches)) > 1 else batches[:1])}
    for column, dataset in DATASETS.items():
        single, half = found[dataset]["fp32"], found[dataset]["bf16"]
        memory = f"{number(single['GB'])} / {number(half['GB'])}"
        row[column] = f"{number(single['GFLOP/image'])}, {memory}"
    return row


def trained(folder: Path, record: Run) -> dict[str, str]:
    """A row of the table of miniatures."""
    label = f"`{record.method_label}`"
    if (folder / "samples.png").exists():
        label = f"[{label}](../{(folder / 'samples.png').relative_to(ROOT)})"
    found = record.metrics["test"].values
    learned = record.steps > 0
    return {
        "preset": label,
        "scenes": f"`{scenes(record)}`",
        "seed": str(record.seed),
        "parameters": f"{record.parameters:,}" if learned else "-",
        "steps": f"{record.steps:,}" if learned else "-",
        "minutes": number(record.train_seconds / 60) if learned else "-",
        **{title: percent(metric, record) for title, metric in SCORES.items()},
        "boxes": f"{found['n_boxes'].mean:.1f}" if "n_boxes" in found else "-",
    }


def test_the_table_of_all_methods_has_every_method_once_in_the_order_of_the_groups() -> None:
    rows = table("baselines.md", "method")
    order = [(row["group"], row["method"].strip("`")) for row in rows]
    assert sorted(name for _, name in order) == sorted(METHODS)
    assert [group for group, _ in order] == sorted((g for g, _ in order), key=list(GROUPS).index)


@pytest.mark.parametrize("row", table("baselines.md", "method"), ids=lambda row: row["method"].strip("`"))
def test_a_row_of_the_table_of_all_methods_says_what_is_counted_and_measured(row: dict[str, str]) -> None:
    expected = overview(row["method"].strip("`"))
    assert {column: row[column] for column in expected} == expected
    assert all(row[column] for column in ("idea", "masks", "what to expect"))


@pytest.mark.parametrize(
    "row", table("baselines.md", "parameters"), ids=lambda row: names(row["parameters"])[0]
)
def test_parameters_are_those_of_the_code(row: dict[str, str]) -> None:
    for name in names(row["parameters"]):
        counted = {column: f"{parameters(name, dataset):,}" for column, dataset in DATASETS.items()}
        assert {"parameters": row["parameters"], **counted} == row, name


def test_parameters_of_every_preset_are_in_the_table() -> None:
    listed = [name for row in table("baselines.md", "parameters") for name in names(row["parameters"])]
    presets = [
        f"{name}:{variant}"
        for name, block in METHODS.items()
        if name != "objmae"
        for variant in block.variants
    ]
    learned = [name for name, block in METHODS.items() if not block.trivial]
    assert sorted(listed) == sorted([*learned, *(name for name in presets if not name.endswith(":demo"))])


def test_costs_are_those_that_were_counted() -> None:
    rows = table("baselines.md", "a step")
    assert rows == [cost(row["a step"]) for row in rows]
    methods = [name for name, block in METHODS.items() if not block.trivial]
    assert {names(row["a step"])[0] for row in rows} >= set(methods)


def test_costs_were_counted_with_the_parameters_that_the_code_has() -> None:
    for name, datasets in steps().items():
        for dataset, precisions in datasets.items():
            for step in precisions.values():
                assert step["parameters"] == parameters(name.split(", ")[0], dataset), f"{name} on {dataset}"


def test_miniatures_are_those_on_record() -> None:
    rows = table("miniatures.md", "preset")
    expected = [trained(folder, record) for folder, record in miniatures()]
    assert sorted(rows, key=str) == sorted(expected, key=str)


def test_other_counts_of_miniatures_are_those_of_the_code() -> None:
    page = (ROOT / "docs/miniatures.md").read_text()
    told = re.findall(r"`(\w+:demo)` \(([\d,]+) parameters", page)
    assert told
    assert told == [(name, f"{parameters(name, 'tetrominoes'):,}") for name, _ in told]
