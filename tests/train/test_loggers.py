"""`--log`: what loggers get of a run, once each, whatever happens to the run; and that none can harm it."""

from __future__ import annotations

import json

import pytest
from helpers.toy_runs import run
from objbench_toys.methods import ToyGeco

from objbench.train.log import read_log
from objbench.train.logger_kinds import LOGGERS, Logger
from objbench.train.loggers import Loggers

SETTINGS = {"recipe.log_steps": 2, "recipe.checkpoint_steps": 4, "recipe.evaluations": 2}


class Recorder(Logger):
    """A logger that remembers all it is told, of all runs."""

    def __init__(self, about):
        self.about.append(about)

    def write(self, step, values, pictures):
        self.told.append((step, dict(values), dict(pictures)))

    def close(self, finished):
        self.closed.append(finished)


class Broken(Recorder):
    """Fails in one way."""

    def __init__(self, about):
        self.fail("init")

    def write(self, step, values, pictures):
        self.fail("write")

    def close(self, finished):
        self.fail("close")

    def fail(self, where):
        self.called.append(where)
        if where == self.at:
            raise ConnectionError("no server\nat all")


@pytest.fixture
def recorder(monkeypatch):
    for name in ("about", "told", "closed"):
        monkeypatch.setattr(Recorder, name, [], raising=False)
    monkeypatch.setattr(Recorder, "late", False)
    monkeypatch.setitem(LOGGERS, "recorder", Recorder)
    return Recorder


def steps(told):
    return [step for step, _, _ in told]


def lines_of(folder):
    """(step, kind, values) of each line of the log."""
    return [(line["step"], *list(line.items())[-1]) for line in read_log(folder)]


def test_a_logger_gets_each_line_the_test_scores_pictures_and_what_the_run_is(
    prepared_data, tmp_path, recorder
):
    folder, record = run(prepared_data, tmp_path, log=["recorder"], **SETTINGS)
    (about,) = recorder.about
    assert about.name == f"{folder.parent.name} tetrominoes generated seed-0"
    assert about.group == about.name.removesuffix(" seed-0")
    assert about.config == json.loads((folder / "config.json").read_text())
    assert about.new
    *lines, (step, scores, pictures) = recorder.told
    assert [(step, values) for step, values, _ in lines] == [
        (step, {f"{kind}/{name}": value for name, value in values.items()})
        for step, kind, values in lines_of(folder)
    ]
    assert steps(lines) == [2, 4, 4, 6, 8, 8]
    assert [list(shown) for _, _, shown in lines] == [[], [], ["val/samples"], [], [], ["val/samples"]]
    assert (step, list(pictures)) == (8, ["test/samples"])
    assert scores["test/ari_fg"] == record.metrics["test"].values["ari_fg"].mean
    assert recorder.closed == [True]


def test_pictures_are_sheets_of_the_validation(prepared_data, tmp_path, recorder):
    run(prepared_data, tmp_path, log=["recorder"], **SETTINGS)
    early, last = (shown["val/samples"] for _, _, shown in recorder.told if "val/samples" in shown)
    assert early.height > 6 * 35  # the val split has six images
    assert early.tobytes() != last.tobytes()


def test_a_method_without_training_gives_its_scores(prepared_data, tmp_path, recorder):
    run(prepared_data, tmp_path, "one_slot", log=["recorder"])
    assert steps(recorder.told) == [0]
    assert "test/ari" in recorder.told[0][1]


def fail_at(monkeypatch, step: int) -> None:
    whole, calls = ToyGeco.training_loss, []

    def training_loss(self, images, progress):
        calls.append(progress)
        if len(calls) == step:
            raise RuntimeError("a cosmic ray")
        return whole(self, images, progress)

    monkeypatch.setattr(ToyGeco, "training_loss", training_loss)


def test_a_run_that_goes_on_sends_only_what_is_missing(prepared_data, tmp_path, recorder, monkeypatch):
    with monkeypatch.context() as patch:
        fail_at(patch, 8)  # the log has steps 2 to 6, the checkpoint step 4
        with pytest.raises(RuntimeError, match="a cosmic ray"):
            run(prepared_data, tmp_path, log=["recorder"], **SETTINGS)
    assert steps(recorder.told) == [2, 4, 4, 6]
    folder, _ = run(prepared_data, tmp_path, log=["recorder"], **SETTINGS)
    assert steps(recorder.told) == [2, 4, 4, 6, 8, 8, 8]
    first, second = recorder.about
    assert (first.new, second.new) == (True, False)
    assert first.id == second.id
    assert recorder.closed == [False, True]
    assert [step for step, _, _ in lines_of(folder)] == [2, 4, 4, 6, 8, 8]


