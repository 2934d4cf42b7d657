"""Runs as jobs, with submitit's own executors: in this process, and in processes that are stopped and queued again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time

import pytest
import submitit
from helpers.commands import call, refused
from helpers.launched import plan_of
from helpers.loggers import from_tensorboard
from helpers.paths import PLUGINS, ROOT
from helpers.toy_runs import run

from objbench.errors import RequestError
from objbench.launch import jobs as module
from objbench.launch.jobs import follow, submit
from objbench.launch.log import log_path
from objbench.launch.slurm import Slurm
from objbench.train.interrupt import Interrupts
from objbench.train.lock import holder


@pytest.fixture
def in_jobs(monkeypatch, prepared_data):
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{PLUGINS}")
    monkeypatch.setenv("OBJBENCH_DATA", str(prepared_data))
    monkeypatch.setattr(module, "_POLL_SECONDS", 0.1)


def test_a_job_that_gets_the_signal_is_queued_again_and_goes_on_to_the_same_end(
    tmp_path, prepared_data, in_jobs
):
    settings = {"recipe.steps": 600, "recipe.log_steps": 5, "recipe.evaluations": 0}
    assignments = tuple(f"{key}={value}" for key, value in settings.items())
    options = {"assignments": assignments, "log": ("tensorboard",)}
    plan = plan_of(prepared_data, tmp_path / "jobs", seeds=(0,), **options)
    folder = plan.runs[0].folder

    def make(resources):
        executor = submitit.LocalExecutor(tmp_path / "logs")
        executor.update_parameters(timeout_min=5)
        return executor

    ((_, job, _),) = jobs = submit(plan, {}, {}, Slurm(make))
    while not (folder / "metrics.jsonl").is_file() or not (folder / "metrics.jsonl").stat().st_size:
        assert not job.done(), job.stderr()
        time.sleep(0.02)
    owner = holder(folder)
    assert owner is not None
    os.kill(owner.process, signal.SIGUSR2)
    (outcome,) = follow(jobs, Interrupts(), lambda outcome: None)
    assert outcome.failure is None
    assert "Requeued job" in job.stdout()
    assert "600/600 steps" in log_path(folder).read_text()
    whole, _ = run(prepared_data, tmp_path / "whole", **settings)
    for name in ("model.safetensors", "metrics.jsonl"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()
    totals = [step for step, name in from_tensorboard(folder).values if name == "losses/total"]
    assert totals == list(range(5, 601, 5))


@pytest.mark.filterwarnings(
    "ignore:unclosed file", "ignore::pytest.PytestUnraisableExceptionWarning"
)  # submitit's
def test_jobs_of_one_kind_of_resources_are_one_array(tmp_path, prepared_data):
    asked = []

    def make(resources):
        asked.append(dict(resources))
        return submitit.AutoExecutor(tmp_path / "logs", cluster="debug")

    plan = plan_of(prepared_data, tmp_path, methods=("grid", "one_slot"), seeds=(0, 1))
    blocks = {"grid": {"gpus_per_node": 1, "timeout_min": 10, "num_gpus": 0.5}}  # Ray's num_gpus is left out
    jobs = submit(plan, blocks, {"timeout_min": 20}, Slurm(make))
    assert asked == [{"gpus_per_node": 1, "timeout_min": 20}, {"timeout_min": 20}]
    outcomes = follow(jobs, Interrupts(), lambda outcome: None)
    assert [outcome.record.seed for outcome in outcomes] == [0, 1, 0, 1]
    assert (
        submit(plan_of(prepared_data, tmp_path, methods=("grid",), seeds=(0, 1)), {}, {}, Slurm(make)) == []
    )


def test_a_failed_job_says_why(tmp_path, prepared_data, in_jobs):
    plan = plan_of(prepared_data, tmp_path, seeds=(0,), assignments=("recipe.batch_size=25",))
    jobs = submit(plan, {}, {}, Slurm(lambda resources: submitit.LocalExecutor(tmp_path / "logs")))
    (outcome,) = follow(jobs, Interrupts(), lambda outcome: None)
    assert outcome.failure.startswith("job ")
    assert "a batch of 25 cannot be made of 24 training scenes" in outcome.failure


def sbatch(folder, monkeypatch) -> None:
    """A stand-in for Slurm's command that notes what it is given and calls it job 7."""
    for name in ("sbatch", "srun"):
        (folder / name).write_text(f"#!{sys.executable}\nimport shutil, sys\n"
                                   f"shutil.copy(sys.argv[1], {str(folder / 'submitted.sh')!r})\n"
                                   "print('Submitted batch job 7')\n")  # fmt: skip
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_the_command_prints_the_jobs(tmp_path, in_jobs, monkeypatch):
    (tmp_path / "bin").mkdir()
    sbatch(tmp_path / "bin", monkeypatch)
    line = (
        "run",
        "grid",
        "--dataset",
        "tetrominoes",
        "--seeds",
        "2",
        "--launcher",
        "slurm",
        "--device",
        "cuda",
    )
    resources = (
        "--resources",
        "partition=gpu",
        "--resources",
        "timeout_min=240",
        "--resources",
        "array_parallelism=1",
    )
    result = call(*line, *resources, "--json")
    assert result.exit_code == 0, result.stderr
    rows = json.loads(result.stdout)
    assert [(row["job"], row["seed"]) for row in rows] == [("7_0", 0), ("7_1", 1)]
    text = (tmp_path / "bin/submitted.sh").read_text()
    for option in ("--array=0-1%1", "--partition=gpu", "--time=240", "--signal=USR2@90"):
        assert f"#SBATCH {option}" in text
    assert str(tmp_path / "runs/.jobs") in text
    assert not (tmp_path / "runs/tetrominoes").exists()
    assert "7_1  grid on tetrominoes, seed 1  " in call(*line, *resources).stdout


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ({"partitoin": "gpu"}, "unknown resource 'partitoin': did you mean 'partition'?"),
        ({"timeout_min": 0}, "--resources timeout_min=0: too small"),
        ({"timeout_min": "long"}, "--resources timeout_min=long: expected a number"),
        ({"timeout_min": 0.5}, "too small"),
        ({"timeout_min": 2.5}, "expected a whole number"),
        ({"gpus_per_node": -1}, "--resources gpus_per_node=-1: too small"),
        ({"nodes": 2}, "--resources nodes=2: a run is one process; expected 1"),
        ({"time": 2.5}, "--resources time=2.5: expected a whole number"),
        ({"signal_delay_s": "long"}, "--resources signal_delay_s=long: expected a number"),
        (
            {"setup": "module load cuda"},
            "--resources setup=module load cuda: expected a list such as [one, two]",
        ),
        ({"teardown": [1]}, "--resources teardown=[1]: expected a list"),
        ({"srun_args": "--overlap"}, "--resources srun_args=--overlap: expected a list"),
        ({"additional_parameters": "x"}, "--resources additional_parameters=x: expected a mapping"),
        ({"stderr_to_stdout": 3}, "--resources stderr_to_stdout=3: expected true or false"),
        ({"exclusive": False}, "--resources exclusive=False: expected true or a word"),
        ({"name": 7}, "--resources name=7: expected a word"),
        ({"partition": ["a", "b"]}, "--resources partition=['a', 'b']: expected a word or a number"),
        ({"gres": None}, "--resources gres=None: expected a word or a number"),
    ],
)
def test_impossible_resources_are_refused(resources, message):
    with pytest.raises(RequestError) as error:
        Slurm(lambda resources: None).check(resources)
    assert message in str(error.value)


