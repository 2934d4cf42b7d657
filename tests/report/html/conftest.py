"""Runs of three methods and the page that shows them; a page of more in a browser."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.browser import CHROMIUM, SCORED
from helpers.html import Document, made
from helpers.run_artifacts import per_image, predicted, save_run, scenes
from helpers.synthetic import generated, record, scored, scores


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


@pytest.fixture(scope="package")
def address(tmp_path_factory):
    """A page of two methods on tetrominoes (two seeds, one seed), and of both on generated multi_dsprites."""
    folder = tmp_path_factory.mktemp("browser")
    rng = np.random.default_rng(0)
    for dataset, size in (("tetrominoes", 35), ("multi_dsprites", 64)):
        images, truth = scenes(5, size, 3, rng)
        make = record if dataset == "tetrominoes" else generated
        changes = {} if dataset == "tetrominoes" else {"generator": {"version": 2, "seed": 0}}
        on = {"test": scored(dataset, height=size, width=size, **changes)}
        for method, seed, score in (("objmae", 0, 0.97), ("objmae", 1, 0.99), ("monet", 0, 0.1234)):
            metrics = {"test": scores(ari_fg=score)}
            item = make(seed, method, dataset=dataset, metrics=metrics, on=on)
            place = folder / "runs" / dataset / method / f"seed-{seed}"
            samples = predicted(images, truth, 4, rng)
            if method == "monet":  # as a method of boxes would have them: left, top, width, height
                box = np.array([0.25, 0.5, 0.5, 0.25], dtype=np.float32)
                samples["boxes"] = np.tile(box, (len(images), 1, 1))
                samples["presence"] = np.ones((len(images), 1), dtype=np.float32)
            save_run(place, item, samples, per_image(SCORED, rng))
    (folder / "report.html").write_text(made(folder / "runs"))
    return (folder / "report.html").as_uri()


@pytest.fixture(scope="package")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e .[dev]")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def view(browser, address):
    """The page in a window of its own; whatever it complains about or asks the network for fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    shown = context.new_page()
    complaints = []
    shown.on("console", lambda message: complaints.append(message.text))
    shown.on("pageerror", lambda error: complaints.append(str(error)))
    shown.on(
        "request",
        lambda asked: None if asked.url.startswith(("file:", "data:")) else complaints.append(asked.url),
    )
    shown.goto(address)
    shown.wait_for_selector("#g-slots .slot")
    yield shown
    context.close()
    assert complaints == []
