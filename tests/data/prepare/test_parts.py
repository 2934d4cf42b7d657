"""Prepared in parts: the folder of one process, byte for byte, whatever was killed, repeated or done twice."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import clevr
from helpers.commands import call, refused
from helpers.paths import ROOT
from helpers.tfrecords import write

from objbench.data.format.manifest import MANIFEST
from objbench.data.prepare.journal import Journal
from objbench.data.prepare.parts import Shards
from objbench.data.prepare.prepare import PrepareRequest, prepare
from objbench.errors import ObjbenchError
from objbench.locks import exclusive_lock
from objbench.parts import Part
from objbench.progress import silent
from objbench.spec.datasets import DatasetRef

SIZES = ("--train", 25, "--val", 3, "--test", 4)
LAYER = "datasets: {tetrominoes: {scenes_per_shard: 4}}\n"  # 7 + 1 + 1 shards


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    (tmp_path / "layer.yaml").write_text(LAYER)
    return tmp_path / "layer.yaml"


def line(layer: Path, data: Path, *more: object) -> tuple[object, ...]:
    where = ("--source", "generated", "--config", layer, "--data", data, "--workers", 1)
    return ("prepare", "tetrominoes", *SIZES, *where, *more)


def hashes(data: Path) -> dict[str, str]:
    """The sha256 of every file of a prepared folder but its lock, by name."""
    return {
        str(path.relative_to(data)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(data.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def made(*arguments: object) -> str:
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    return result.stderr


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
def test_three_parts_are_one_process(tmp_path, layer, order):
    made(*line(layer, tmp_path / "one"))
    for number in order:
        said = made(*line(layer, tmp_path / "parts", "--part", f"{number}/3"))
        assert (
            f"part {number}/3 is done, 3 shards; when all parts are, the same command without --part" in said
        )
    assert not list((tmp_path / "parts").rglob(MANIFEST))
    made(*line(layer, tmp_path / "parts"))
    assert hashes(tmp_path / "parts") == hashes(tmp_path / "one")
    assert len(hashes(tmp_path / "one")) == 11
    assert "already prepared" in made(*line(layer, tmp_path / "parts", "--part", "2/3"))


def test_the_last_call_makes_what_parts_have_left_out(tmp_path, layer):
    made(*line(layer, tmp_path / "one"))
    for number in (1, 3):
        made(*line(layer, tmp_path / "parts", "--part", f"{number}/3"))
    first, last = (tmp_path / f"parts/tetrominoes/generated/train-00000{number}.tar" for number in (0, 6))
    before = first.stat().st_mtime_ns, last.stat().st_mtime_ns
    made(*line(layer, tmp_path / "parts"))
    assert (first.stat().st_mtime_ns, last.stat().st_mtime_ns) == before
    assert hashes(tmp_path / "parts") == hashes(tmp_path / "one")


def test_a_part_is_made_once_and_again_where_it_was_changed(tmp_path, layer):
    folder = tmp_path / "parts/tetrominoes/generated"
    made(*line(layer, tmp_path / "parts", "--part", "1/3"))
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.tar")}
    made(*line(layer, tmp_path / "parts", "--part", "1/3"))
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("*.tar")} == before
    content = (folder / "train-000001.tar").read_bytes()
    (folder / "train-000001.tar").write_bytes(content[:-1] + b"x")
    made(*line(layer, tmp_path / "parts", "--part", "1/3"))
    assert (folder / "train-000001.tar").read_bytes() == content


def test_work_done_twice_is_harmless(tmp_path, layer):
    made(*line(layer, tmp_path / "one"))
    for part in ("1/2", "2/3", "2/2", "1/1"):
        made(*line(layer, tmp_path / "parts", "--part", part))
    made(*line(layer, tmp_path / "parts"))
    assert hashes(tmp_path / "parts") == hashes(tmp_path / "one")


KILLED = """
import sys, time
from objbench.data.prepare.writer import ShardWriter
add = ShardWriter.add
def slowly(self, scene):
    if len(self.finished) == 1:  # in the middle of the second shard of this part
        print("here", flush=True)
        time.sleep(60)
    add(self, scene)
ShardWriter.add = slowly
sys.argv = ["objbench", *sys.argv[1:]]
from objbench.cli import main
main()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_part_killed_in_the_middle_and_repeated(tmp_path, layer, number):
    made(*line(layer, tmp_path / "one"))
    command = [sys.executable, "-c", KILLED, *map(str, line(layer, tmp_path / "parts", "--part", "2/3"))]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        process.send_signal(number)
        assert process.wait() == (143 if number == signal.SIGTERM else -number)
    folder = tmp_path / "parts/tetrominoes/generated"
    assert [path.name for path in folder.glob("*.tar")] == ["train-000003.tar"]
    for part in ("1/3", "3/3", "2/3"):
        made(*line(layer, tmp_path / "parts", "--part", part))
    made(*line(layer, tmp_path / "parts"))
    assert hashes(tmp_path / "parts") == hashes(tmp_path / "one")