def test_resources_reach_the_scheduler_as_they_were_written(tmp_path, in_jobs, monkeypatch):
    (tmp_path / "bin").mkdir()
    sbatch(tmp_path / "bin", monkeypatch)
    given = {
        "name=mine": "#SBATCH --job-name=mine\n",
        "account=0123": "#SBATCH --account=0123\n",
        "qos=no": "#SBATCH --qos=no\n",
        "mem=16": "#SBATCH --mem=16\n",
        "exclusive=true": "#SBATCH --exclusive\n",
        "setup=[module load cuda, export A=1]": "\nmodule load cuda\nexport A=1\n",
        "srun_args=[--overlap]": " --overlap ",
    }
    options = [part for text in given for part in ("--resources", text)]
    result = call(
        "run", "grid", "--dataset", "tetrominoes", "--launcher", "slurm", "--device", "cuda", *options
    )
    assert result.exit_code == 0, result.stderr
    text = (tmp_path / "bin/submitted.sh").read_text()
    assert [line for line in given.values() if line not in text] == []


def test_resources_that_submitit_refuses_submit_nothing(tmp_path, prepared_data):
    def make(resources):
        if "comment" in resources:
            raise ValueError("no comment")
        return submitit.AutoExecutor(tmp_path / "logs", cluster="debug")

    plan = plan_of(prepared_data, tmp_path, methods=("grid", "one_slot"), seeds=(0,))
    with pytest.raises(RequestError, match=r"^--resources comment=x: submitit refuses them \(no comment\)$"):
        submit(plan, {"one_slot": {"comment": "x"}}, {}, Slurm(make))
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--launcher", "slurm"], "--launcher slurm: this machine has no Slurm (no command sbatch)"),
        (["--resources", "partition=gpu"], "--resources and --wait need --launcher slurm or ray"),
        (["--launcher", "local", "--wait"], "--resources and --wait need --launcher slurm or ray"),
        (["--launcher", "slurm", "--resources", "nodes"], "expected KEY=VALUE"),
        (["--launcher", "slurm", "--set", "model.rows=0"], "unknown key"),
    ],
)
def test_a_wrong_request_submits_nothing(tmp_path, in_jobs, options, message):
    assert shutil.which("sbatch") is None
    assert message in refused(2, "run", "grid", "--dataset", "tetrominoes", *options)
    assert not (tmp_path / "runs").exists()


def test_a_missing_extra_is_named(tmp_path, in_jobs, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    message = refused(2, "run", "grid", "--dataset", "tetrominoes", "--launcher", "slurm")
    assert "--launcher slurm needs the package submitit: pip install 'objbench[slurm]'" in message


def test_a_damaged_record_is_told_although_nothing_is_submitted(tmp_path, in_jobs, monkeypatch):
    (tmp_path / "bin").mkdir()
    sbatch(tmp_path / "bin", monkeypatch)
    assert call("run", "grid", "--dataset", "tetrominoes").exit_code == 0
    record = tmp_path / "runs/tetrominoes/generated/grid/seed-0/result.json"
    record.write_text(record.read_text()[:200])
    result = call(
        "run", "grid", "--dataset", "tetrominoes", "--seeds", "2", "--launcher", "slurm", "--device", "cuda"
    )
    assert result.exit_code == 1
    assert "7  grid on tetrominoes, seed 1" in result.stdout
    assert "grid on tetrominoes, seed 0: " in result.stderr
    assert "result.json: damaged" in result.stderr
