"""Folders of runs with all that figures are made of: samples, scores per image, the course of a training."""

from __future__ import annotations

import json
import re
import zlib
from pathlib import Path

import numpy as np

from helpers.synthetic import record, scored, scores
from objbench.train.artifacts import write_per_image, write_samples

SIDE = 35
KEYS = ["00000003", "00000007", "00000009"]
# Background with two pieces, and a prediction that calls them 2 and 1 and finds a third thing in a corner.
TRUTH = np.zeros((SIDE, SIDE), np.uint8)
TRUTH[5:15, 5:15], TRUTH[20:30, 20:30] = 1, 2
PREDICTION = np.zeros((SIDE, SIDE), np.int16)
PREDICTION[5:15, 5:14], PREDICTION[20:30, 20:30], PREDICTION[:3, 30:] = 2, 1, 3
VALIDATIONS = {100: {"ari_fg": 0.25, "miou": 0.125}, 200: {"ari_fg": 0.75, "miou": 0.5}}


def samples(n=3, planes=4, attention=True) -> dict[str, np.ndarray]:
    """`n` equal scenes, each in another gray; plane p paints its pixels in the gray 50 + p."""
    images = np.stack([np.full((3, SIDE, SIDE), 200 + i, np.uint8) for i in range(n)])
    soft = np.stack([np.where(p == PREDICTION, 255, 0).astype(np.uint8) for p in range(planes)])
    components = np.stack([np.full((3, SIDE, SIDE), 50 + p, np.uint8) for p in range(planes)])
    found = {
        "images": images,
        "masks": np.repeat(TRUTH[None], n, 0),
        "prediction": np.repeat(PREDICTION[None], n, 0),
        "soft_masks": np.repeat(soft[None], n, 0),
        "reconstruction": images - 100,
        "components": np.repeat(components[None], n, 0),
        "keys": np.array(KEYS[:n]),
    }
    if attention:
        found["attention"] = np.repeat(np.arange(planes * 49, dtype=np.uint8).reshape(1, planes, 7, 7), n, 0)
    return found


def run(runs: Path, seed=0, method="objmae", kept=None, key="test", **changes) -> Path:
    """The folder of a finished run, with `kept` as its samples under `key`."""
    made = record(seed, method, **changes)
    name = f"{made.method}-{made.variant}" if made.variant else made.method
    folder = runs / made.dataset / made.source / name / f"seed-{seed}"
    folder.mkdir(parents=True)
    made.save(folder)
    write_samples(folder, {key: samples() if kept is None else kept})
    order = [2, 0, 1]  # not the order of the samples
    values = {"ari_fg": np.array([0.1, 0.2, np.nan]), "miou": np.array([0.4, 0.5, 0.6])}
    columns = {name: column[order] for name, column in values.items()}
    write_per_image(folder, {key: columns | {"keys": np.array(KEYS)[order]}})
    write_course(folder / "metrics.jsonl", VALIDATIONS)
    return folder


def run_on(runs: Path, dataset: str, key="test", seed=0, **changes) -> Path:
    """A run of objmae whose scores under `key` are on `dataset`."""
    on = {"test": scored("clevrtex", source="official"), key: scored(dataset, source="official")}
    metrics = {name: scores() for name in on}
    values = {"dataset": "clevrtex", "source": "official", "metrics": metrics, "on": on}
    return run(runs, seed, key=key, **(values | changes))


def write_course(path: Path, validations: dict[int, dict[str, float]]) -> None:
    lines = [{"step": 50, "stage": "train", "epoch": 0, "losses": {"total": 1.0}}]
    lines += [{"step": step, "stage": "train", "epoch": 0, "val": val} for step, val in validations.items()]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def pdf_text(path: Path) -> str:
    """All strings that the pages of a PDF show, lines between them, as a reader extracts them from fonts by code."""
    shown = []
    for stream in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", path.read_bytes(), re.DOTALL):
        try:
            content = zlib.decompressobj().decompress(stream)
        except zlib.error:
            continue
        for block in re.findall(rb"BT(.*?)ET", content, re.DOTALL):
            parts = re.findall(rb"\(((?:[^()\\]|\\.)*)\)", block, re.DOTALL)
            text = re.sub(rb"\\(.)", rb"\1", b"".join(parts), flags=re.DOTALL)
            shown.append(text.decode("utf-16-be" if b"\0" in text else "cp1252"))
    return "\n".join(shown)
