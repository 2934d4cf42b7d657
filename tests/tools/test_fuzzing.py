"""tools/fuzz: that it notices planted faults, repeats a trial exactly, and a short part of it against the readers."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from random import Random

import pytest
from fuzzing import command, report
from fuzzing.mutations import damage_bytes, damage_text
from fuzzing.outcome import Outcome, Reading
from fuzzing.runner import random_of
from fuzzing.target import FileTarget, Target
from helpers.fuzzing import results

from objbench.errors import ObjbenchError

SHORT = (  # those that take less than a second a trial
    *("tfrecord", "tfrecord-gz", "manifest-load", "shards-load", "shards-verify", "png"),
    *("predictions-npy", "predictions-folder", "predictions-tar", "predictions-tar-gz"),
    *("segment-again", "segment-images", "segment-record", "segment-weights"),
)
TRIALS = 6
TEXT = b"a sound text of forty letters, say, or so"


def build(folder: Path) -> None:
    (folder / "input.txt").write_bytes(TEXT)


def careful(folder: Path) -> Reading:
    if (folder / "input.txt").read_bytes() != TEXT:
        raise ObjbenchError(f"{folder / 'input.txt'}: damaged; make it again")
    return Reading(TEXT)


def swallowing(folder: Path) -> Reading:
    return Reading((folder / "input.txt").read_bytes())


def raising(folder: Path) -> Reading:
    if (folder / "input.txt").read_bytes() != TEXT:
        raise ValueError("input.txt: not as expected")
    return Reading(TEXT)


def nameless(folder: Path) -> Reading:
    if (folder / "input.txt").read_bytes() != TEXT:
        raise ObjbenchError("the file is damaged")
    return Reading(TEXT)


def warning(folder: Path) -> Reading:
    content = (folder / "input.txt").read_bytes()
    return Reading(content, "" if content == TEXT else "input.txt: left out, it is damaged")


def hanging(folder: Path) -> Reading:
    while (folder / "input.txt").read_bytes() != TEXT:
        time.sleep(0.01)
    return Reading(TEXT)


def dying(folder: Path) -> Reading:
    if (folder / "input.txt").read_bytes() != TEXT:
        os.kill(os.getpid(), signal.SIGKILL)
    return Reading(TEXT)


def target(read, **changes) -> FileTarget:
    values = {"name": "planted", "what": "a text", "victims": ("*.txt",), "limit": 30.0}
    return FileTarget(**(values | {"build": build, "read": read} | changes))


def outcomes(tmp_path: Path, one: Target) -> list[Outcome]:
    return [result.outcome for result in results(tmp_path, one, 5)]


@pytest.mark.parametrize(
    ("read", "outcome", "changes"),
    [
        (careful, Outcome.NAMED, {}),
        (warning, Outcome.FOUND, {}),
        (swallowing, Outcome.SILENT, {}),
        (swallowing, Outcome.UNCHECKED, {"unchecked": ("*.txt",)}),
        (raising, Outcome.UNNAMED, {}),
        (nameless, Outcome.UNNAMED, {}),
        (hanging, Outcome.HANG, {"limit": 0.2}),
        (dying, Outcome.DIED, {}),
    ],
)
def test_what_a_reader_does_with_damage_is_judged(tmp_path, read, outcome, changes):
    assert outcomes(tmp_path, target(read, **changes)) == 5 * [outcome]


def test_a_reader_that_heeds_nothing_else_gives_the_same(tmp_path):
    assert outcomes(tmp_path, target(lambda folder: Reading(len(TEXT)))) == 5 * [Outcome.SAME]


def test_a_target_whose_sound_input_is_refused_is_no_trial(tmp_path):
    with pytest.raises(RuntimeError, match="planted: no sound input: ZeroDivisionError"):
        outcomes(tmp_path, target(lambda folder: Reading(1 / 0)))


def test_a_failure_is_told_with_the_command_that_repeats_it(tmp_path, monkeypatch, capsys):
    planted = {"planted": target(swallowing), "sound": target(careful, name="sound")}
    monkeypatch.setattr(command, "all_targets", lambda: planted)
    path = tmp_path / "found.json"
    assert command.main(["--seed", "7", "--trials", "4", "--json", str(path)]) == 1
    said = capsys.readouterr().out
    assert "tools/fuzz --seed 7 --only planted --trial 3" not in said  # three are told in full
    assert "tools/fuzz --seed 7 --only planted --trial 2" in said
    assert "and 1 more" in said
    found = json.loads(path.read_text())
    first, second = found["targets"]
    assert (first["trials"], first["silent"], len(first["failures"])) == (4, 4, 4)
    assert (second["trials"], second["named"], second["failures"]) == (4, 4, [])
    assert "| planted | a text | 4 | 0 | 0 | 0 | 0 | 4 | 0 | 0 | 0 |" in report.markdown([found])
    assert "| total |  | 8 | 0 | 4 | 0 | 0 | 4 | 0 | 0 | 0 |" in report.markdown([found])

    assert command.main(["--seed", "7", "--only", "planted", "--trial", "2"]) == 1
    assert found["targets"][0]["failures"][2]["detail"] in capsys.readouterr().out


def test_without_failures_the_exit_code_is_0_and_an_unknown_target_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(command, "all_targets", lambda: {"sound": target(careful, name="sound")})
    assert command.main(["--minutes", "0.005", "--jobs", "1"]) == 0
    assert command.main(["--only", "sund"]) == 2
    assert "unknown target 'sund': did you mean 'sound'?" in capsys.readouterr().err


def test_a_name_is_one_target_and_a_prefix_all_of_its_kind(monkeypatch, capsys):
    planted = {name: target(careful, name=name) for name in ("tar", "tar-gz", "npz")}
    monkeypatch.setattr(command, "all_targets", lambda: planted)
    lists = {"tar": ["tar"], "tar,tar-gz,tar": ["tar", "tar-gz"], "npz,tar-gz": ["npz", "tar-gz"]}
    for only, names in lists.items():
        assert command.main(["--list", "--only", only]) == 0
        assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == names
    del planted["tar"]
    assert command.main(["--list", "--only", "tar"]) == 0
    assert capsys.readouterr().out.split()[0] == "tar-gz"


@pytest.mark.parametrize("damage", [damage_bytes, damage_text])
@pytest.mark.parametrize("content", [b"", b"0", TEXT, b'{"a": 1, "b": [2, null]}\n' * 40, bytes(5000)])
def test_damage_changes_every_content_and_is_repeated_by_its_seed(damage, content):
    found = [damage(content, random_of(1, "x", number)) for number in range(200)]
    assert content not in found
    assert found == [damage(content, random_of(1, "x", number)) for number in range(200)]
    assert len(set(found)) > 30 or len(content) < 2
    assert found != [damage(content, random_of(2, "x", number)) for number in range(200)]


@pytest.mark.parametrize("name", SHORT)
def test_no_damage_goes_unnoticed(tmp_path, name):
    """A short part of tools/fuzz. After a failure: the detail, and tools/fuzz --seed 1 --only NAME --trial N."""
    one = command.all_targets()[name]
    one.begin(tmp_path / "fuzz")
    results = [one.trial(random_of(1, name, number)) for number in range(TRIALS)]
    assert [result for result in results if result.failed] == []
    assert any(result.outcome != Outcome.SAME for result in results)


def test_a_yaml_whose_names_are_others_is_read_as_it_is(tmp_path):
    """It has no checksum, so the dataset of that name is not there: no failure of a reader."""
    one = command.all_targets()["yaml-config"]
    one.build(tmp_path)
    sound = one.read(tmp_path).content
    (tmp_path / "config.yaml").write_text((tmp_path / "config.yaml").read_text().replace("mine:", "ming:"))
    listed, card = one.read(tmp_path).content
    assert card is None
    assert "ming" in listed[0]
    assert sound[1] is not None


def test_random_numbers_depend_on_seed_name_and_number():
    draws = {random_of(*key).random() for key in [(1, "a", 1), (2, "a", 1), (1, "b", 1), (1, "a", 2)]}
    assert len(draws) == 4
    assert random_of(1, "a", 1).random() == random_of(1, "a", 1).random()
    assert isinstance(random_of(1, "a", 1), Random)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--trials", "0"], "--trials: expected a whole number of at least 1, found '0'"),
        (["--jobs", "0"], "--jobs: expected a whole number of at least 1, found '0'"),
        (["--minutes", "0"], "--minutes: expected a number above 0, found '0'"),
        (["--minutes", "nan"], "--minutes: expected a number above 0, found 'nan'"),
    ],
)
def test_no_time_and_no_trials_are_refused(capsys, arguments, message):
    with pytest.raises(SystemExit) as stopped:
        command.main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_tables_of_files_that_are_none_are_refused_in_one_line(tmp_path, capsys):
    (tmp_path / "text.json").write_text("{")
    (tmp_path / "other.json").write_text("[1]")
    for name, code, message in (
        ("none.json", 2, "No such file or directory"),
        ("text.json", 1, "not what --json writes"),
        ("other.json", 2, "not what --json writes"),
    ):
        assert command.main(["--markdown", str(tmp_path / name)]) == code
        assert message in capsys.readouterr().err
