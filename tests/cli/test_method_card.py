"""The card of a method, as `objbench info` prints it."""

from __future__ import annotations

import json

import pytest
from helpers.commands import call

from objbench.spec.load import load_spec


def info(*arguments: str) -> str:
    result = call("info", *arguments, "--full")
    assert result.exit_code == 0, result.stderr
    return result.stdout


def block(text: str, key: str) -> list[str]:
    """The lines about one setting."""
    (found,) = [part.splitlines() for part in text.split("\n\n") if part.startswith(f"{key} ")]
    return found


def test_a_setting_is_one_block_of_the_table():
    assert block(info("monet"), "model.attention_channels") == [
        "model.attention_channels        [32, 32, 64, 64, 64]",
        "  of the U-Net, one per scale, the finest first",
        "  range                         a non-empty list of whole numbers >= 1",
        "  tetrominoes                   [32, 64, 64, 64]",
        "  clevr6, clevrtex              [32, 32, 32, 64, 64, 64]",
        "  :clevrtex on tetrominoes      [64, 128, 256, 512]",
        "  :clevrtex on multi_dsprites   [64, 128, 256, 512, 512]",
        "  :clevrtex on clevr6, clevrtex [64, 128, 256, 512, 512, 512]",
        "  :demo                         [16, 32, 32]",
    ]


def test_a_long_label_goes_on_in_the_next_line():
    assert block(info("iodine"), "schedule.learning_rate")[3:5] == [
        "  tetrominoes, multi_dsprites,  0.0003",
        "    clevrtex",
    ]


def test_the_head_tells_what_the_method_is():
    text = info("objmae")
    assert text.startswith("objmae: objmae\nMasked autoencoder whose class tokens")
    assert "https://arxiv.org/abs/2210.14139" in text
    assert "\ngroup: slots\n" in text
    assert ":no_masking                     Ablation: the encoder always sees all patches" in text


@pytest.mark.parametrize("name", [*load_spec().methods, "iodine:paper"])
def test_a_card_fits_80_columns_and_has_every_setting_once(name):
    text = info(name)
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("\nrecipe.batch_size ") == 1


def test_json_carries_the_same():
    card = json.loads(info("monet", "--json"))
    assert card["settings"]["loss.sigma"] == {
        "meaning": "standard deviation of a pixel in all other slots",
        "range": "a number > 0",
        "default": 0.11,
        "datasets": {"tetrominoes": 0.36, "multi_dsprites": 0.11, "clevr6": 0.11, "clevrtex": 0.15},
        "variants": {
            "clevrtex": dict.fromkeys(["tetrominoes", "multi_dsprites", "clevr6", "clevrtex"], 0.15)
        },
    }
    assert card["variants"].keys() == {"clevrtex", "demo"}


def test_names_of_datasets_are_not_broken():
    text = info("grid")
    words = {word.strip(",") for word in text.split()}
    assert {"objects_room_identical_color", "clevrtex_grassbg", "objects_room_six_objects"} <= words
