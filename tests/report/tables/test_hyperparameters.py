from __future__ import annotations

import csv
import io
import json

import pytest

from objbench.errors import RequestError
from objbench.report.tables.hyperparameters import (
    HYPERPARAMETER_TABLES,
    hyperparameters,
    hyperparameters_csv,
    hyperparameters_json,
    hyperparameters_table,
)
from objbench.spec.load import load_spec
from objbench.spec.nested import flatten
from objbench.spec.resolve import resolve


def column(number, dataset):
    table = hyperparameters_table(hyperparameters(number, load_spec(), []), load_spec())
    place = table.headings.index(load_spec().dataset_title(dataset))
    return {line.label.text: line.cells[place].text for line in table.lines}


def test_table_7_is_the_model():
    assert column("7", "clevr6") == {
        "dataset.slots": "7", "dataset.height": "128", "dataset.width": "128", "model.patch": "16",
        "model.width": "768", "model.depth": "4", "model.heads": "16", "model.decoder_width": "512",
        "model.decoder_depth": "2", "model.decoder_heads": "16", "model.mlp_ratio": "2",
    }  # fmt: skip
    assert column("7", "tetrominoes")["model.width"] == "192"


def test_table_8_is_the_training():
    found = column("8", "multi_dsprites")
    assert (found["recipe.batch_size"], found["recipe.epochs"], found["recipe.steps"]) == ("128", "330", "-")
    assert (found["optimizer.eps"], found["optimizer.weight_decay"]) == ("1e-08", "0.05")


def test_table_9_is_the_schedules_and_loss_weights():
    assert [column("9", d)["schedule.mask_ratio"] for d in ("tetrominoes", "multi_dsprites", "clevrtex")] == [
        "0.75",
        "0.5",
        "0.75",
    ]
    assert column("9", "clevrtex")["schedule.token_noise"] == "0.1"


@pytest.mark.parametrize("dataset", ["tetrominoes", "multi_dsprites", "clevr6", "clevrtex"])
def test_together_they_hold_all_that_a_run_resolves(dataset):
    spec = load_spec()
    shown = {}
    for number in HYPERPARAMETER_TABLES:
        found = hyperparameters(number, spec, []).values
        shown |= {key.removeprefix("dataset."): by[dataset] for key, by in found.items()}
    del shown["height"], shown["width"]
    assert shown == flatten(resolve(spec, "objmae", spec.dataset(dataset), {}).config)


def test_datasets_are_chosen():
    found = hyperparameters("9", load_spec(), ["clevr6@first70k", "tetrominoes"])
    assert hyperparameters_table(found, load_spec()).headings == ["CLEVR6 (first70k)", "Tetrominoes"]
    with pytest.raises(RequestError, match="unknown dataset 'clevr'"):
        hyperparameters("9", load_spec(), ["clevr"])


def test_programs_get_values_as_they_are():
    found = hyperparameters("8", load_spec(), ["clevr6"])
    by_name = {item["name"]: item["values"] for item in json.loads(hyperparameters_json(found))}
    assert by_name["recipe.steps"] == {"clevr6": None}
    assert by_name["optimizer.eps"] == {"clevr6": 1e-8}
    lines = {
        line["setting"]: line["value"] for line in csv.DictReader(io.StringIO(hyperparameters_csv(found)))
    }
    assert (lines["recipe.steps"], lines["recipe.checkpoint_steps"]) == ("", "5000")
