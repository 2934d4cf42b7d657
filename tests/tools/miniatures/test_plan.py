"""The list of the miniature's runs: every preset `demo` where it belongs, with its seeds, and objmae's ablations."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from miniatures.plan import (
    ALIGNED,
    COLORED,
    PARTS,
    SMALL_CLEVR,
    STRIPED,
    Command,
    Run,
    chosen,
)

from objbench.errors import RequestError
from objbench.spec.load import load_spec

SPEC = load_spec()
DEMOS, ABLATIONS = (list(PARTS[name](SPEC)) for name in ("demos", "ablations"))


def seeds_of(method: str, dataset: str) -> list[int]:
    return [r.seed for command in DEMOS for r in command.runs if (r.method, r.dataset) == (method, dataset)]


@pytest.mark.parametrize("name", [n for n, method in SPEC.methods.items() if "demo" in method.variants])
def test_every_demo_is_run_on_the_lattice_and_on_the_dataset_that_its_description_names(name):
    preset = SPEC.methods[name].variants["demo"]
    (made_for,) = re.findall(r"made for ([\w@]+)", preset.description)
    datasets = {command.dataset for command in DEMOS if f"{name}:demo" in command.methods}
    assert datasets == {ALIGNED, SMALL_CLEVR, made_for, *preset.datasets}
    assert seeds_of(f"{name}:demo", made_for) == list(range(5 if name == "objmae" else 3))


def test_objmae_is_run_on_the_small_clevr_in_colours_with_the_settings_that_it_has_for_it():
    assert {m for c in DEMOS if c.dataset == COLORED for m in c.methods} == {
        "objmae:small", "one_slot", "grid", "color_kmeans",
    }  # fmt: skip
    (command,) = (c for c in DEMOS if c.methods == ("objmae:small",))
    assert [run.seed for run in command.runs] == [0, 1, 2, 3, 4]
    config, plain = (
        Run("objmae:small", dataset, 0).resolved(SPEC).config for dataset in (COLORED, "tetrominoes")
    )
    assert (config["schedule"]["mask_ratio"], plain["schedule"]["mask_ratio"]) == (0.75, 0.5)
    assert config["model"]["patch"] == 8


def test_trivial_methods_stand_beside_them_on_each_dataset():
    for dataset in {command.dataset for command in DEMOS}:
        assert [seeds_of(name, dataset) for name in ("one_slot", "grid", "color_kmeans")] == [[0], [0], [0]]


def test_no_run_is_listed_twice():
    runs = [run for command in [*DEMOS, *ABLATIONS] for run in command.runs]
    assert len({run.folder(SPEC) for run in runs}) == len(runs)


def test_ablations_differ_from_the_base_in_what_they_take_away_alone():
    aligned = [command for command in ABLATIONS if command.dataset == ALIGNED]
    _, base, *others = (run.resolved(SPEC).config for c in aligned for run in c.runs if run.seed == 0)
    assert len(others) == 5
    assert base["schedule"]["final_object_entropy"] == 1e-2
    assert base["schedule"]["ramp_end"] == 300
    assert base["recipe"]["nominal_epochs"] == 330
    for other in others:
        assert other != base
        assert {key for key in base if other[key] != base[key]} == {"schedule"}
    assert all([run.seed for run in command.runs][:5] == [0, 1, 2, 3, 4] for command in aligned)


@pytest.mark.parametrize("dataset", [ALIGNED, STRIPED])
def test_the_schedule_of_the_paper_is_compared_with_that_of_stable_over_ten_seeds(dataset):
    (command,) = (c for c in ABLATIONS if c.methods == ("objmae", "objmae:stable") and c.dataset == dataset)
    base, stable = (run.resolved(SPEC).config for run in command.runs if run.seed == 0)
    assert base["schedule"]["warmup_epochs"] == 10
    assert base["schedule"]["token_noise"] == 0
    changed = {"warmup_epochs": 150, "token_noise": 0.1}
    assert stable == {**base, "schedule": base["schedule"] | changed}
    assert len(command.runs) == 20


def test_the_options_of_a_command_make_its_runs():
    command = Command(("objmae",), ALIGNED, 2, ("recipe.steps=3",))
    assert command.runs == [Run("objmae", ALIGNED, seed, ("recipe.steps=3",)) for seed in (0, 1)]
    assert " ".join(command.options) == (
        "objmae --dataset tetrominoes@aligned --source generated --seeds 2 --set recipe.steps=3"
    )
    assert command.runs[1].folder(SPEC).parent.parent == Path("tetrominoes@aligned/generated")


def test_methods_can_be_chosen_by_name_or_preset():
    by_name = chosen(PARTS["demos"](SPEC), ["slot_attention"])
    assert [(c.methods, c.dataset) for c in by_name] == [
        (("slot_attention:demo",), ALIGNED),
        (("slot_attention:demo",), SMALL_CLEVR),
    ]
    by_preset = chosen(PARTS["ablations"](SPEC), ["objmae:no_masking"])
    assert [c.methods for c in by_preset] == [("objmae:no_masking",)]


@pytest.mark.parametrize(
    ("part", "name"),
    [("demos", "slot_atention"), ("demos", "objmae:no_masking"), ("ablations", "monet"), ("demos", "")],
)
def test_a_method_that_the_part_does_not_have_is_refused(part, name):
    with pytest.raises(RequestError, match="method of this part of the miniature"):
        chosen(PARTS[part](SPEC), ["objmae", name])
