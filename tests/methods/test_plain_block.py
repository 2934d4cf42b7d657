"""The settings of a method from a plain file: its defaults, what it inherits, and the layers over them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers import plain

from objbench.errors import RequestError
from objbench.methods.create import build, create
from objbench.methods.describe import settings_of
from objbench.methods.plain_block import named, with_files
from objbench.spec.resolve import resolve
from objbench.testing import check_method

INHERITING = '''
from objbench.methods.slot_attention import SlotAttention


class Mine(SlotAttention):
    """Slot Attention with a word of mine."""
'''
REQUIRED = """
from pydantic import Field
from objbench.methods.base import Method
from objbench.spec.settings import Count, Group


class Model(Group):
    width: Count = Field(description="of the network")
    depth: Count = Field(3, description="of the network")


class Mine(Method):
    class Settings(Method.Settings):
        model: Model

    def stages(self):
        return []
"""


def config(path, dataset="tetrominoes", layer=None, **overrides):
    spec, (name,) = with_files([str(path)], layer)
    resolved = resolve(spec, name, spec.dataset(dataset), overrides)
    build(resolved, spec.dataset(dataset))
    return resolved


def test_defaults_of_the_class_lie_over_the_shared_recipe(tmp_path):
    found = config(plain.write(tmp_path)).config
    assert found["learning_rate"] == 0.05
    assert (found["recipe"]["steps"], found["recipe"]["batch_size"]) == (4, 2)
    assert found["recipe"]["log_steps"] == 50  # of benchmarks.yaml
    assert found["slots"] == 4  # of the dataset


def test_set_and_a_yaml_change_the_defaults(tmp_path):
    path, layer = plain.write(tmp_path), tmp_path / "mine.yaml"
    layer.write_text(
        "methods: {mine.Mine: {config: {learning_rate: 0.5, recipe: {batch_size: 3}}, "
        "datasets: {clevr6: {learning_rate: 0.25}}, variants: {slow: {description: Slow, config: {learning_rate: 0.1}}}}}"
    )
    found = config(path, layer=layer, **{"recipe.steps": 9}).config
    assert (found["learning_rate"], found["recipe"]["batch_size"], found["recipe"]["steps"]) == (0.5, 3, 9)
    assert config(path, "clevr6", layer).config["learning_rate"] == 0.25
    slow = config(f"{path}:Mine:slow", layer=layer)
    assert (slow.label, slow.config["learning_rate"]) == ("mine.Mine-slow", 0.1)


def test_the_content_of_the_file_is_part_of_the_hash(tmp_path):
    path = plain.write(tmp_path)
    first = config(path)
    moved = config(plain.write(tmp_path / "elsewhere"))
    plain.write(tmp_path, text=plain.TEXT.replace("0.05", "0.06"))
    changed = config(path, learning_rate=0.05)
    assert first.hash == moved.hash
    assert first.config == changed.config
    assert first.hash != changed.hash


@pytest.mark.parametrize("key", ["recipe.bacth_size", "learning_rat"])
def test_unknown_keys_are_refused_wherever_they_stand(tmp_path, key):
    path, layer = plain.write(tmp_path), tmp_path / "mine.yaml"
    right = {"recipe.bacth_size": "recipe.batch_size", "learning_rat": "learning_rate"}[key]
    nested = {"recipe.bacth_size": "{recipe: {bacth_size: 1}}", "learning_rat": "{learning_rat: 1.0}"}[key]
    with pytest.raises(RequestError, match=f"unknown key '{key}': did you mean '{right}'"):
        config(path, **{key: 1})
    layer.write_text(f"methods: {{mine.Mine: {{config: {nested}}}}}")
    with pytest.raises(RequestError, match=f"unknown key '{key}': did you mean '{right}'"):
        config(path, layer=layer)


def test_an_unknown_key_of_a_default_is_refused(tmp_path):
    with pytest.raises(RequestError, match="unknown key in recipe 'bacth_size': did you mean 'batch_size'"):
        config(plain.write(tmp_path, text=plain.TEXT.replace('"batch_size"', '"bacth_size"')))


def test_a_setting_without_a_default_needs_a_value(tmp_path):
    path = plain.write(tmp_path, text=REQUIRED)
    with pytest.raises(
        RequestError, match=r"mine\.Mine: model\.width: expected a whole number >= 1, found None"
    ):
        config(path)
    assert config(path, **{"model.width": 8}).config["model"] == {"width": 8, "depth": 3}


def test_a_class_derived_from_a_registered_method_takes_its_settings(tmp_path):
    path = plain.write(tmp_path, text=INHERITING)
    spec, _ = with_files(["slot_attention"])
    for dataset in ("clevr6", "multi_dsprites"):
        theirs = resolve(spec, "slot_attention", spec.dataset(dataset), {})
        assert config(path, dataset).config == theirs.config
    assert config(f"{path}:Mine:demo", "tetrominoes").variant == "demo"


def test_a_name_that_is_taken_is_refused(tmp_path):
    path, layer = plain.write(tmp_path), tmp_path / "mine.yaml"
    layer.write_text("methods: {mine.Mine: {class: 'my_package:Mine'}}")
    with pytest.raises(RequestError, match=r"methods\.mine\.Mine\.class: .*mine\.py says it; leave it out"):
        with_files([str(path)], layer)
    other = plain.write(tmp_path / "other", text=plain.TEXT + "\n")
    with pytest.raises(RequestError, match=r"would both be the method mine\.Mine: rename one of them"):
        named([str(path), str(other)])


def test_a_registered_name_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("objbench.methods.plain_block.names", lambda kind: {"mine.Mine": "x:Y"})
    with pytest.raises(
        RequestError, match=r"there is a method 'mine\.Mine' already; rename the file or the class"
    ):
        with_files([str(plain.write(tmp_path))])


def test_python_and_the_contract_kit_take_a_file(tmp_path):
    path = plain.write(tmp_path)
    assert create(f"{path}:Mine", "tetrominoes", learning_rate=0.5).settings.learning_rate == 0.5
    assert {"settings", "resume"} <= set(check_method(str(path), "tetrominoes"))


COMPOSED = """
from pathlib import Path
from typing import Any
from pydantic import Field
from objbench.methods.base import Method


