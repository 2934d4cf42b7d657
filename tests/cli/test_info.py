"""objbench info, as a user gives it."""

from __future__ import annotations

import json
from pathlib import Path

from helpers.commands import call_with_toy


def test_the_card_of_a_dataset(prepared_toy: Path) -> None:
    text = call_with_toy("info", "toy").stdout
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
