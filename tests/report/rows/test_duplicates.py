from __future__ import annotations

from pathlib import Path

import pytest
from helpers.synthetic import record, scored, scores

from objbench.records import FoundRecord
from objbench.report.rows.duplicates import one_per_seed

ON = {"test": scored(), "tetrominoes@aligned/generated": scored(protocol="aligned")}
FURTHER = {"on": ON, "metrics": dict.fromkeys(ON, scores())}


def found(*records):
    return [FoundRecord(Path(f"{i}/result.json"), item) for i, item in enumerate(records)]


def test_each_seed_counts_once_in_the_order_of_seeds():
    kept, told = one_per_seed(found(record(3), record(1), record(3, date="2024-06-01T00:00:00+00:00")))
    assert [item.record.seed for item in kept] == [1, 3]
    assert told == ["2/result.json: seed 3 of the same configuration as 0/result.json"]


def test_scores_of_a_copy_of_the_run_are_added_and_read_from_its_folder():
    (kept,), (line,) = one_per_seed(found(record(0), record(0, **FURTHER)))
    assert list(kept.record.metrics) == list(kept.record.scored) == list(ON)
    assert [kept.folder_of(key) for key in ON] == [Path("0"), Path("1")]
    assert line.endswith("as 0/result.json, to which its scores of tetrominoes@aligned/generated are added")


@pytest.mark.parametrize(
    "changes", [{"weights_sha256": "other"}, {"metrics": {**FURTHER["metrics"], "test": scores(ari_fg=0.1)}}]
)
def test_scores_of_another_training_are_left_out_and_named(changes):
    again = record(0, weights_sha256="one"), record(0, **{"weights_sha256": "one", **FURTHER, **changes})
    (kept,), (line,) = one_per_seed(found(*again))
    assert kept.record == again[0]
    assert line.endswith("another training; left out with its scores of tetrominoes@aligned/generated")
