"""From a name to a method, or a refusal that says which value is wrong."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers import plain
from helpers.paths import ROOT
from objbench_toys.methods import ToyGeco

from objbench.errors import ObjbenchError, RequestError
from objbench.methods.base import Method
from objbench.methods.create import create
from objbench.spec.load import load_spec
from objbench.spec.nested import flatten
from objbench.spec.resolve import resolve

TYPED = """
from pathlib import Path
from typing import Annotated

from pydantic import Field

import objbench
from objbench.methods.base import Method
from objbench.spec.settings import Recipe


class Mine(Method):
    class Settings(Method.Settings):
        recipe: Annotated[Recipe, Field(default={"steps": 50})]


objbench.create("slot_attention", "tetrominoes", **{"model.slot_width": 96})
objbench.create("grid", "tetrominoes", config=Path("mine.yaml"), slots=9)
"""


@pytest.mark.slow
def test_a_strict_type_checker_passes_dotted_overrides_and_parts_of_a_recipe(tmp_path):
    (tmp_path / "user.py").write_text(TYPED)
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path), "user.py"]
    checked = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"MYPYPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout


def test_a_method_holds_its_settings_typed():
    method = create("toy_geco", "tetrominoes", **{"model.width": 3, "recipe.lr": "1e-3"})
    assert isinstance(method, ToyGeco)
    assert (method.settings.model.width, method.settings.recipe.lr) == (3, 0.001)
    assert method.recipe is method.settings.recipe


def test_numbers_of_numpy_and_torch_are_settings():
    values = {"model.width": np.int64(3), "recipe": {"lr": np.float64(0.5), "steps": torch.tensor(7)}}
    settings = create("toy_geco", "tetrominoes", slots=np.float32(9), **values).settings
    found = (settings.slots, settings.model.width, settings.recipe.lr, settings.recipe.steps)
    assert [(value, type(value)) for value in found] == [(9, int), (3, int), (0.5, float), (7, int)]
    with pytest.raises(RequestError, match="slots: expected a whole number >= 1 and <= 1024, found True"):
        create("grid", "tetrominoes", slots=np.True_)


def test_a_path_is_a_method_from_a_file(tmp_path):
    path = plain.write(tmp_path)
    assert type(create(path, "tetrominoes")) is type(create(str(path), "tetrominoes"))


def test_a_method_without_settings_of_its_own_has_a_recipe():
    assert create("grid", "tetrominoes").settings == Method.Settings(slots=4, recipe=load_spec().recipe)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("recipe.lr", "fast", "recipe.lr: expected a number > 0, found 'fast'"),
        ("model.width", 1.5, "model.width: expected a whole number >= 1, found 1.5"),
        ("model.width", True, "model.width: expected a whole number >= 1, found True"),
        ("recipe.epochs", True, "recipe.epochs: expected a whole number >= 1 or null, found True"),
        ("recipe.steps", 0, "recipe.steps: expected a whole number >= 1 or null, found 0"),
        ("recipe.precision", "fp16", "recipe.precision: expected fp32 or bf16, found 'fp16'"),
    ],
)
def test_values_are_refused_by_method_and_key(key, value, message):
    with pytest.raises(RequestError) as found:
        create("toy_geco", "tetrominoes", **{key: value})
    assert str(found.value) == f"toy_geco: {message}"


def test_values_of_a_users_layer_are_refused_too(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("methods: {toy_geco: {datasets: {tetrominoes: {model: {width: wide}}}}}")
    with pytest.raises(
        RequestError, match=r"toy_geco: model\.width: expected a whole number >= 1, found 'wide'"
    ):
        create("toy_geco", "tetrominoes", config=path)


@pytest.fixture
def mine(tmp_path):
    """A method of that name, whose class a user's layer names: the layer."""

    def register(target, config):
        path = tmp_path / "mine.yaml"
        path.write_text(
            f"methods: {{mine: {{title: Mine, summary: mine, class: '{target}', config: {config}}}}}"
        )
        return path

    return register