def test_parts_at_the_same_time(tmp_path, layer):
    made(*line(layer, tmp_path / "one"))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "objbench", *map(str, line(layer, tmp_path / "parts", "--part", part))],
            env=environment,
            stderr=subprocess.PIPE,
        )
        for part in ("1/2", "2/2")
    ]
    for process in processes:
        _, message = process.communicate(timeout=200)
        assert process.returncode == 0, message
    made(*line(layer, tmp_path / "parts"))
    assert hashes(tmp_path / "parts") == hashes(tmp_path / "one")


def test_a_part_that_another_process_makes_is_left_to_it(tmp_path, layer):
    made(*line(layer, tmp_path, "--part", "1/3"))
    with exclusive_lock(tmp_path / "tetrominoes/generated/.prepare/part-2-of-3.lock"):
        said = made(*line(layer, tmp_path, "--part", "2/3"))
    assert "another process makes part 2/3" in said
    assert said.endswith("; left to it\n")
    assert not (tmp_path / "tetrominoes/generated/train-000003.tar").exists()


def test_a_part_whose_whole_is_finished_meanwhile_ends_quietly(tmp_path, layer, monkeypatch):
    make = Shards.make

    def finished_meanwhile(self, *arguments):
        monkeypatch.setattr(Shards, "make", make)
        made(*line(layer, tmp_path))
        make(self, *arguments)

    monkeypatch.setattr(Shards, "make", finished_meanwhile)
    assert "the whole was finished meanwhile" in made(*line(layer, tmp_path, "--part", "2/3"))
    assert call("verify", "tetrominoes", "--config", layer, "--data", tmp_path).exit_code == 0


ROWS = [1, 0, 1, 3, 1, 1, 3, 1, 1, 0]  # six records with four objects, two with six after the crop


@pytest.mark.parametrize(
    ("name", "scenes"),
    [("clevr6", 6), ("clevr6@visible_after_crop", 8), ("clevr6@at_most_five", 6), ("clevr10", 0)],
)
def test_a_protocol_that_selects_is_indexed_first(tmp_path, name, scenes):
    dataset = clevr.dataset(name, len(ROWS))
    spec = dataset.spec.model_copy(update={"scenes_per_shard": 2})
    dataset = DatasetRef(dataset.name, dataset.protocol, spec)
    raw = clevr.release(tmp_path / "clevr_with_masks_train.tfrecords", ROWS)
    prepare(dataset, "deepmind", tmp_path / "one", raw=raw, workers=1)
    for number in (2, 1, 3):
        preparation = PrepareRequest(dataset, "deepmind", tmp_path / "parts", raw).plan()
        assert preparation.run_part(Part(number, 3), 1, silent) is not None
        index = Journal(preparation.folder).qualifying("train")
        assert (len(index.indices) if index else 0) == scenes
    prepare(dataset, "deepmind", tmp_path / "parts", raw=raw, workers=1)
    assert hashes(tmp_path / "parts") == hashes(tmp_path / "one")


def test_a_damaged_scene_is_named_before_anything_is_made(tmp_path):
    payload = clevr.payloads()[1]
    raw = write(tmp_path / "clevr_with_masks_train.tfrecords", [payload, payload[:-4000], payload])
    dataset = clevr.dataset("clevr6@visible_after_crop", 3)
    preparation = PrepareRequest(dataset, "deepmind", tmp_path / "data", raw).plan()
    with pytest.raises(ObjbenchError, match=r"record 1.*--skip-bad, in one process without --part"):
        preparation.run_part(Part(1, 2), 1, silent)
    assert not list(preparation.folder.glob("*.tar"))


def test_too_few_scenes_are_refused_by_the_index(tmp_path):
    raw = clevr.release(tmp_path / "clevr_with_masks_train.tfrecords", [0, 1, 0])
    preparation = PrepareRequest(clevr.dataset("clevr6", 3), "deepmind", tmp_path / "data", raw).plan()
    with pytest.raises(ObjbenchError, match=r"only 0 of the remaining ones qualify|is empty"):
        preparation.run_part(Part(1, 2), 1, silent)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--part", "0/4"], "--part 0/4: there is no part 0 of 4"),
        (["--part", "5/4"], "--part 5/4: there is no part 5 of 4"),
        (["--part", "auto"], "--part auto: not within an array of jobs"),
        (["--part", "1/2", "--force"], "--force does not go with --part: it would delete what other parts"),
        (["--part", "1/2", "--skip-bad"], "--skip-bad does not go with --part"),
        (["--part", "1/2", "--dry-run"], "--dry-run does not go with --part"),
    ],
)
def test_wrong_requests_write_nothing(tmp_path, layer, options, message):
    assert message in refused(2, *line(layer, tmp_path / "data", *options))
    assert not (tmp_path / "data").exists()


def test_parts_of_another_prepare_are_refused(tmp_path, layer):
    made(*line(layer, tmp_path, "--part", "1/3"))
    message = refused(2, *line(layer, tmp_path, "--part", "2/3", "--seed", 1))
    assert "an unfinished prepare with other settings is here: " in message
