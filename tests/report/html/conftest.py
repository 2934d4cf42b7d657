"""Runs of three methods, and the page that shows them."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.html import Document, made
from helpers.run_artifacts import per_image, predicted, save_run, scenes
from helpers.synthetic import generated, record, scores


@pytest.fixture(scope="package")
def runs(tmp_path_factory):
    """objmae with two seeds, monet with one, on the release; color_kmeans on generated data, with hard labels."""
    folder = tmp_path_factory.mktemp("html") / "runs"
    rng = np.random.default_rng(0)
    images, truth = scenes(4, 24, 3, rng)
    for seed in (0, 1):
        values = scores(ari_fg=0.9 - 0.1 * seed)
        item = record(seed, metrics={"test": values})
        save_run(folder / f"objmae/seed-{seed}", item, predicted(images, truth, 4, rng), per_image(320, rng))
    save_run(
        folder / "monet/seed-0", record(method="monet"), predicted(images, truth, 5, rng), per_image(320, rng)
    )
    hard = predicted(images, truth, 4, rng)
    hard = {name: hard[name] for name in ("images", "masks", "prediction", "keys")}
    item = generated(method="color_kmeans")
    save_run(folder / "kmeans/seed-0", item, hard, per_image(320, rng), trained=False)
    return folder


@pytest.fixture(scope="package")
def text(runs):
    return made(runs)


@pytest.fixture(scope="package")
def document(text):
    return Document(text)
