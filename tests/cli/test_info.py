"""objbench info, as a user gives it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.commands import call, call_with_toy
from helpers.synthetic import record

from objbench.cli.info import _qualifying, _records
from objbench.cli.overview import costs
from objbench.spec.datasets import SplitRule
from objbench.spec.sources import SourceSpec


def test_the_card_of_a_dataset(prepared_toy: Path) -> None:
    text = call_with_toy("info", "toy", "--full").stdout
    for part in (
        "A random number generator",
        "Apache-2.0",
        "https://example.org/toy",
        "These are no scenes at all.",
        "Kabra",
        "in pixels",
    ):
        assert part in text
    card = json.loads(call_with_toy("info", "toy", "--json").stdout)
    assert card["protocols"]["standard"]["prepared"]["toy"]["train"]["scenes"] == 23
    assert card["sources"]["toy"]["factors"] == {"size": "in pixels"}


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("toy", ["prepared    toy", "erratum"]),
        (
            "clevr6",
            ["K = 7 slots", "protocol    first70k", "recipes     ", "prepared    no", "2 more errata"],
        ),
        ("slot_attention", ["235,812 on tetrominoes", "NeurIPS 2020", "no record here says it", ":demo"]),
        ("space", ["group       boxes: each cell of a grid may have a box with an object"]),
        ("one_slot", ["group       trivial: no learning", "datasets    any"]),
        ("ari_fg", ["ARI-FG", "-0.5 to 1, printed in percent", "higher is better", "foreground pixels only"]),
        ("mse", ["0 to no bound", "lower is better"]),
    ],
)
def test_the_answers_to_a_persons_questions_fit_a_screen(
    prepared_toy: Path, name: str, parts: list[str]
) -> None:
    text = call_with_toy("info", name).stdout
    assert all(part in text for part in parts), text
    assert len(text.splitlines()) <= 45
    assert all(len(line) <= 80 for line in text.splitlines())


def test_a_set_of_other_sizes_is_marked(toy_home: Path) -> None:
    assert call_with_toy("prepare", "toy", "--train", "5", "--workers", "1").exit_code == 0
    assert "not the standard sizes: 5 train" in " ".join(call_with_toy("info", "toy").stdout.split())
    assert "prepared: toy (not the standard sizes: 5 train" in call_with_toy("list", "datasets").stdout


def test_the_cost_of_a_method_is_that_of_the_records_at_hand() -> None:
    runs = [
        record(method="m", dataset="d", steps=steps, train_seconds=hours * 3600)
        for steps, hours in ((9, 1), (9, 2), (0, 5))
    ]
    assert costs([*runs, record(method="other")], "m") == [
        "m on d@standard: 1.5 h for 9 steps on NVIDIA H200 (measured, mean of 2)"
    ]


def test_info_explains_the_protocols_of_clevr6(toy_home: Path) -> None:
    protocols = json.loads(call_with_toy("info", "clevr6", "--json").stdout)["protocols"]
    assert list(protocols) == [
        "standard", "paper", "first70k", "at_most_five", "visible_after_crop", "emorl192"
    ]  # fmt: skip
    standard = protocols["standard"]
    assert standard["select"] == {"deepmind": {"max_objects": 6}}
    assert standard["transform"] == {"crop": [64, 29, 256, 221], "image": "bicubic", "mask": "nearest"}
    assert standard["splits"]["deepmind"] == {
        "train": "about 49,360 scenes: all but the last 640 qualifying records among 0 to 99,999 of data",
        "test": "the 320 before the last 320 qualifying records among 0 to 99,999 of data",
        "val": "the last 320 qualifying records among 0 to 99,999 of data",
    }
    assert protocols["first70k"]["splits"]["deepmind"]["test"] == (
        "the first 320 qualifying records among 70,000 to 99,999 of data"
    )
    assert protocols["paper"]["splits"]["emorl"]["val"] == "the last 320 records of train, also in train"
    assert protocols["emorl192"]["size"] == "192x192"
    assert all(protocol["used_by"] for protocol in protocols.values())


def test_only_one_protocol_is_the_default() -> None:
    assert "standard (the default):" in call("info", "tetrominoes").stdout
    striped = call("info", "tetrominoes@striped").stdout
    assert "striped:" in striped
    assert "(the default)" not in striped


@pytest.mark.parametrize(
    ("words", "rule", "said"),
    [
        (_records, {"start": -320, "stop": -160}, "the 160 before the last 160 records of train"),
        (_records, {"start": 5, "stop": 20}, "15 scenes: records 5 to 19 of train"),
        (_records, {"stop": -9}, "all but the last 9 records of train"),
        (_records, {}, "all records of train"),
        (_qualifying, {"stop": 9}, "the first 9 qualifying records among 0 to the last of train"),
        (_qualifying, {"stop": 9, "records": [5, 8]}, "the first 9 qualifying records among 5 to 7 of train"),
    ],
)
def test_splits_of_a_release_of_unknown_length_are_told_by_their_bounds(
    words: Callable[[SplitRule, SourceSpec], str], rule: dict[str, Any], said: str
) -> None:
    source = SourceSpec(title="x", licence="CC0", files={"train": ["a"]})
    assert words(SplitRule(file="train", **rule), source) == said
