"""The same label maps as each codebase would score them: alike where there are two planes, apart where not."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from objbench.errors import ObjbenchError, RequestError
from objbench.metrics import Evaluator, definitions, score
from objbench.metrics.definitions import TAKEN
from objbench.registry import BUILT_IN
from objbench.scores import Scores

DEFINITIONS = ("clevrtex", "deepmind", "emorl")
NAN = pytest.approx(math.nan, nan_ok=True)


def ari_fg(pred: list[int], true: list[int]) -> dict[str, float]:
    maps = torch.tensor([[pred]]), torch.tensor([[true]])
    return {name: float(score(*maps, definition=name)["ari_fg"]) for name in DEFINITIONS}


@pytest.mark.parametrize(
    ("pred", "true", "expected"),
    [
        pytest.param([0, 0, 1, 1], [0, 0, 1, 1], (1, NAN, 1), id="one object, right"),
        pytest.param([0, 0, 1, 2], [0, 0, 1, 1], (0, 0, 0), id="one object, split"),
        pytest.param([3, 3, 3, 3], [0, 0, 1, 1], (1, 1, 1), id="one object, everything in one plane"),
        pytest.param([3, 3, 3, 3], [0, 0, 2, 2], (1, NAN, 1), id="one object with label 2, one plane"),
        pytest.param([0, 0, 1, 1], [0, 0, 0, 0], (1, NAN, 0), id="no object"),
        pytest.param([0, 0, 0, 0], [0, 0, 0, 0], (1, 1, 0), id="no object, one plane"),
        pytest.param([0, 0, 0, 1], [0, 0, 0, 1], (1, NAN, 1), id="an object of one pixel"),
        pytest.param([0, 0, 1, 2], [0, 0, 1, 2], (1, NAN, 0), id="two objects of one pixel"),
        pytest.param([0, 1, 1, 2, 2], [0, 1, 1, 2, 2], (1, 1, 1), id="two objects, right"),
        pytest.param([0, 1, 1, 1, 1], [0, 1, 1, 2, 2], (0, 0, 0), id="two objects in one plane"),
        pytest.param([1, 1, 2, 2], [4, 4, 4, 4], (0, 0, 0), id="one object that fills the image, split"),
        pytest.param([1, 1, 1, 1], [4, 4, 4, 4], (1, 1, 1), id="one object that fills the image"),
    ],
)
def test_foreground_ari_of_degenerate_images(
    pred: list[int], true: list[int], expected: tuple[float, ...]
) -> None:
    assert tuple(ari_fg(pred, true).values()) == expected


@settings(max_examples=60, deadline=None)
@given(maps=st.tuples(*[st.lists(st.integers(0, 3), min_size=9, max_size=9)] * 2))
def test_all_agree_where_two_clusters_of_two_pixels_are_on_both_sides(
    maps: tuple[list[int], list[int]],
) -> None:
    pred, true = maps
    pred[:4] = [0, 0, 1, 1]
    true[:4] = [1, 1, 2, 2]
    assert len(set(ari_fg(pred, true).values())) == 1


def test_a_definition_has_what_its_evaluator_computes_and_reconstructions_do_not_change_that() -> None:
    labels, images = torch.zeros(1, 2, 2).long(), torch.zeros(1, 3, 2, 2)
    assert set(score(labels, labels, images, images, definition="emorl")) == {"ari", "ari_fg"}


def test_an_evaluator_keeps_to_its_definition() -> None:
    evaluator = Evaluator("deepmind")
    evaluator.update(torch.tensor([[[0, 1, 1]]]), torch.tensor([[[0, 1, 1]]]))
    assert evaluator.compute() == {"n_images": 1, "ari": {"mean": 1.0, "std": None}}


def test_these_are_all_of_them() -> None:
    assert tuple(BUILT_IN["definitions"]) == DEFINITIONS


def test_scores_by_different_definitions_are_not_merged() -> None:
    labels = torch.tensor([[[0, 1, 1]]])
    other = Evaluator("emorl")
    other.update(labels, labels)
    with pytest.raises(ObjbenchError, match="by 'emorl' cannot be merged into those by 'deepmind'"):
        Evaluator("deepmind").merge(other)


@pytest.mark.parametrize("name", TAKEN)
def test_a_metric_cannot_take_a_name_that_records_or_reports_use(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(definitions, "get", lambda kind, of: lambda: {"ari": None, name: None})
    with pytest.raises(
        RequestError, match=f"metric '{name}': records and reports have this name for something else"
    ):
        Evaluator("mine")


def test_all_fields_of_scores_are_taken() -> None:
    assert set(Scores.model_fields) < set(TAKEN)


def test_an_unknown_definition_is_refused() -> None:
    labels = torch.zeros(1, 2, 2).long()
    with pytest.raises(RequestError, match=r"definition 'deepmid'.*deepmind"):
        score(labels, labels, definition="deepmid")
    with pytest.raises(RequestError, match="definition"):
        Evaluator("deepmid")
