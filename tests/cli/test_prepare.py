"""objbench prepare, as a user gives it: what it prints, where, and with which exit code."""

from __future__ import annotations

import gzip
import json
import os
import signal
import time
from pathlib import Path

import pytest
from helpers import stores, toy
from helpers.commands import call_with_toy, refused
from helpers.paths import FIXTURES

from objbench.data.sources.base import SplitPlan
from objbench.stores import Store, write_whole


def test_prepare_prints_the_splits(toy_home: Path) -> None:
    found = call_with_toy("prepare", "toy", "--workers", "1", "--val", "0")
    assert found.exit_code == 0
    lines = [line.split()[:4] for line in found.stdout.splitlines()]
    assert lines == [["train", "23", "scenes", "3"], ["test", "4", "scenes", "1"]]
    assert "data/toy/toy: prepared" in found.stderr
    again = call_with_toy("prepare", "toy", "--val", "0")
    assert (again.exit_code, again.stdout) == (0, found.stdout)
    assert again.stderr == "data/toy/toy: already prepared\n"


def test_prepare_answers_programs(toy_home: Path) -> None:
    found = call_with_toy("prepare", "toy", "--workers", "1", "--json")
    assert json.loads(found.stdout) == json.loads((toy_home / "data/toy/toy/manifest.json").read_text())


def test_a_dry_run_writes_nothing(toy_home: Path) -> None:
    (toy_home / "toy.h5").write_bytes(b"abc")
    found = call_with_toy("prepare", "toy", "--dry-run", "--raw", "toy.h5", "--train", "5", "--data", "there")
    assert found.exit_code == 0
    assert found.stdout.splitlines() == [
        "folder  there/toy/toy",
        "source  toy",
        "file    toy.h5  3 bytes",
        "split   train: 5 scenes, data [0, 5), not the standard split",
        "split   val: 3 scenes, data [0, 3)",
        "split   test: 4 scenes, data [0, 4)",
        "size    at most 0.1 MB",
    ]
    assert not (toy_home / "there").exists()
    answer = json.loads(call_with_toy("prepare", "toy", "--dry-run", "--train", "5", "--json").stdout)
    assert answer["splits"]["train"] == {
        "count": 5,
        "exact": True,
        "file": "data",
        "start": 0,
        "stop": 5,
        "standard": False,
    }


