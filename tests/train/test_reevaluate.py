"""A finished run on other scenes, with another number of slots or definition: what is added, what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from helpers.toy_runs import eight_slots, run, small_slot_attention

from objbench.data.prepare.prepare import prepare
from objbench.data.read.load import load
from objbench.errors import ObjbenchError, RequestError
from objbench.methods.base import Segmentation
from objbench.methods.trivial import OneSlot
from objbench.records import read_record
from objbench.spec.load import load_spec
from objbench.train.artifacts import read_samples
from objbench.train.reevaluate import reevaluate


def test_evaluate_adds_another_set_to_the_record(prepared_data, tmp_path):
    folder, _ = run(prepared_data, tmp_path)
    scenes = load("tetrominoes@aligned", "val", data=prepared_data)
    key, record = reevaluate(folder, scenes, load_spec())
    assert key == "tetrominoes@aligned/generated:val"
    assert record.metrics[key].n_images == 6
    assert read_record(folder).metrics.keys() == {"test", key}
    with np.load(folder / "per_image.npz") as values:
        assert len(values[f"{key}/ari"]) == 6
        assert len(values["test/ari"]) == 10
    kept = read_samples(folder)
    assert {name: samples["keys"].tolist() for name, samples in kept.items()} == {
        "test": [f"{i:08d}" for i in range(10)],
        key: scenes.keys,
    }


def test_evaluate_on_another_test_split_of_the_same_name_leaves_the_own_scores(prepared_data, tmp_path):
    folder, before = run(prepared_data, tmp_path)
    tetrominoes = load_spec().dataset("tetrominoes")
    prepare(
        tetrominoes,
        "generated",
        tmp_path / "other",
        sizes={"train": 4, "val": 0, "test": 5},
        seed=9,
        workers=1,
    )
    key, after = reevaluate(folder, load("tetrominoes", "test", data=tmp_path / "other"), load_spec())
    assert key == "tetrominoes/generated"
    assert after.metrics["test"] == before.metrics["test"]
    assert after.metrics[key].n_images == 5


def test_another_dataset_with_the_same_test_split_has_scores_of_its_own(prepared_data, tmp_path):
    folder, before = run(prepared_data, tmp_path)
    layer = tmp_path / "twin.yaml"
    rules = "{train: {file: data, stop: 4}, test: {file: data, stop: 10}}"
    layer.write_text(
        f"datasets: {{tetrominoes: {{protocols: {{twin: {{description: d, sources: {{generated: {rules}}}}}}}}}}}"
    )
    spec = load_spec(layer)
    prepare(spec.dataset("tetrominoes@twin"), "generated", tmp_path / "other", workers=1)
    scenes = load("tetrominoes@twin", "test", data=tmp_path / "other", config=layer)
    key, after = reevaluate(folder, scenes, spec)
    assert key == "tetrominoes@twin/generated"
    assert after.scored["test"] == before.scored["test"]
    assert after.scored[key].fingerprint == before.scored["test"].fingerprint
    assert after.metrics[key].values["ari"].mean == after.metrics["test"].values["ari"].mean


def test_evaluate_refuses_a_training_set_of_another_size(prepared_data, tmp_path):
    folder, _ = run(prepared_data, tmp_path, "grid")
    layer = tmp_path / "mine.yaml"
    layer.write_text("datasets: {tetrominoes: {height: 64}}")
    scenes = load("tetrominoes@aligned", "val", data=prepared_data)
    with pytest.raises(
        RequestError, match="seed-0 was trained on images of 35x35, but tetrominoes is of 64x35"
    ):
        reevaluate(folder, scenes, load_spec(layer))


@pytest.mark.parametrize("other", ["3", "18446744073709551616"])
def test_evaluate_refuses_a_configuration_that_is_not_the_records(prepared_data, tmp_path, other):
    folder, _ = run(prepared_data, tmp_path)
    text = (folder / "config.json").read_text()
    assert text.count('"slots": 4') == 1
    (folder / "config.json").write_text(text.replace('"slots": 4', f'"slots": {other}'))
    scenes = load("tetrominoes", "test", data=prepared_data)
    with pytest.raises(ObjbenchError, match=r"config\.json: not the configuration of this record .*--fresh"):
        reevaluate(folder, scenes, load_spec())


def test_evaluate_on_the_own_test_split_gives_the_same_numbers(prepared_data, tmp_path):
    folder, before = run(prepared_data, tmp_path)
    key, after = reevaluate(folder, load("tetrominoes", "test", data=prepared_data), load_spec())
    assert key == "test"
    assert after == before


def test_alternative_masks_stand_in_the_record_and_are_evaluated_again_with_it(
    prepared_data, tmp_path, monkeypatch
):
    def segment(self, images, progress=None):
        labels = (images.sum(1) > 0).long()
        return Segmentation(labels=0 * labels, alternatives={"bright": labels})

    monkeypatch.setattr(OneSlot, "segment", segment)
    folder, record = run(prepared_data, tmp_path, "one_slot")
    assert record.metrics.keys() == record.scored.keys() == {"test", "test+masks=bright"}
    assert record.metrics["test+masks=bright"].masks == "bright"
    assert (
        record.metrics["test"].values["ari"].mean
        == 0
        < record.metrics["test+masks=bright"].values["ari"].mean
    )
    assert read_record(folder) == record
    scenes = load("tetrominoes", "test", data=prepared_data)
    assert reevaluate(folder, scenes, load_spec())[1] == record
    key, again = reevaluate(folder, scenes, load_spec(), "deepmind")
    assert {key, "test+masks=bright#deepmind"} == again.metrics.keys() - record.metrics.keys()
    with np.load(folder / "per_image.npz") as values:
        assert "test+masks=bright#deepmind/ari" in values


def test_evaluate_checks_the_weights_and_the_configuration(prepared_data, tmp_path):
    folder, record = run(prepared_data, tmp_path)
    scenes = load("tetrominoes", "test", data=prepared_data)
    config = json.loads((folder / "config.json").read_text())
    for key, message in {
        "config": "damaged .*config",
        "recipe": "damaged .*recipe",
        "model": "not the configuration of this record",
        "implementation": "not the configuration of this record",
    }.items():
        changed = json.loads(json.dumps(config))
        del (changed if key in changed else changed["config"])[key]
        (folder / "config.json").write_text(json.dumps(changed))
        with pytest.raises(ObjbenchError, match=f"config.json: {message}") as refused:
            reevaluate(folder, scenes, load_spec())
        assert not isinstance(refused.value, RequestError)
    (folder / "config.json").write_text(json.dumps(config))
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    assert len(record.weights_sha256) == 64
    with pytest.raises(ObjbenchError, match=r"model.safetensors: not the weights of this record"):
        reevaluate(folder, scenes, load_spec())


def test_evaluate_rebuilds_with_the_slots_that_were_trained_or_those_asked_for(prepared_data, tmp_path):
    folder, before = small_slot_attention(prepared_data, tmp_path / "runs", eight_slots(tmp_path))
    scenes = load("tetrominoes", "test", data=prepared_data)
    key, record = reevaluate(folder, scenes, load_spec())
    assert (key, record.metrics["test"]) == ("test", before.metrics["test"])
    key, record = reevaluate(folder, scenes, load_spec(), slots=2)
    assert key == "test+slots=2"
    assert (record.metrics[key].slots, record.metrics[key].crowded) == (2, 10)  # three objects in each image
    assert (record.metrics["test"].slots, record.metrics["test"].crowded) == (None, None)
    assert read_record(folder) == record
    planes = {name: found["soft_masks"].shape[1] for name, found in read_samples(folder).items()}
    assert planes == {"test": 8, "test+slots=2": 2}
    assert reevaluate(folder, scenes, load_spec(), slots=8)[0] == "test"


def test_a_method_with_parameters_per_slot_refuses_another_number(prepared_data, tmp_path):
    folder, _ = run(prepared_data, tmp_path)
    with pytest.raises(RequestError, match="trained with 4 slots, and toy_geco cannot segment with another"):
        reevaluate(folder, load("tetrominoes", "test", data=prepared_data), load_spec(), slots=7)


def test_a_run_of_another_class_is_not_evaluated(prepared_data, tmp_path):
    folder, _ = run(prepared_data, tmp_path / "runs")
    layer = tmp_path / "class.yaml"
    layer.write_text("methods: {toy_geco: {class: 'objbench_toys.methods:ToyRefiner'}}\n")
    with pytest.raises(RequestError, match=r"trained with the class objbench_toys.*:ToyGeco"):
        reevaluate(folder, load("tetrominoes", "test", data=prepared_data), load_spec(layer))
