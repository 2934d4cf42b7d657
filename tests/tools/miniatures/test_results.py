"""What is kept of runs: small files of each that is finished, the weights of one seed, and a report on them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.paths import ROOT
from kept import KEPT
from miniatures import results
from miniatures.plan import ALIGNED, COLORED, MADE_FOR, Run
from miniatures.results import SUCCESS, keep_and_report, last_validation

from objbench.records import read_record
from objbench.spec.load import load_spec

SPEC = load_spec()


def fake_run(folder: Path, ari_fg: float, files: tuple[str, ...] = (*KEPT, "model.safetensors")) -> None:
    folder.mkdir(parents=True)
    for name in files:
        (folder / name).write_text(f"{name} {ari_fg}")
    events = [
        {"step": step, "stage": "train", "epoch": 0, "val": {"ari_fg": v}}
        for step, v in ((1, 0.99), (2, ari_fg))
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """Seeds with a last validation of 0.5 and 0.7, one that is not finished, and one of another method."""
    monkeypatch.setattr(results, "_report", lambda *_: None)
    every = [*(Run("objmae:demo", ALIGNED, seed) for seed in range(3)), Run("monet:demo", ALIGNED, 0)]
    for run, score in zip(every, (0.5, 0.7, 0.9, 0.8), strict=True):
        fake_run(tmp_path / "made" / run.folder(SPEC), score)
    (tmp_path / "made" / every[2].folder(SPEC) / "result.json").unlink()
    return every


def weights(tmp_path: Path) -> list[str]:
    return sorted(
        str(path.relative_to(tmp_path / "kept").parent) for path in tmp_path.rglob("kept/**/*.safetensors")
    )


def test_the_weights_of_the_best_seed_on_validation_scenes_are_kept(tmp_path, runs):
    keep_and_report(runs, tmp_path / "made", tmp_path / "kept", SPEC)
    assert weights(tmp_path) == [str(runs[1].folder(SPEC))]
    assert {path.name for path in (tmp_path / "kept" / runs[3].folder(SPEC)).iterdir()} == set(KEPT)
    assert not (tmp_path / "kept" / runs[2].folder(SPEC)).exists()
    (tmp_path / "made" / runs[2].folder(SPEC) / "result.json").write_text("")  # it ends, and is better
    keep_and_report(runs, tmp_path / "made", tmp_path / "kept", SPEC)
    assert weights(tmp_path) == [str(runs[2].folder(SPEC))]


def test_the_last_validation_counts(tmp_path):
    fake_run(tmp_path / "run", 0.25)
    assert last_validation(tmp_path / "run") == 0.25


@pytest.mark.parametrize("dataset", [ALIGNED, COLORED, *MADE_FOR.values()])
def test_success_is_a_tenth_above_the_better_trivial_method(dataset):
    paths = [
        path for path in (ROOT / "results").rglob("*/result.json") if {"grid", "color_kmeans"} & {*path.parts}
    ]
    found = [record for record in map(read_record, paths) if str(SPEC.dataset(record.dataset_ref)) == dataset]
    best = max(record.metrics["test"].values["ari_fg"].mean for record in found)
    assert SUCCESS[dataset] == round(best + 0.1, 2)


def test_every_dataset_has_a_threshold():
    assert set(SUCCESS) == {ALIGNED, COLORED, *MADE_FOR.values()}


def test_ablations_are_compared_with_stable_and_stable_with_objmae(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(results, "write_report", lambda request, _: asked.append(request))
    for name in ("objmae", "objmae:stable", "objmae:no_masking", "monet:demo"):
        folder = tmp_path / Run(name, ALIGNED, 0).folder(SPEC)
        folder.mkdir(parents=True)
        shown = json.loads(
            (
                ROOT / "results/miniature/demos/tetrominoes@aligned/generated/objmae-demo/seed-0/result.json"
            ).read_text()
        )
        method, _, variant = name.partition(":")
        shown |= {"method": method, "variant": variant or None}
        (folder / "result.json").write_text(json.dumps(shown))
    results._report(ALIGNED, tmp_path, SPEC)
    assert [request.compare for request in asked] == [
        (), (), ("objmae:stable", "objmae:no_masking"), ("objmae", "objmae:stable"),
    ]  # fmt: skip
    assert [request.output.name for request in asked] == [
        f"{ALIGNED}.md", f"{ALIGNED}.png", f"{ALIGNED}-no_masking.md", f"{ALIGNED}-stable.md",
    ]  # fmt: skip
    assert asked[1].method == ("monet:demo", "objmae", "objmae:no_masking", "objmae:stable")
