from __future__ import annotations

from helpers.synthetic import record, save, scored, scores
from helpers.work import cpu_seconds

from objbench.report.rows.records import find_records


def test_records_are_found_in_the_order_of_their_paths(tmp_path):
    save(tmp_path, record(2), record(0))
    found = find_records(tmp_path)
    assert [item.record.seed for item in found.records] == [2, 0]
    assert found.skipped == []


def test_no_folder_means_no_records(tmp_path):
    assert find_records(tmp_path / "none").records == []


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


def test_the_work_grows_with_the_number_of_records(tmp_path):
    def seconds(count):
        folder = tmp_path / str(count)
        save(folder, *(record(seed) for seed in range(count)))
        return cpu_seconds(lambda: find_records(folder))

    assert seconds(800) < 20 * seconds(
        100
    )  # eight times as many records; quadratic work would take 64 times as long
