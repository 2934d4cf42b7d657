"""The paper's Tables 7 to 9: objmae's hyper-parameters on each dataset, as `objbench run` resolves them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from objbench.json_text import for_programs
from objbench.report.tables.csv_cells import csv_text
from objbench.report.tables.table import Cell, Line, Table
from objbench.spec.nested import flatten
from objbench.spec.resolve import resolve
from objbench.spec.schema import Spec

METHOD = "objmae"
DATASETS = ("tetrominoes", "multi_dsprites", "clevr6", "clevrtex")
HYPERPARAMETER_TABLES = {
    "7": ("Table 7: model", ("dataset", "model")),
    "8": ("Table 8: training", ("recipe", "optimizer")),
    "9": ("Table 9: schedules and loss weights", ("schedule",)),
}


@dataclass(frozen=True)
class Hyperparameters:
    """Hyper-parameters: dotted key -> dataset -> value."""

    title: str
    datasets: tuple[str, ...]
    values: dict[str, dict[str, Any]]


def hyperparameters(number: str, spec: Spec, datasets: Sequence[str]) -> Hyperparameters:
    """Resolve the hyper-parameters of Table `number`.

    Args:
        number: A key of HYPERPARAMETER_TABLES.
        spec: The benchmarks.
        datasets: The columns, as `DATASET[@PROTOCOL]`; none for those of the paper.
    """
    title, rooms = HYPERPARAMETER_TABLES[number]
    shown = tuple(datasets) or DATASETS
    values: dict[str, dict[str, Any]] = {}
    for name in shown:
        dataset = spec.dataset(name)
        blocks = resolve(spec, METHOD, dataset, {}).config
        size = {"height": dataset.spec.height, "width": dataset.spec.width}
        blocks["dataset"] = {"slots": blocks["slots"], **size}
        for key, value in flatten({room: blocks[room] for room in rooms}).items():
            values.setdefault(key, {})[name] = value
    return Hyperparameters(title, shown, values)


def hyperparameters_table(found: Hyperparameters, spec: Spec) -> Table:
    """Lay out a line per hyper-parameter and a column per dataset."""
    lines = [
        Line(key.partition(".")[0], Cell(key), (), [Cell(_text(by_dataset[name])) for name in found.datasets])
        for key, by_dataset in found.values.items()
    ]
    names = [name.partition("@") for name in found.datasets]
    headings = [spec.dataset_title(name, protocol) for name, _, protocol in names]
    title = f"{found.title} ({spec.method_title(METHOD)})"
    return Table(title, "setting", (), [""] * len(headings), headings, lines)


def hyperparameters_json(found: Hyperparameters) -> str:
    """Write an array of objects, one per hyper-parameter: its name, and its value on each dataset."""
    content = [{"name": key, "values": by_dataset} for key, by_dataset in found.values.items()]
    return for_programs(content) + "\n"


def hyperparameters_csv(found: Hyperparameters) -> str:
    """Write one line per hyper-parameter and dataset."""
    lines = [["setting", "dataset", "value"]]
    for key, by_dataset in found.values.items():
        lines += [[key, name, value] for name, value in by_dataset.items()]
    return csv_text(lines)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
