from __future__ import annotations

import dataclasses
import os

import pytest
from helpers.own import request

from objbench.data.sources.own.splits import plans, split_by_hash
from objbench.errors import RequestError
from objbench.spec.datasets import DatasetRef

FOUND = {"train": 8, "val": 2, "test": 3}


def test_a_tenth_each_is_val_and_test() -> None:
    splits = [split_by_hash(f"scene-{number}") for number in range(10_000)]
    assert splits.count("val") == pytest.approx(1000, abs=120)
    assert splits.count("test") == pytest.approx(1000, abs=120)
    assert set(splits) == {"train", "val", "test"}


def test_the_assignment_is_the_documented_one() -> None:
    """sha256("000") begins with 2ac9a6746aca543a, 3083178438849877050 as a number, whose last digit is 0; and so on."""
    names = ("000", "002", "004", "009")
    assert [split_by_hash(name) for name in names] == ["val", "train", "test", "test"]


def test_whole_splits_are_standard_and_smaller_ones_are_not() -> None:
    found = plans(request("folder", None, train=5, val=0), FOUND, "by hand")
    assert [(plan.split, plan.file, plan.start, plan.stop, plan.standard) for plan in found] == [
        ("train", "train", 0, 5, False),
        ("test", "test", 0, 3, True),
    ]


def test_bounds_of_the_protocol_are_followed() -> None:
    asked = request("folder", None)
    rules = asked.dataset.rule.sources["folder"]
    cut = {
        "train": rules["train"].model_copy(update={"stop": 5}),
        "val": rules["val"].model_copy(update={"start": 1}),
        "test": rules["test"].model_copy(update={"start": -2}),
    }
    rule = asked.dataset.rule.model_copy(update={"sources": {"folder": cut}})
    protocols = {**asked.dataset.spec.protocols, asked.dataset.protocol: rule}
    spec = asked.dataset.spec.model_copy(update={"protocols": protocols})
    asked = dataclasses.replace(asked, dataset=DatasetRef(asked.dataset.name, asked.dataset.protocol, spec))
    found = plans(asked, FOUND, "by hand")
    assert [(plan.split, plan.start, plan.stop, plan.standard) for plan in found] == [
        ("train", 0, 5, True), ("val", 1, 2, True), ("test", 1, 3, True),
    ]  # fmt: skip
    with pytest.raises(RequestError, match=r"--train 6: mine .folder. has 5 train scenes"):
        plans(dataclasses.replace(asked, sizes={"train": 6}), FOUND, "by hand")


def test_names_that_are_not_utf_8_have_a_split() -> None:
    assert split_by_hash(os.fsdecode(b"a\xff")) in ("train", "val", "test")


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(RequestError, match=r"--test 4: mine .folder. has 3 test scenes .by hand."):
        plans(request("folder", None, test=4), FOUND, "by hand")
    message = r"no scene for val .by hand; found 8 train.; --val 0 leaves that split out"
    with pytest.raises(RequestError, match=message):
        plans(request("folder", None), {"train": 8, "val": 0}, "by hand")
