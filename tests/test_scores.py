"""The keys of scores in records."""

from __future__ import annotations

import math

import pytest

from objbench.scores import ScoreKey, mean_and_std


@pytest.mark.parametrize(
    ("text", "key", "reading", "samples"),
    [
        ("test", ScoreKey("test"), "test", "test"),
        ("test#emorl", ScoreKey("test", definition="emorl"), "test", "test"),
        (
            "clevrtex@paper/official:val+slots=7+masks=composited#emorl",
            ScoreKey("clevrtex@paper/official:val", 7, "composited", "emorl"),
            "clevrtex@paper/official:val+slots=7+masks=composited",
            "clevrtex@paper/official:val+slots=7",
        ),
        ("test+masks=a+slots=2", ScoreKey("test", masks="a+slots=2"), "test+masks=a+slots=2", "test"),
        ("test+slots=many", ScoreKey("test+slots=many"), "test+slots=many", "test+slots=many"),
    ],
)
def test_a_key_is_read_and_written(text, key, reading, samples):
    assert ScoreKey.parse(text) == key
    assert (key.text, key.reading, key.samples) == (text, reading, samples)


@pytest.mark.parametrize(
    ("values", "mean"),
    [
        ([math.inf, -math.inf], math.nan),
        ([math.inf, 1.0], math.inf),
        ([math.nan, 1.0], math.nan),
        ([1e200, -1e200], 0.0),
    ],
)
def test_there_is_no_deviation_that_is_no_number(values, mean):
    assert mean_and_std(values) == (pytest.approx(mean, nan_ok=True), None)
