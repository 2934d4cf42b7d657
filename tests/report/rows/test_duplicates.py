from __future__ import annotations

from pathlib import Path

import pytest
from helpers.synthetic import record, scored, scores

from objbench.records import FoundRecord
from objbench.report.rows.duplicates import one_per_seed
from objbench.scores import FactorScore, ProbeScores

ON = {"test": scored(), "tetrominoes@aligned/generated": scored(protocol="aligned")}
FURTHER = {"on": ON, "metrics": dict.fromkeys(ON, scores())}


def probe(score):
    factor = FactorScore(measure="accuracy", score=score, majority=0.2)
    return ProbeScores(
        probe="linear", matching="masks", n_train=10, train_fingerprint="train", n_images=5, n_objects=9,
        missed=0.0, factors={"shape": factor}, means={"accuracy": factor}, scored=scored(),
    )  # fmt: skip


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
    assert kept.record.probes is None


def test_probes_of_a_copy_are_added_and_those_that_are_known_stay():
    one, other = probe(0.5), probe(0.6)
    known = record(0, probes={"test": {"linear": one}})
    copy = record(0, probes={"test": {"linear": other, "mlp": other}, "clevr6": {"linear": other}})
    (kept,), (line,) = one_per_seed(found(known, copy))
    assert kept.record.probes == {"test": {"linear": one, "mlp": other}, "clevr6": {"linear": other}}
    assert line.endswith("as 0/result.json, to which its probes of test, probes of clevr6 are added")
    (kept,), (line,) = one_per_seed(found(copy, known))
    assert kept.record == copy
    assert line.endswith("seed 0 of the same configuration as 0/result.json")


@pytest.mark.parametrize(
    "changes", [{"weights_sha256": "other"}, {"metrics": {**FURTHER["metrics"], "test": scores(ari_fg=0.1)}}]
)
def test_scores_of_another_training_are_left_out_and_named(changes):
    again = record(0, weights_sha256="one"), record(0, **{"weights_sha256": "one", **FURTHER, **changes})
    (kept,), (line,) = one_per_seed(found(*again))
    assert kept.record == again[0]
    assert line.endswith("another training; left out with its scores of tetrominoes@aligned/generated")
