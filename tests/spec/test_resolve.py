"""From a method's name and --set to one configuration."""

from __future__ import annotations

import pytest

from objbench.errors import RequestError
from objbench.spec.load import load_spec
from objbench.spec.resolve import MethodConfig, borrowed_settings, parse_assignments, resolve

SPEC = load_spec()
TETROMINOES = SPEC.dataset("tetrominoes")


def test_later_layers_win():
    resolved = resolve(SPEC, "toy_two_stages:wide", TETROMINOES, {"recipe.lr": 0.5})
    assert resolved.config["model"]["width"] == 16  # the variant
    assert resolved.config["recipe"]["lr"] == 0.5  # --set
    assert resolved.config["recipe"]["batch_size"] == 2  # the method
    assert resolved.config["recipe"]["clip_norm"] is None  # every method's recipe


def test_steps_and_epochs_exclude_each_other():
    by_epochs = resolve(SPEC, "toy_geco", TETROMINOES, {"recipe.epochs": 3}).config["recipe"]
    assert (by_epochs["steps"], by_epochs["epochs"]) == (None, 3)
    both = resolve(SPEC, "toy_geco", TETROMINOES, {"recipe.epochs": 3, "recipe.steps": 7})
    assert (both.config["recipe"]["steps"], both.config["recipe"]["epochs"]) == (7, None)
    alone = resolve(SPEC, "toy_geco", TETROMINOES, {"recipe.steps": 7})
    assert (both.overrides, both.hash) == (
        alone.overrides,
        alone.hash,
    )  # what was taken away is told by no report


def test_the_later_set_wins_in_order():
    overrides = parse_assignments(["recipe.steps=7", "recipe.epochs=3", "recipe.steps=9"])
    assert list(overrides.items()) == [("recipe.epochs", 3), ("recipe.steps", 9)]


def test_folder_name_tells_variant_and_overrides():
    assert MethodConfig("objmae", None, {}, {}, "a.module:Class").label == "objmae"
    assert MethodConfig("objmae", "demo", {}, {}, "a.module:Class").label == "objmae-demo"
    one = MethodConfig("objmae", "demo", {"recipe.steps": 3}, {}, "a.module:Class").label
    other = MethodConfig("objmae", "demo", {"recipe.steps": 4}, {}, "a.module:Class").label
    assert one.startswith("objmae-demo+")
    assert len(one) == len("objmae-demo+") + 6
    assert one != other


@pytest.mark.parametrize(
    ("assignment", "value"),
    [("a=1", 1), ("a=1e-3", "1e-3"), ("a=null", None), ("a=[1, 2]", [1, 2]), ("a=x=y", "x=y")],
)
def test_values_are_yaml(assignment, value):
    assert parse_assignments([assignment]) == {"a": value}


def test_scientific_notation_is_a_number():
    assert resolve(SPEC, "toy_geco", TETROMINOES, {"recipe.lr": "1e-3"}).config["recipe"]["lr"] == 0.001


def test_a_number_that_begins_with_0_is_not_to_the_base_of_8():
    overrides = parse_assignments(["recipe.steps=012"])
    assert resolve(SPEC, "toy_geco", TETROMINOES, overrides).config["recipe"]["steps"] == 12


def test_equal_values_make_equal_runs():
    one = resolve(SPEC, "toy_geco", TETROMINOES, {"recipe.lr": "1e-3", "recipe.steps": "1e2"})
    other = resolve(SPEC, "toy_geco", TETROMINOES, {"recipe.lr": 0.001, "recipe.steps": 100})
    assert one == other
    assert one.overrides == {"recipe.lr": 0.001, "recipe.steps": 100}


@pytest.mark.parametrize(
    ("method", "overrides", "message"),
    [
        ("toy_gecko", {}, r"unknown method 'toy_gecko': did you mean 'toy_geco'\?"),
        ("toy_two_stages:wid", {}, r"unknown variant of toy_two_stages 'wid': did you mean 'wide'\?"),
        ("toy_geco", {"recipe.stepz": 1}, r"unknown key 'recipe.stepz': did you mean 'recipe.steps'\?"),
        ("toy_geco", {"model": 1}, "unknown key 'model'"),
        ("toy_geco", {"steps": 1}, r"unknown key 'steps': did you mean 'recipe.steps'\?"),
        (
            "toy_geco",
            {"model.batch_size": 1},
            r"unknown key 'model.batch_size': did you mean 'recipe.batch_size'\?",
        ),
    ],
)
def test_bad_requests_are_refused(method, overrides, message):
    with pytest.raises(RequestError, match=message):
        resolve(SPEC, method, TETROMINOES, overrides)


def test_a_mapping_sets_each_of_its_keys():
    whole = resolve(SPEC, "toy_geco", TETROMINOES, {"recipe": {"steps": 3, "batch_size": 4}})
    dotted = resolve(SPEC, "toy_geco", TETROMINOES, {"recipe.steps": 3, "recipe.batch_size": 4})
    assert (whole, whole.hash) == (dotted, dotted.hash)
    assert parse_assignments(["recipe={steps: 3}"]) == {"recipe": {"steps": 3}}


def test_epochs_alone_are_the_same_as_epochs_without_steps():
    one = resolve(SPEC, "toy_geco", TETROMINOES, {"recipe.epochs": 2})
    other = resolve(SPEC, "toy_geco", TETROMINOES, {"recipe.steps": None, "recipe.epochs": 2})
    assert (one.overrides, one.hash) == (other.overrides, other.hash)