def test_a_users_layer_may_name_a_class(mine):
    layer = mine("objbench.methods.trivial:Grid", "{}")
    assert type(create("mine", "tetrominoes", config=layer)).__name__ == "Grid"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nowhere:Method", "the class of method 'mine' is nowhere:Method: No module named 'nowhere'"),
        (
            "objbench.methods.trivial:Gird",
            "the class of method 'mine' is .*:Gird: module .* has no attribute 'Gird'",
        ),
    ],
)
def test_a_class_that_is_not_there_is_named(mine, target, message):
    with pytest.raises(ObjbenchError, match=message):
        create("mine", "tetrominoes", config=mine(target, "{}"))


def test_a_block_without_a_class_says_what_it_lacks(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("methods: {mine: {title: Mine, summary: mine}}")
    with pytest.raises(
        RequestError, match=r"method 'mine' has a block but no class: say it with methods.mine.class"
    ):
        create("mine", "tetrominoes", config=path)


def test_a_key_that_the_class_does_not_declare_is_refused(mine):
    layer = mine("objbench.methods.trivial:Grid", "{model: {width: 3}}")
    with pytest.raises(RequestError, match=r"mine: unknown key 'model'.* Known: recipe"):
        create("mine", "tetrominoes", config=layer)


def test_what_is_no_method_is_refused(mine):
    layer = mine("objbench.methods.trivial:grid_labels", "{}")
    with pytest.raises(ObjbenchError, match=r"'mine' is a <function grid_labels .*>, expected a subclass of"):
        create("mine", "tetrominoes", config=layer)


@pytest.mark.parametrize(
    ("hook", "function", "message"),
    [
        (
            "segment",
            lambda self, images: None,
            "Toy.segment is called with (images, progress), which it does not take (too many positional arguments): "
            "write segment(self, images, progress)",
        ),
        (
            "after_step",
            lambda self, progress, losses, optimizers, more: None,
            "Toy.after_step is called with (progress, losses, optimizers), which it does not take (missing a required "
            "argument: 'more'): write after_step(self, progress, losses, optimizers)",
        ),
    ],
)
def test_a_hook_takes_what_it_is_called_with(monkeypatch, hook, function, message):
    kind = type("Toy", (ToyGeco,), {hook: function})
    monkeypatch.setattr("objbench_toys.methods.ToyGeco", kind)
    with pytest.raises(ObjbenchError, match=f"^{re.escape(message)}$"):
        create("toy_geco", "tetrominoes")


@pytest.mark.parametrize("value", [0, 2.5, True, "many", None])
def test_the_number_of_slots_is_checked(value):
    with pytest.raises(RequestError, match="slots"):
        create("slot_attention", "tetrominoes", slots=value)


def test_a_method_has_a_least_number_of_slots_of_its_own():
    with pytest.raises(RequestError, match=r"slots: expected at least 2 .*, found 1"):
        create("iodine", "tetrominoes", slots=1)


@pytest.mark.parametrize(
    "name",
    [
        "slot_attention",
        "monet",
        "iodine",
        "genesis",
        "genesis_v2",
        "efficient_morl",
        "slate",
        "comet",
        "color_kmeans",
        "grid",
    ],
)
def test_methods_of_any_number_of_slots_have_a_state_that_does_not_depend_on_it(name):
    few, many = (create(name, "tetrominoes", slots=slots) for slots in (3, 9))
    assert few.any_slots
    many.load_state_dict(few.state_dict())
    assert (few.slots, many.slots) == (3, 9)


def test_objmae_has_a_class_token_for_each_slot():
    few, many = (create("objmae", "tetrominoes", slots=slots) for slots in (3, 9))
    assert not few.any_slots
    with pytest.raises(RuntimeError, match="class_tokens"):
        many.load_state_dict(few.state_dict())


def test_more_slots_than_can_be_scored_are_refused_before_anything_is_built():
    assert create("grid", "tetrominoes", slots=1024).slots == 1024
    with pytest.raises(RequestError, match="slots: expected a whole number >= 1 and <= 1024, found 99999999"):
        create("grid", "tetrominoes", slots=99999999)


def test_refusals_speak_of_keys_and_not_of_the_command_line():
    for overrides in ({"model.width": "x"}, {"model.wdth": 3}, {"slots": 0}, {"recipe.steps": -1}):
        with pytest.raises(RequestError) as refused:
            create("objmae", "tetrominoes", **overrides)
        assert next(iter(overrides)) in str(refused.value)
        assert "--" not in str(refused.value)


BUILT_IN = [name for name in load_spec().methods if not name.startswith("toy_")]


@pytest.mark.parametrize("method", BUILT_IN)
def test_every_method_takes_every_dataset(method):
    for dataset in load_spec().datasets:
        assert create(method, dataset).slots == load_spec().dataset(dataset).spec.slots


VARIANTS_OWN = [
    (f"{name}:{variant}", dataset)
    for name in BUILT_IN
    for variant, block in load_spec().methods[name].variants.items()
    for dataset in block.datasets
]


@pytest.mark.parametrize(("method", "dataset"), VARIANTS_OWN)
def test_a_variant_with_a_block_for_a_dataset_can_be_built_for_it(method, dataset):
    name, _, variant = method.partition(":")
    block = flatten(load_spec().methods[name].variants[variant].datasets[dataset])
    resolved = resolve(load_spec(), method, load_spec().dataset(dataset), {})
    assert block.items() <= flatten(resolved.config).items()
    assert create(method, dataset).image_shape == load_spec().datasets[dataset].image_shape


@pytest.mark.parametrize(
    ("method", "dataset", "small"),
    [
        ("slot_attention", "multi_dsprites_colored", {"model.channels": 4}),
        ("monet", "multi_dsprites_binarized", {"model.attention_channels": [4, 4, 4, 4, 4]}),
        ("gnm", "multi_dsprites_colored", {}),
        ("objmae", "clevr10", {"model.depth": 1}),
    ],
)
def test_borrowed_settings_segment(method, dataset, small):
    built = create(method, dataset, **small).eval()
    found = built.segment(torch.rand(2, *built.image_shape))
    assert found.masks.shape[0] == 2
    assert found.masks.shape[-2:] == built.image_shape[1:]


def test_a_size_that_a_method_cannot_take_is_refused_with_the_reason(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("datasets: {tetrominoes: {height: 50, width: 50}}")
    with pytest.raises(
        RequestError, match=r"^objmae: model\.patch: expected a divisor of the image size 50x50"
    ) as found:
        create("objmae", "tetrominoes", config=path, **{"model.patch": 16})
    assert "found 16" in str(found.value)


def test_an_unknown_key_of_a_plugins_own_block_is_refused(tmp_path):
    layer = tmp_path / "benchmarks.yaml"
    layer.write_text(
        "methods: {mine: {title: M, summary: m, class: 'objbench.methods.trivial:Grid', "
        "config: {recipe: {bacth_size: 16}}}}"
    )
    with pytest.raises(
        RequestError, match="mine: unknown key in recipe 'bacth_size': did you mean 'batch_size'"
    ):
        create("mine", "tetrominoes", config=layer)


@pytest.mark.parametrize("kind", ["meshgrid", "expand"])
def test_a_buffer_that_no_weights_could_be_loaded_into_is_refused(monkeypatch, kind):
    made = ToyGeco.__init__

    def init(self, *arguments):
        made(self, *arguments)
        views = {
            "meshgrid": torch.meshgrid(torch.arange(3), torch.arange(2), indexing="ij")[0],
            "expand": torch.ones(1).expand(5),
        }
        self.register_buffer("view", views[kind])

    monkeypatch.setattr(ToyGeco, "__init__", init)
    with pytest.raises(ObjbenchError, match="ToyGeco: the elements of 'view' share memory"):
        create("toy_geco", "tetrominoes")
