"""Runs of small methods on the small prepared data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from objbench.progress import Say
from objbench.spec.load import load_spec
from objbench.spec.resolve import resolve
from objbench.train.run import run_seed
from objbench.train.run_data import RunData, prepared_run_data


def open_run_data(data: Path, dataset: str = "tetrominoes") -> RunData:
    return prepared_run_data(load_spec(), load_spec().dataset(dataset), None, data, "cpu")


def run(
    data: Path,
    runs: Path,
    method: str = "toy_geco",
    seed: int = 0,
    fresh: bool = False,
    log: Sequence[str] = (),
    say: Say = print,
    **overrides,
) -> tuple:
    spec, run_data = load_spec(), open_run_data(data)
    resolved = resolve(spec, method, run_data.dataset, overrides)
    return run_seed(spec, resolved, run_data, seed, runs, fresh=fresh, log=log, say=say)


def eight_slots(folder: Path) -> Path:
    layer = folder / "slots.yaml"
    layer.write_text("datasets: {tetrominoes: {slots: 8}}\n")
    return layer


def small_slot_attention(data: Path, runs: Path, config: Path | None = None, **overrides):
    spec = load_spec(config)
    dataset = spec.dataset("tetrominoes")
    short = {"recipe.steps": 1, "recipe.batch_size": 2, "recipe.evaluations": 0}
    method = resolve(spec, "slot_attention:demo", dataset, short | overrides)
    return run_seed(spec, method, prepared_run_data(spec, dataset, None, data, "cpu"), 0, runs)