@pytest.mark.parametrize(("late", "again"), [(False, []), (True, [3])])
def test_of_a_killed_process_only_what_a_logger_kept_to_itself_is_sent_again(tmp_path, recorder, late, again):
    recorder.late = late
    lines = [{"step": step, "losses": {"total": 0.5}} for step in (1, 2, 3, 4)]
    for known, new in ((0, 3), (2, 4)):  # the log is cut back to its second line
        loggers = Loggers(["recorder"], tmp_path / "a/b/c/d", {}, print)
        (tmp_path / "a/b/c/d").mkdir(parents=True, exist_ok=True)
        loggers.begin(lines[:known])
        for line in lines[known:new]:
            loggers.write(line["step"], "losses", line["losses"])
    assert steps(recorder.told) == [1, 2, 3, *again, 4]


def test_another_configuration_in_the_same_folder_is_another_run_for_a_logger(tmp_path, recorder):
    folder = tmp_path / "a/b/c/d"
    folder.mkdir(parents=True)
    for seed in (0, 1):
        with Loggers(["recorder"], folder, {"seed": seed}, print) as loggers:
            loggers.begin()
            loggers.write(1, "losses", {"total": 0.5})
    first, second = recorder.about
    assert first.id != second.id
    assert second.new
    assert steps(recorder.told) == [1, 1]


def test_a_logger_that_comes_later_gets_the_whole_log(prepared_data, tmp_path, recorder, monkeypatch):
    with monkeypatch.context() as patch:
        fail_at(patch, 8)
        with pytest.raises(RuntimeError, match="a cosmic ray"):
            run(prepared_data, tmp_path, **SETTINGS)
    run(prepared_data, tmp_path, log=["recorder"], **SETTINGS)
    assert steps(recorder.told) == [2, 4, 4, 6, 8, 8, 8]
    assert recorder.about[0].new


def test_without_loggers_a_damaged_line_of_the_log_stops_no_training(prepared_data, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        fail_at(patch, 8)
        with pytest.raises(RuntimeError, match="a cosmic ray"):
            run(prepared_data, tmp_path, **SETTINGS)
    (path,) = tmp_path.rglob("metrics.jsonl")
    path.write_bytes(b"?" + path.read_bytes()[1:])
    folder, record = run(prepared_data, tmp_path, **SETTINGS)
    assert record.steps == 8
    assert (folder / "metrics.jsonl").read_bytes().startswith(b"?")


def test_a_fresh_run_is_another_one_for_a_logger(prepared_data, tmp_path, recorder):
    run(prepared_data, tmp_path, log=["recorder"], **SETTINGS)
    run(prepared_data, tmp_path, log=["recorder"], fresh=True, **SETTINGS)
    first, second = recorder.about
    assert first.id != second.id
    assert second.new
    assert steps(recorder.told) == [2, 4, 4, 6, 8, 8, 8] * 2


@pytest.mark.parametrize(
    ("where", "calls"),
    [("init", ["init"]), ("write", ["init", "write"]), ("close", ["init", *["write"] * 7, "close"])],
)
def test_a_logger_that_fails_is_told_once_and_changes_nothing(
    prepared_data, tmp_path, monkeypatch, where, calls
):
    alone, _ = run(prepared_data, tmp_path / "alone", **SETTINGS)
    monkeypatch.setattr(Broken, "at", where, raising=False)
    monkeypatch.setattr(Broken, "called", [], raising=False)
    monkeypatch.setitem(LOGGERS, "broken", Broken)
    said: list[str] = []
    folder, _ = run(prepared_data, tmp_path / "logged", log=["broken"], say=said.append, **SETTINGS)
    assert said == [
        "--log broken: no server at all; the run goes on without it, metrics.jsonl has its numbers"
    ]
    assert Broken.called == calls
    for name in ("model.safetensors", "metrics.jsonl"):
        assert (folder / name).read_bytes() == (alone / name).read_bytes()


def test_a_logger_that_failed_gets_the_rest_when_the_run_goes_on(
    prepared_data, tmp_path, recorder, monkeypatch
):
    def away(self, step, values, pictures):
        if step >= 4:
            raise ConnectionError("away")
        self.told.append((step, dict(values), dict(pictures)))

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "write", away)
        fail_at(patch, 8)
        with pytest.raises(RuntimeError, match="a cosmic ray"):
            run(prepared_data, tmp_path, log=["recorder"], say=lambda line: None, **SETTINGS)
    assert steps(recorder.told) == [2]
    run(prepared_data, tmp_path, log=["recorder"], **SETTINGS)
    assert steps(recorder.told) == [2, 4, 4, 6, 8, 8, 8]