def test_other_settings_in_place_are_refused(prepared_toy: Path) -> None:
    found = call_with_toy("prepare", "toy", "--train", "5")
    assert found.exit_code == 2
    assert "sizes.train is not given there, 5 asked" in found.stderr
    assert call_with_toy("prepare", "toy", "--train", "5", "--force", "--workers", "1").exit_code == 0


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_in_one_line_that_says_how_to_go_on(
    toy_home: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    def stop(self: toy.ToySource, plans: list[SplitPlan], done: dict[str, int]) -> object:
        os.kill(os.getpid(), number)
        time.sleep(9)

    monkeypatch.setattr(toy.ToySource, "read", stop)
    found = call_with_toy("prepare", "toy", "--workers", "1")
    assert (found.exit_code, found.stdout) == (code, "")
    assert found.stderr == (
        f"objbench: interrupted by {number.name}; data/toy/toy: the same command, without --force, continues where it "
        "stopped\n"
    )


def test_a_prepare_that_failed_before_its_first_shard_is_no_obstacle(toy_home: Path) -> None:
    mini = FIXTURES / "tetrominoes_deepmind/tetrominoes_mini.tfrecords"
    prepare = ["prepare", "tetrominoes", "--source", "deepmind", "--raw", str(mini)]
    failed = call_with_toy(*prepare)
    assert failed.exit_code == 1
    assert "holds 10 records" in failed.stderr
    assert call_with_toy(*prepare, "--train", "6", "--val", "2", "--test", "2").exit_code == 0


def test_damaged_scenes_are_left_out_only_when_asked(toy_home: Path) -> None:
    mini = FIXTURES / "tetrominoes_deepmind/tetrominoes_mini.tfrecords"
    content = bytearray(gzip.decompress(mini.read_bytes()))
    content[3 * 25960 + 500] ^= 1
    (toy_home / "damaged.tfrecords").write_bytes(content)
    prepare = ["prepare", "tetrominoes", "--source", "deepmind", "--raw", "damaged.tfrecords"]
    sizes = ["--train", "6", "--val", "2", "--test", "2"]
    failed = call_with_toy(*prepare, *sizes)
    reason = "the record's checksum is wrong: the file is damaged"
    assert failed.exit_code == 1
    assert (
        f"damaged.tfrecords: record 3 (byte 77880 of the unpacked file): {reason}; --skip-bad"
        in failed.stderr
    )
    done = call_with_toy(*prepare, *sizes, "--skip-bad")
    assert done.exit_code == 0, done.stderr
    assert "train  5 scenes" in done.stdout
    assert f"train: left out the damaged scene 3: {reason}" in done.stderr
    assert "the damaged scene 3 was left out" in call_with_toy("verify", "tetrominoes").stderr
    card = json.loads(call_with_toy("info", "tetrominoes", "--json").stdout)
    train = card["protocols"]["standard"]["prepared"]["deepmind"]["train"]
    assert train["skipped"] == {"3": reason}
    assert train["objects"] == {"3": 5}


@pytest.mark.parametrize(
    ("records", "sizes", "split", "count"),
    [
        ([1, 3], (6, 2, 2), "train", "2 of 6"),
        ([6, 7], (6, 2, 2), "test", "2 of 2"),
        ([9], (6, 1, 3), "val", "1 of 1"),
    ],
)
def test_a_split_with_too_many_damaged_scenes_is_refused(
    toy_home: Path, records: list[int], sizes: tuple[int, int, int], split: str, count: str
) -> None:
    mini = FIXTURES / "tetrominoes_deepmind/tetrominoes_mini.tfrecords"
    content = bytearray(gzip.decompress(mini.read_bytes()))
    for record in records:
        content[record * 25960 + 500] ^= 1
    (toy_home / "damaged.tfrecords").write_bytes(content)
    train, val, test = map(str, sizes)
    prepare = ["prepare", "tetrominoes", "--source", "deepmind", "--raw", "damaged.tfrecords"]
    for _ in range(2):  # the same command again continues, and says the same
        failed = call_with_toy(*prepare, "--train", train, "--val", val, "--test", test, "--skip-bad")
        assert failed.exit_code == 1
        reason = "the record's checksum is wrong: the file is damaged"
        assert (
            f"split {split}: {count} scenes are damaged; --skip-bad leaves out one scene or at most 10% of"
            in (" ".join(failed.stderr.split()))
        )
        assert f"The first: scene {records[0]}: {reason}" in " ".join(failed.stderr.split())
        assert not list(toy_home.rglob("manifest.json"))


def test_a_release_in_a_store_is_copied_before_it_is_read(toy_home: Path, memory: Store) -> None:
    write_whole(memory / "toy.bin", "release")
    line = ("prepare", "toy", "--workers", "1", "--raw", f"{memory}/toy.bin")
    result = call_with_toy(*line, "--dry-run")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith(f"copy    {memory}/toy.bin, 0.0 MB")
    assert not (toy_home / "data").exists()
    assert call_with_toy(*line).exit_code == 0
    manifest = json.loads((toy_home / "data/toy/toy/manifest.json").read_text())
    assert [file["name"] for file in manifest["files"]] == ["toy.bin"]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (
            "nope://bucket",
            "nope://bucket/tetrominoes/generated/manifest.json: fsspec knows no protocol 'nope'",
        ),
        ("s3://no-such-bucket/sets", "there is no bucket s3://no-such-bucket; correct its name"),
    ],
)
@pytest.mark.parametrize(
    "line",
    [
        ("prepare", "tetrominoes", "--source", "generated"),
        ("run", "grid", "--source", "generated", "--dataset", "tetrominoes"),
    ],
    ids=["prepare", "run"],
)
def test_a_store_that_cannot_be_used_is_refused_in_one_line(
    s3_server: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    line: tuple[str, ...],
    url: str,
    said: str,
) -> None:
    stores.use(monkeypatch, s3_server)
    message = refused(2, *line, "--data", url)
    assert said in message
    assert message.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_runs_are_not_written_to_a_store(memory: Store) -> None:
    message = refused(2, "run", "grid", "--dataset", "tetrominoes", "--runs", memory)
    assert message.startswith(
        "objbench: --runs memory://sets: runs are written to a folder that can be locked"
    )


def test_a_missing_file_that_all_splits_need_is_not_to_be_left_out(tmp_path):
    raw = tmp_path / "empty"
    raw.mkdir()
    options = ("prepare", "tetrominoes", "--source", "deepmind", "--raw", raw, "--data", tmp_path / "data")
    message = refused(1, *options)
    assert "Download it from" in message
    assert "leave it out" not in message
    nothing = refused(2, *options, "--train", 0, "--val", 0, "--test", 0)
    assert "all splits are of size 0, there is nothing to prepare" in nothing


def test_a_dry_run_is_refused_where_an_unfinished_prepare_has_other_settings(toy_home: Path) -> None:
    assert call_with_toy("prepare", "toy", "--train", 9, "--part", "1/2", "--workers", 1).exit_code == 0
    for line in (("--train", 8), ("--train", 8, "--dry-run")):
        found = call_with_toy("prepare", "toy", *line)
        assert found.exit_code == 2
        assert "data/toy/toy: an unfinished prepare with other settings is here: sizes.train" in found.stderr
    assert call_with_toy("prepare", "toy", "--train", 8, "--dry-run", "--force").exit_code == 0
    assert call_with_toy("prepare", "toy", "--train", 9, "--dry-run").exit_code == 0
    found = call_with_toy("verify", "toy")
    assert (found.exit_code, "toy is not prepared yet: the prepare into" in found.stderr) == (1, True)
    assert call_with_toy("prepare", "toy", "--train", 9, "--workers", 1).exit_code == 0
