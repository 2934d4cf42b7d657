"""Made-up files of runs beside their records: training logs, scores per image, sample images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from objbench.records import Record
from objbench.train.artifacts import write_per_image, write_samples


def scenes(count, size, n_objects, rng):
    """Textured ellipses on a textured ground: images uint8 (N,3,H,W) and truth uint8 (N,H,W)."""
    ys, xs = np.mgrid[:size, :size]
    images, truth = [], []
    for _ in range(count):
        labels = np.zeros((size, size), np.uint8)
        for label in range(1, n_objects + 1):
            y, x = rng.uniform(0.1, 0.9, 2) * size
            a, b = rng.uniform(0.07, 0.2, 2) * size
            labels[((ys - y) / a) ** 2 + ((xs - x) / b) ** 2 < 1] = label
        colours = rng.uniform(40, 230, (n_objects + 1, 3))
        texture = gaussian_filter(rng.normal(size=(size, size, 3)), (1, 1, 0)) * 60
        image = colours[labels] + texture + rng.normal(size=(size, size, 3)) * 4
        images.append(np.moveaxis(image.clip(0, 255).astype(np.uint8), -1, 0))
        truth.append(labels)
    return np.stack(images), np.stack(truth)


def predicted(images, truth, slots, rng, noise=2.0):
    """Predictions of a method of medium quality: soft masks, components, reconstruction, attention, label map."""
    count, _, size, _ = images.shape
    logits = np.stack([truth == slot for slot in range(slots)], 1) * 4.0
    blots = gaussian_filter(rng.normal(size=logits.shape), (0, 0, size / 16, size / 16))
    logits += blots / blots.std() * noise + rng.normal(size=logits.shape) * 0.3
    masks = np.exp(logits - logits.max(1, keepdims=True))
    masks /= masks.sum(1, keepdims=True)
    smooth = gaussian_filter(images.astype(np.float32), (0, 0, 1, 1))[:, None]
    components = (smooth + rng.normal(size=(count, slots, 3, size, size)) * 5).clip(0, 255)
    return {
        "images": images,
        "masks": truth,
        "prediction": masks.argmax(1).astype(np.int16),
        "soft_masks": (masks * 255).round().astype(np.uint8),
        "components": components.astype(np.uint8),
        "reconstruction": (masks[:, :, None] * components).sum(1).round().astype(np.uint8),
        "attention": (masks[:, :, :: size // 8, :: size // 8] * 255).astype(np.uint8),
        "keys": np.array([f"{i:08d}" for i in range(count)]),
    }


def per_image(n, rng):
    """Scores of `n` images."""
    return {
        "keys": np.array([f"{i:08d}" for i in range(n)]),
        "ari_fg": rng.beta(8, 2, n),
        "miou": rng.beta(6, 3, n),
        "mse": rng.gamma(2, 0.001, n),
    }


def write_log(folder: Path, n=30, steps=6000):
    """Write a metrics.jsonl with `n` lines of losses and `n` of scores."""
    lines = []
    for i in range(1, n + 1):
        done = i / n
        where = {"step": steps * i // n, "stage": "train", "epoch": 0}
        lines.append(where | {"losses": {"total": 0.3 * 0.9 ** (30 * done) + 0.001}})
        lines.append(where | {"val": {"ari_fg": 0.9 * done, "ari": 0.8 * done, "miou": 0.7 * done**0.5}})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def save_run(folder: Path, item: Record, samples=None, scored=None, trained=True) -> None:
    """Save a record and the other files of its test evaluation."""
    folder.mkdir(parents=True)
    item.save(folder)
    if trained:
        write_log(folder)
    if samples is not None:
        write_samples(folder, {"test": samples})
    if scored is not None:
        write_per_image(folder, {"test": scored})
