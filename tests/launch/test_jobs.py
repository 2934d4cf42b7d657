"""Runs as jobs: what they are given, and what a job that is started again finds."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest
from helpers import plain
from helpers.launched import plan_of, request_of

from objbench.errors import RequestError
from objbench.launch.jobs import Job, Submitted, follow, parse_resources, submit
from objbench.methods.plain_file import read_file
from objbench.train.interrupt import Interrupts
from objbench.train.run_state import leave_reason, run_state


class Started:
    """An engine that keeps the jobs it is given."""

    def __init__(self) -> None:
        self.jobs = []

    def of_block(self, method, block):
        return block

    def check(self, resources):
        assert resources == {}

    def submit(self, groups):
        ((_, self.jobs),) = groups
        return self.jobs


def test_a_job_that_is_started_again_does_not_delete_what_it_has_made(prepared_data, tmp_path):
    engine = Started()
    (run,) = plan_of(prepared_data, tmp_path, seeds=(0,)).runs
    for _ in range(2):
        submit(plan_of(prepared_data, tmp_path, seeds=(0,), fresh=True), {}, {}, engine)
        (job,) = engine.jobs
        before = run_folder_id(run.folder)
        assert job() == "finished"
        assert run_folder_id(run.folder) != before
        made = run_folder_id(run.folder), (run.folder / "result.json").read_bytes()
        assert job() == "finished"
        assert (run_folder_id(run.folder), (run.folder / "result.json").read_bytes()) == made
        assert job.checkpoint().function == job


def run_folder_id(folder):
    return folder.stat().st_ino if folder.exists() else None


def test_nor_where_a_link_names_the_folder(prepared_data, tmp_path):
    engine = Started()
    (run,) = plan_of(prepared_data, tmp_path, seeds=(0,)).runs
    (tmp_path / "elsewhere").mkdir()
    run.folder.parent.mkdir(parents=True)
    run.folder.symlink_to(tmp_path / "elsewhere")
    for earlier in (False, True):
        if not earlier:
            (run.folder / "notes.txt").touch()
        submit(plan_of(prepared_data, tmp_path, seeds=(0,), fresh=True), {}, {}, engine)
        (job,) = engine.jobs
        before = run.folder.joinpath("result.json").stat().st_mtime_ns if earlier else 0
        assert job() == "finished"
        made = (run.folder / "result.json").stat().st_mtime_ns
        assert made > before
        assert not (run.folder / "notes.txt").exists()
        assert job() == "finished"
        assert (run.folder / "result.json").stat().st_mtime_ns == made


class Failed:
    """A job that ended with an error."""

    job_id = "7"

    def __init__(self, error) -> None:
        self.error = error

    def done(self):
        return True

    def exception(self):
        return self.error


def test_a_job_that_failed_before_its_run_began_does_not_tell_an_earlier_failure(prepared_data, tmp_path):
    class Refuses(Started):
        def submit(self, groups):
            super().submit(groups)
            return [Failed(RequestError("another version"))]

    (run,) = plan_of(prepared_data, tmp_path, seeds=(0,)).runs
    run.folder.parent.mkdir(parents=True)
    leave_reason(run.folder, "out of memory")
    jobs = submit(plan_of(prepared_data, tmp_path, seeds=(0,)), {}, {}, Refuses())
    (outcome,) = follow(jobs, Interrupts(), lambda outcome: None)
    assert outcome.failure == "job 7: another version"
    assert run_state(run.folder).reason == "another version"


@pytest.mark.parametrize(
    ("error", "failure"),
    [(AssertionError(), "AssertionError"), (MemoryError("\n"), "MemoryError"), (ValueError("a\nb\n"), "b")],
)
def test_a_job_that_failed_with_any_error_is_told(prepared_data, tmp_path, error, failure):
    (run,) = plan_of(prepared_data, tmp_path, seeds=(0,)).runs
    (outcome,) = follow([Submitted(run, Failed(error))], Interrupts(), lambda outcome: None)
    assert outcome.failure == f"job 7: {failure}"


def test_a_plain_job_deletes_nothing(prepared_data, tmp_path):
    engine = Started()
    submit(plan_of(prepared_data, tmp_path, seeds=(0,)), {}, {}, engine)
    assert engine.jobs[0].deleted is None


def test_another_version_than_that_of_the_submission_does_not_run(prepared_data, tmp_path):
    plan = plan_of(prepared_data, tmp_path, seeds=(0,))
    job = replace(Job(plan.request.elsewhere(), plan.runs[0].task), version="0.1")
    with pytest.raises(RequestError, match=r"submitted by objbench 0\.1, but this machine has objbench "):
        job()
    assert run_state(plan.runs[0].folder).state == "to start"


def test_a_job_runs_the_file_that_was_submitted(prepared_data, tmp_path):
    path = plain.write(tmp_path)
    file = read_file(path)
    request = request_of(prepared_data, tmp_path / "runs", methods=(file.method,), seeds=(0,), files=(file,))
    sent = pickle.dumps(Job(request, request.tasks[0]))
    plain.write(tmp_path, text="raise RuntimeError\n")
    assert pickle.loads(sent)() == "finished"
    (copy,) = (tmp_path / "runs").rglob("method.py")
    assert copy.read_text() == plain.TEXT


def test_resources_are_read_as_yaml():
    assert parse_resources(["mem_gb=1.5", "gres=gpu:1", "exclusive=true"]) == {
        "mem_gb": 1.5,
        "gres": "gpu:1",
        "exclusive": True,
    }
    assert parse_resources(["time=1:30:00"]) == {"time": "1:30:00"}  # to the base of 60 for YAML 1.1
    for text in ("timeout_min", "=3", "timeout_min=", "a=[", "a=2024-13-45", "a=&x [*x]"):
        with pytest.raises(RequestError):
            parse_resources([text])
