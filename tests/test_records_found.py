from __future__ import annotations

import pytest
from helpers.synthetic import external, record, save, scored, scores
from helpers.work import cpu_seconds

from objbench.records import find_records


def test_records_are_found_in_the_order_of_their_paths(tmp_path):
    save(tmp_path, record(2), record(0))
    found = find_records(tmp_path)
    assert [item.record.seed for item in found.records] == [2, 0]
    assert found.skipped == []


def test_no_folder_means_no_records(tmp_path):
    found = find_records(tmp_path / "none")
    assert (found.records, found.skipped) == ([], [])


def test_records_below_linked_folders_are_found_once(tmp_path):
    save(tmp_path / "scratch", record(1))
    save(tmp_path / "runs", record(0))
    (tmp_path / "runs" / "linked").symlink_to(tmp_path / "scratch")
    (tmp_path / "runs" / "again").symlink_to(tmp_path / "runs" / "0000-objmae")
    assert sorted(item.record.seed for item in find_records(tmp_path / "runs").records) == [0, 1]


@pytest.mark.parametrize(
    ("found", "wrong", "told"),
    [
        ('"n_images":320', '"n_images":0', "n_images"),
        ('"std":0.1', '"std":-0.1', "std"),
        ('"std":0.1', '"std":0.1,"n":0', ".n"),
        ('"std":0.1', '"std":0.1,"n":999', "a mean over 999 of 320 images"),
        ('"std":0.1', '"std":0.1,"interval":[0.9,0.1]', "expected low and high, found 0.9 and 0.1"),
        ('"seed":0', '"seed":-4', "seed"),
    ],
)
def test_records_that_contradict_themselves_are_skipped(tmp_path, found, wrong, told):
    save(tmp_path, record())
    (path,) = tmp_path.glob("*/*/result.json")
    path.write_text(path.read_text().replace(found, wrong, 1))
    records, (line,) = find_records(tmp_path).records, find_records(tmp_path).skipped
    assert records == []
    assert told in line


def test_a_thrown_away_record_does_not_stand_in_for_the_new_one(tmp_path):
    save(tmp_path / "runs" / ".seed-0.thrown-away", record(seed=7))
    save(tmp_path / "runs" / "seed-0", record(seed=0))
    found = find_records(tmp_path / "runs")
    assert [item.record.seed for item in found.records] == [0]
    assert found.skipped == []


def test_damaged_and_foreign_files_are_named_and_skipped(tmp_path):
    save(tmp_path, record())
    bad = {
        "truncated": record().model_dump_json()[:100],
        "foreign": '{"accuracy": 0.9}',
        "binary": b"\xff\xfe\x00",
        "newer": record().model_dump_json().replace('"version":1', '"version":99'),
        "empty": "",
    }
    for name, content in bad.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_bytes(
            content if isinstance(content, bytes) else content.encode()
        )
    found = find_records(tmp_path)
    assert len(found.records) == 1
    assert len(found.skipped) == len(bad)
    for name in bad:
        assert any(str(tmp_path / name / "result.json") in line for line in found.skipped)


def test_scores_without_provenance_are_skipped(tmp_path):
    save(tmp_path, record(metrics={"test": scores(), "other": scores()}, on={"test": scored()}))
    found = find_records(tmp_path)
    assert found.records == []
    assert found.skipped[0].endswith("scores and their provenance disagree about other")


def test_a_record_without_scores_is_skipped(tmp_path):
    save(tmp_path, external().model_copy(update={"metrics": {}, "scored": {}}))
    found = find_records(tmp_path)
    assert found.records == []
    assert found.skipped[0].endswith(": no scores in it")


def test_the_work_grows_with_the_number_of_records(tmp_path):
    def seconds(count):
        folder = tmp_path / str(count)
        save(folder, *(record(seed) for seed in range(count)))
        return cpu_seconds(lambda: find_records(folder))

    assert seconds(800) < 20 * seconds(
        100
    )  # eight times as many records; quadratic work would take 64 times as long
