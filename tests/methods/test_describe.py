"""What a method lets be set, as read from its class and its yaml."""

from __future__ import annotations

import pytest

from objbench.methods.describe import Setting, settings_of
from objbench.spec.load import load_spec

SPEC = load_spec()
BUILT_IN = [name for name in SPEC.methods if not name.startswith("toy_")]


def test_a_setting_tells_its_meaning_range_and_values():
    assert settings_of(SPEC, "monet")["model.encoder_mask"] == Setting(
        meaning="what the VAE's encoder sees of a mask",
        range="log or linear",
        default="log",
        datasets=dict.fromkeys(["tetrominoes", "multi_dsprites", "clevr6", "clevrtex"], "log"),
        variants={"demo": dict.fromkeys(["tetrominoes", "multi_dsprites", "clevr6", "clevrtex"], "linear")},
    )


def test_a_variant_has_its_own_values_and_none_of_other_variants():
    setting = settings_of(SPEC, "iodine:paper")["schedule.learning_rate"]
    assert setting.default == 3e-4
    assert set(setting.datasets.values()) == {3e-4}
    assert setting.variants == {}


def test_a_variant_tells_its_values_on_a_dataset_that_only_it_has_a_block_for():
    setting = settings_of(SPEC, "slot_attention:demo")["model.encoder_strides"]
    assert setting.datasets["clevr_small"] == [4, 1, 1]
    assert setting.datasets["multi_dsprites"] == setting.default == [5, 1, 1]
    assert "clevr_small" not in settings_of(SPEC, "slot_attention")["model.encoder_strides"].datasets


def test_a_variant_that_changes_nothing_on_one_dataset_changes_something_on_another():
    setting = settings_of(SPEC, "iodine")["model.latent"]
    assert setting.datasets == {"tetrominoes": 32, "multi_dsprites": 16, "clevr6": 64, "clevrtex": 128}
    assert set(setting.variants) == {"clevrtex", "demo"}  # `paper` leaves it


def test_own_settings_come_before_the_recipe():
    keys = list(settings_of(SPEC, "color_kmeans"))
    assert keys[:4] == ["slots", "model.initializations", "model.iterations", "recipe.steps"]


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_setting_of_every_method_is_described(name):
    for key, setting in settings_of(SPEC, name).items():
        assert setting.meaning, key
        assert setting.range, key
