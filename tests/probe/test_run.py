"""A finished run is probed, and its record keeps what was found."""

from __future__ import annotations

import shutil
from copy import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import toy_runs

import objbench.probe.run as probing
from objbench.errors import RequestError
from objbench.methods.create import build
from objbench.probe.run import ProbeRequest, probe_run
from objbench.random import seed_from
from objbench.records import read_record
from objbench.spec.load import load_spec
from objbench.spec.resolve import resolve
from objbench.train.reevaluate import load_run, untrained_run

SPEC = load_spec()
REQUEST = ProbeRequest("linear", "masks", None, 20)


@pytest.fixture(scope="module")
def trained(prepared_data, tmp_path_factory):
    folder, record = toy_runs.small_slot_attention(
        prepared_data, tmp_path_factory.mktemp("runs"), **{"recipe.steps": 3}
    )
    return folder, record


def loader(data):
    found = toy_runs.open_run_data(data)
    return lambda record: (found.train, list(found.tests.values()))


def test_scores_stand_in_the_record(trained, prepared_data):
    folder, before = trained
    keys, record = probe_run(folder, SPEC, loader(prepared_data), REQUEST)
    assert keys == ["test"]
    assert read_record(folder) == record
    assert record.model_copy(update={"probes": None}) == before
    found = record.probes["test"]["linear"]
    assert list(found.factors) == ["shape", "color", "x", "y"]
    assert list(found.means) == ["accuracy", "r2"]
    assert (found.n_train, found.n_images, found.n_objects) == (20, 10, 30)
    assert found.train_fingerprint == record.fingerprint
    assert found.scored == record.scored["test"]
    for score in (*found.factors.values(), *found.means.values()):
        assert None not in (score.score, score.interval, score.majority, score.masks, score.untrained)
        assert score.interval[0] <= score.score <= score.interval[1]
    assert 0 <= found.disentanglement <= 1
    assert 0 <= found.completeness <= 1
    again = probe_run(
        folder, SPEC, loader(prepared_data), ProbeRequest("gradient_boosting", "loss", ("y",), 20)
    )[1]
    assert set(again.probes["test"]) == {"linear", "gradient_boosting+loss"}
    assert again.probes["test"]["linear"] == found
    assert list(again.probes["test"]["gradient_boosting+loss"].factors) == ["y"]


def test_the_same_command_finds_the_same(trained, prepared_data):
    folder, _ = trained
    one, two = (probe_run(folder, SPEC, loader(prepared_data), REQUEST)[1] for _ in range(2))
    assert one == two


def test_the_untrained_model_is_set_up_from_all_scenes_of_the_training(trained, prepared_data, monkeypatch):
    seen = []

    def watched(folder, record, spec, images):
        seen.append(len(images))
        return untrained_run(folder, record, spec, images)

    monkeypatch.setattr(probing, "untrained_run", watched)
    said = []
    probe_run(trained[0], SPEC, loader(prepared_data), REQUEST, said.append)
    assert seen == [len(toy_runs.open_run_data(prepared_data).train)]
    assert seen[0] > REQUEST.n_train
    assert said == []


def test_other_scenes_than_those_of_the_training_are_told_and_leave_the_untrained_model_out(
    trained, prepared_data, tmp_path
):
    folder = tmp_path / "seed-0"
    shutil.copytree(trained[0], folder)
    found, said = toy_runs.open_run_data(prepared_data), []
    manifest = found.train.manifest
    split = manifest.splits["train"].model_copy(update={"fingerprint": "0" * 64})
    other = copy(found.train)
    other.manifest = manifest.model_copy(update={"splits": {**manifest.splits, "train": split}})
    _, record = probe_run(
        trained[0], SPEC, lambda record: (other, found.tests.values()), REQUEST, said.append
    )
    scores = record.probes["test"]["linear"]
    assert scores.train_fingerprint == "0" * 64
    assert {score.untrained for score in scores.factors.values()} == {None}
    assert {score.masks is None for score in scores.factors.values()} == {False}
    (line,) = said
    assert "was trained on other scenes than the train split of tetrominoes that is prepared here" in line


def test_the_untrained_model_has_the_first_weights_of_the_training(trained, prepared_data):
    folder, record = trained
    images = toy_runs.open_run_data(prepared_data).train.images
    first = untrained_run(folder, record, SPEC, images)
    torch.manual_seed(seed_from(record.seed, "init"))
    expected = build(
        resolve(SPEC, "slot_attention:demo", SPEC.dataset("tetrominoes"), record.overrides),
        SPEC.dataset("tetrominoes"),
    )
    now = load_run(folder, record, SPEC)
    for name, value in first.state_dict().items():
        assert torch.equal(value, expected.state_dict()[name])
    assert any(not torch.equal(value, now.state_dict()[name]) for name, value in first.state_dict().items())


def test_trivial_methods_have_slots_and_nothing_beside_them(prepared_data, tmp_path):
    for method in ("one_slot", "grid", "color_kmeans"):
        folder, _ = toy_runs.run(prepared_data, tmp_path, method)
        _, record = probe_run(folder, SPEC, loader(prepared_data), REQUEST)
        found = record.probes["test"]["linear"]
        assert {score.masks for score in found.factors.values()} == {None}
        assert {score.untrained for score in found.factors.values()} == {None}
    assert found.factors["color"].score > 0.5


def test_an_unknown_factor_is_refused_before_anything_is_computed(trained, prepared_data, monkeypatch):
    monkeypatch.setattr("objbench.probe.run.codes", lambda *_: pytest.fail("computed"))
    with pytest.raises(RequestError, match=r"unknown factor of tetrominoes 'colour'.*color"):
        probe_run(trained[0], SPEC, loader(prepared_data), replace(REQUEST, factors=("colour",)))


def test_scores_of_predictions_have_no_slots(prepared_data, tmp_path):
    from objbench.predictions import open_predictions
    from objbench.train.score_predictions import score_predictions

    scenes = toy_runs.open_run_data(prepared_data).tests["test"]
    np.save(tmp_path / "mine.npy", np.zeros((10, 35, 35), np.uint8))
    with open_predictions(tmp_path / "mine.npy", by_order=False) as predictions:
        folder, *_ = score_predictions(predictions, scenes, tmp_path, "mine", say=print)
    with pytest.raises(RequestError, match="without a model"):
        probe_run(folder, SPEC, loader(prepared_data), REQUEST)