class Mine(Method):
    class Settings(Method.Settings):
        pair: tuple[int, float] = Field((1, 2.5), description="of numbers")
        grid: list[tuple[int, int]] = Field([(1, 2), (3, 4)], description="of places")
        weights: dict[str, float] = Field({"left": 0.5, "right": 1.0}, description="by side")
        none: dict[str, int] = Field({}, description="by nobody")
        file: Path = Field(Path("a.bin"), description="to read")

    def stages(self):
        return []
"""


def test_defaults_of_composed_types_are_as_a_yaml_has_them_and_arrive_typed(tmp_path):
    path = plain.write(tmp_path, text=COMPOSED)
    resolved = config(path, **{"weights.left": 0.25})
    assert resolved.config == json.loads(json.dumps(resolved.config))  # what config.json gives back
    spec, (name,) = with_files([str(path)])
    dataset = spec.dataset("tetrominoes")
    settings = build(resolved, dataset).settings
    assert (settings.pair, settings.grid) == ((1, 2.5), [(1, 2), (3, 4)])
    assert (settings.weights, settings.none) == ({"left": 0.25, "right": 1.0}, {})
    assert settings.file == Path("a.bin")
    assert build(resolve(spec, name, dataset, {"file": Path("b.bin")}), dataset).settings.file == Path(
        "b.bin"
    )
    for given in ([3, 4], (3, 4)):
        assert build(resolve(spec, name, dataset, {"pair": given}), dataset).settings.pair == (3, 4.0)
    assert settings_of(spec, name)["weights"].default == {"left": 0.5, "right": 1.0}


@pytest.mark.parametrize("default", ["{1, 2}", "b'x'", "object()"])
def test_a_default_that_no_yaml_can_have_is_refused(tmp_path, default):
    text = COMPOSED.replace("dict[str, int] = Field({},", f"Any = Field({default},")
    with pytest.raises(
        RequestError, match=r"Settings\.none: its default .* is no value that a yaml can have"
    ):
        config(plain.write(tmp_path, text=text))
