"""tools/bench cost: what is counted without values is what a real step does."""

from __future__ import annotations

import json

import pytest
import torch
from benches import command
from benches.cost import step_cost
from benches.train_memory import TensorMemory

from objbench.methods.base import Progress
from objbench.methods.create import build
from objbench.spec.load import load_spec
from objbench.spec.resolve import resolve
from objmae.flops import training_flops

SMALL = {
    "objmae": {"model.width": 64, "model.depth": 2, "model.heads": 4},
    "slot_attention": {"model.channels": 8, "model.slot_width": 8},
    "iodine": {"model.decoder_channels": [4], "model.refiner_channels": [4], "model.updates": 2},
}


def small(name, batch=4):
    spec = load_spec()
    reference = spec.dataset("tetrominoes")
    return resolve(spec, name, reference, SMALL[name] | {"recipe.batch_size": batch}), reference


def test_operations_of_objmae_are_those_of_its_formula():
    config, reference = small("objmae")
    model = build(config, reference).model
    formula = 4 * training_flops(model, model.patches)
    assert step_cost(config, reference, "fp32").operations == pytest.approx(formula, rel=0.002)


@pytest.mark.parametrize("name", ["slot_attention", "iodine"])
def test_memory_is_that_of_a_real_step(name):
    config, reference = small(name)
    with TensorMemory() as memory:
        method = build(config, reference)
        method.training_loss(torch.rand(4, 3, 35, 35), Progress("train", 9, 10, 0, 330)).total.backward()
    found = step_cost(config, reference, "fp32")
    assert found.parameters == sum(p.numel() for p in method.parameters())
    assert found.memory == pytest.approx(memory.peak - 4 * 3 * 35 * 35 * 4, rel=0.02)


def test_twice_the_batch_takes_twice_the_operations_and_bfloat16_less_memory():
    one, two = (step_cost(*small("slot_attention", batch), "fp32") for batch in (4, 8))
    assert two.operations == pytest.approx(2 * one.operations, rel=0.001)  # the position's map is of no image
    assert one.memory < two.memory < 2 * one.memory
    assert step_cost(*small("slot_attention", 8), "bf16").memory < two.memory


def test_a_row_for_each_precision(tmp_path, capsys):
    path = tmp_path / "cost.json"
    line = [
        "cost",
        "--methods",
        "slot_attention:demo",
        "--datasets",
        "tetrominoes@aligned",
        "--json",
        str(path),
    ]
    assert command.main(line) == 0
    (section,) = json.loads(path.read_text())["sections"]
    assert [row["name"] for row in section["rows"]] == [
        "tetrominoes@aligned fp32",
        "tetrominoes@aligned bf16",
    ]
    assert section["rows"][0]["figures"]["parameters"] == 80_044
    assert "GFLOP/image" in capsys.readouterr().out


def test_a_row_for_each_stage(tmp_path):
    path = tmp_path / "cost.json"
    line = ["cost", "--methods", "ast:demo", "--datasets", "tetrominoes", "--json", str(path)]
    assert command.main(line) == 0
    (section,) = json.loads(path.read_text())["sections"]
    names = [f"tetrominoes {stage} {p}" for stage in ("background", "foreground") for p in ("fp32", "bf16")]
    assert [row["name"] for row in section["rows"]] == names
    behind, objects = (section["rows"][index]["figures"] for index in (0, 2))
    assert behind["parameters"] == objects["parameters"] == 722_602
    assert 0 < 10 * behind["GFLOP/image"] < objects["GFLOP/image"]


def count(path, method, *options):
    line = ["cost", "--methods", method, "--datasets", "tetrominoes@aligned", "--json", str(path), *options]
    return command.main(line)


def test_one_file_holds_methods_that_were_counted_one_after_another(tmp_path):
    path = tmp_path / "cost.json"
    assert count(path, "slot_attention:demo", "--merge") == 0  # there is no file yet
    content = json.loads(path.read_text())
    content["sections"][0]["origin"]["commit"] = "of then"
    content["sections"][0]["rows"][0]["figures"]["batch"] = 7.0
    path.write_text(json.dumps(content))
    assert count(path, "iodine:demo", "--merge") == 0
    merged = json.loads(path.read_text())
    assert merged["parameters"] == {"methods": ["slot_attention:demo", "iodine:demo"]}
    kept, new = merged["sections"]
    assert kept == content["sections"][0]
    assert new["title"] == "iodine:demo: memory of a training step"
    assert new["origin"]["commit"] == merged["machine"]["commit"]
    assert count(path, "slot_attention:demo", "--merge") == 0  # counted again: the old figures go
    sections = json.loads(path.read_text())["sections"]
    assert [section["title"].split(":")[0] for section in sections] == ["iodine", "slot_attention"]
    assert sections[1]["rows"][0]["figures"]["batch"] == 32.0
    assert count(path, "slot_attention:demo") == 0
    assert len(json.loads(path.read_text())["sections"]) == 1


def test_a_file_of_something_else_is_not_merged_with(tmp_path, capsys):
    path = tmp_path / "cost.json"
    for text in ("{", "[]", '{"sections": [{"title": "x"}]}'):
        path.write_text(text)
        assert count(path, "slot_attention:demo", "--merge") == 2
        assert f"{path}: not a file of this bench" in capsys.readouterr().err
        assert path.read_text() == text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--methods", "grid"], "method 'grid' does not train: there is no step to count"),
        (["--methods", "monett"], "monet"),
        (["--datasets", "clevr66"], "clevr6"),
        (["--merge"], "--merge: say with --json which file holds the other methods"),
    ],
)
def test_what_cannot_be_counted_is_refused(options, message, capsys):
    assert command.main(["cost", *options]) == 2
    assert message in capsys.readouterr().err
