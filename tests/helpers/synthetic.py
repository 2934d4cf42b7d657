"""Records as runs write them, made up."""

from __future__ import annotations

from pathlib import Path

from objbench.records import RECORD, External, Record, Run
from objbench.scores import Scored, Scores

SCORES = {"ari_fg": 0.9, "ari": 0.8, "miou": 0.7, "miou_fg": 0.6, "mse": 0.00125}


def scored(dataset="tetrominoes", **changes) -> Scored:
    values = {
        "dataset": dataset,
        "protocol": "standard",
        "source": "emorl",
        "split": "test",
        "fingerprint": f"{dataset}-test-fingerprint",
        "standard": True,
        "generator": None,
        "height": 35,
        "width": 35,
        "definition": "clevrtex",
    }
    return Scored(**(values | changes))


def scores(**changes) -> Scores:
    values = {name: {"mean": mean, "std": 0.1} for name, mean in (SCORES | changes).items()}
    return Scores.model_validate({"n_images": 320, **values})


def record(seed=0, method="objmae", metrics=None, on=None, **changes) -> Run:
    """A run of `method` on tetrominoes; `metrics` and `on` replace what is said under the same keys."""
    values = {
        "variant": None,
        "overrides": {},
        "fingerprint": "train-fingerprint",
        "n_train": 59_680,
        "config_hash": f"{method}-config",
        "steps": 0 if method in ("one_slot", "grid", "color_kmeans") else 154_440,
        "train_seconds": 3000.0,
        "wall_seconds": 3600.0,
        "images_per_second": 1000.0,
        "peak_memory_bytes": 2**30,
        "parameters": 1_506_916,
        "slots": 4,
    }
    return Run(**(_of_any(seed, method, metrics, on) | values | changes))


def external(seed=0, method="theirs", metrics=None, on=None, **changes) -> External:
    """Scores on tetrominoes of predictions made outside objbench."""
    return External(**(_of_any(seed, method, metrics, on) | changes))


def _of_any(seed, method, metrics, on):
    return {
        "dataset": "tetrominoes",
        "protocol": "standard",
        "source": "emorl",
        "method": method,
        "seed": seed,
        "code_version": "0.1.0",
        "torch_version": "2.13.0",
        "device": "NVIDIA H200",
        "date": "2024-05-01T12:00:00+00:00",
        "metrics": metrics or {"test": scores()},
        "scored": on or {"test": scored()},
    }


def save(runs: Path, *records: Record) -> None:
    """Each record into a folder of its own, in the given order."""
    for i, item in enumerate(records):
        folder = runs / f"{i:04d}-{item.method}" / f"seed-{item.seed}"
        folder.mkdir(parents=True)
        (folder / RECORD).write_text(item.model_dump_json())


GENERATED = {
    "source": "generated",
    "generator": {"version": 1, "seed": 0},
    "fingerprint": "generated-fingerprint",
}


def generated(seed=0, method="objmae", **changes) -> Run:
    """A record of `method` on generated tetrominoes."""
    values = {"source": "generated", "n_train": 60_000, "on": {"test": scored(**GENERATED)}}
    return record(seed, method, **(values | changes))