def test_the_later_length_counts_within_mappings_too():
    assignments = ["recipe={steps: 9}", "recipe.epochs=2", "recipe.steps=11"]
    found = resolve(SPEC, "toy_geco", TETROMINOES, parse_assignments(assignments))
    assert found.overrides == {"recipe.steps": 11}
    assignments = ["recipe.steps=7", "recipe.epochs=2", "recipe={steps: 9}"]
    found = resolve(SPEC, "toy_geco", TETROMINOES, parse_assignments(assignments))
    assert found.overrides == {"recipe.steps": 9}


def test_an_empty_mapping_within_another_is_refused():
    with pytest.raises(RequestError, match=r"recipe.clip_norm: an empty mapping sets nothing"):
        resolve(SPEC, "toy_geco", TETROMINOES, {"recipe": {"steps": 7, "clip_norm": {}}})


@pytest.mark.parametrize("key", ["recipe", "recipe.steps"])
def test_an_empty_mapping_is_refused(key):
    with pytest.raises(RequestError, match=f"{key}: an empty mapping sets nothing"):
        resolve(SPEC, "toy_geco", TETROMINOES, {key: {}})


@pytest.mark.parametrize("assignment", ["recipe.steps", "=3", "recipe.steps=[1"])
def test_malformed_assignments_are_refused(assignment):
    with pytest.raises(RequestError, match="--set"):
        parse_assignments([assignment])


@pytest.fixture
def borrowing(tmp_path):
    """A layer with a method of three blocks and sets of 128x128, 64x64 and 48x48 that it has none for."""
    sets = {
        "mine128": (128, "null"),
        "mine64": (64, "null"),
        "mine48": (48, "null"),
        "alike": (48, "clevrtex"),
    }
    path = tmp_path / "mine.yaml"
    path.write_text(
        "methods: {mine: {title: Mine, summary: mine, class: 'a:B', config: {width: 1}, "
        "datasets: {clevrtex: {width: 4}, clevr6: {width: 3}, multi_dsprites: {width: 2}}, "
        "variants: {v: {description: v, datasets: {multi_dsprites: {width: 20}, alike: {width: 5}}}}}}\ndatasets:\n"
        + "".join(
            f"  {name}: {{title: S, description: s, slots: 3, height: {size}, width: {size}, scenes_per_shard: 9, "
            f"citation: [], default_source: d, sources: {{d: {{title: d, licence: d}}}}, settings_like: {like}, "
            "protocols: {standard: {description: s, sources: {d: {test: {}}}}}}\n"
            for name, (size, like) in sets.items()
        )
    )
    return load_spec(path)


@pytest.mark.parametrize(
    ("dataset", "method", "width"),
    [
        ("clevr6", "mine", 3),  # its own block
        ("clevrtex_ood", "mine", 4),  # the set that its block names
        ("alike", "mine", 4),
        ("mine128", "mine", 4),  # the method's first block of images of that size
        ("mine64", "mine", 2),
        ("mine64", "mine:v", 20),  # its variant too
        ("alike", "mine:v", 5),  # a variant's own block for the dataset comes first
        ("mine48", "mine", 1),  # no block fits
        ("mine48", "mine:v", 1),
    ],
)
def test_a_method_without_a_block_for_the_dataset_takes_settings_that_fit(borrowing, dataset, method, width):
    assert resolve(borrowing, method, borrowing.dataset(dataset), {}).config["width"] == width


def test_whose_settings_are_taken_is_said(borrowing):
    def note(dataset):
        return borrowed_settings(borrowing, "mine:v", borrowing.dataset(dataset))

    assert note("multi_dsprites") is None
    assert note("mine64") == (
        "mine has no published recipe for mine64: its settings are those of multi_dsprites; "
        "a block methods.mine.datasets.mine64 (--config) or --set changes them"
    )
    assert "its settings are its defaults" in note("mine48")
    assert note("alike") is None  # the variant has settings of its own
    assert "those of clevrtex" in borrowed_settings(borrowing, "mine", borrowing.dataset("alike"))
    assert borrowed_settings(borrowing, "grid", borrowing.dataset("mine64")) is None  # needs none


def test_the_number_of_slots_is_in_configuration_hash_and_folder():
    own, more = (resolve(SPEC, "toy_geco", TETROMINOES, extra) for extra in ({}, {"slots": "11"}))
    assert (own.config["slots"], more.config["slots"]) == (4, 11)
    assert own.hash != more.hash
    assert (own.label, more.overrides) == ("toy_geco", {"slots": 11})
    assert more.label != own.label


def test_slots_that_a_layer_gives_the_dataset_change_the_hash(tmp_path):
    layer = tmp_path / "slots.yaml"
    layer.write_text("datasets: {tetrominoes: {slots: 8}}\n")
    spec = load_spec(layer)
    changed = resolve(spec, "toy_geco", spec.dataset("tetrominoes"), {})
    assert changed.config["slots"] == 8
    assert changed.hash != resolve(SPEC, "toy_geco", TETROMINOES, {}).hash


def test_another_class_of_a_method_changes_the_hash(tmp_path):
    layer = tmp_path / "class.yaml"
    layer.write_text("methods: {toy_geco: {class: 'objbench_toys.methods:ToyRefiner'}}\n")
    changed = resolve(load_spec(layer), "toy_geco", TETROMINOES, {})
    plain = resolve(SPEC, "toy_geco", TETROMINOES, {})
    assert changed.config == plain.config
    assert changed.hash != plain.hash
