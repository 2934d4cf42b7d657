"""The recipes of docs/scale.md, executed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys

import pytest
import yaml
from helpers import stores
from helpers.commands import call
from helpers.paths import PLUGINS, ROOT

from objbench.records import read_record
from objbench.stores import Store

PAGE = (ROOT / "docs/scale.md").read_text()


@pytest.fixture(autouse=True)
def _data(prepared_data, monkeypatch):
    monkeypatch.setenv("OBJBENCH_DATA", str(prepared_data))
    monkeypatch.delenv("OBJBENCH_PARTS", raising=False)


def section(title: str) -> str:
    return PAGE.split(f"## {title}\n")[1].split("\n## ")[0]


def block(text: str, name: str = "") -> str:
    found = re.search(rf"^```\w+{' ' * bool(name)}{re.escape(name)}\n(.*?)^```", text, re.M | re.S)
    assert found
    return found[1]


def finished(runs) -> list[str]:
    return sorted(str(path.parent.relative_to(runs)) for path in runs.rglob("result.json"))


def test_the_plan_of_the_page(tmp_path):
    line = block(PAGE)
    result = call(*shlex.split(line)[1:])
    assert result.exit_code == 0, result.stderr
    assert result.stderr == "8 runs: 8 to start\n"


def test_the_pool(tmp_path):
    result = call(*shlex.split(block(section("One machine: a pool")))[1:])
    assert result.exit_code == 0, result.stderr
    assert len(finished(tmp_path / "runs")) == 6


@pytest.mark.slow
def test_torchrun(tmp_path):
    line = shlex.split(block(section("One run on several GPUs: torchrun")))
    assert line[0] == "torchrun"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", *line[1:]]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONFAULTHANDLER": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (folder,) = finished(tmp_path / "runs")
    assert read_record(tmp_path / "runs" / folder).processes == 2


def test_an_array_of_slurm(tmp_path, monkeypatch):
    text = block(section("Any array scheduler: Slurm, PBS, SGE"), "sweep.sbatch")
    script = tmp_path / "sweep.sbatch"
    script.write_text(text)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/objbench").write_text(f'#!/bin/sh\nexec {sys.executable} -m objbench "$@"\n')
    (tmp_path / "bin/objbench").chmod(0o755)
    found = re.search(r"--array=(\d+)-(\d+)", text)
    assert found
    first, last = int(found[1]), int(found[2])
    monkeypatch.setenv("SLURM_ARRAY_TASK_MIN", str(first))
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", str(last - first + 1))
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", str(first))
    environment = os.environ | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    subprocess.run(["sh", str(script)], env=environment, check=True, capture_output=True)
    assert len(finished(tmp_path / "runs")) == 1
    line = shlex.split(text.splitlines()[-1])
    for number in range(first + 1, last + 1):  # the others in this process, which has imported torch
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", str(number))
        assert call(*line[2:]).exit_code == 0
        assert len(finished(tmp_path / "runs")) == number - first + 1


def test_a_dataset_in_parts(tmp_path):
    for line in block(section("Any array scheduler: Slurm, PBS, SGE"), "prepare.sh").splitlines():
        result = call(*shlex.split(line)[1:], "--data", tmp_path)
        assert result.exit_code == 0, result.stderr
    assert call("verify", "tetrominoes@aligned", "--data", tmp_path).exit_code == 0


def test_jobs_of_slurm(tmp_path, monkeypatch):
    """With a stand-in for sbatch."""
    for name in ("sbatch", "srun"):
        (tmp_path / name).write_text("#!/bin/sh\necho Submitted batch job 7\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    result = call(*shlex.split(block(section("Slurm by submitit")))[1:])
    assert result.exit_code == 0, result.stderr
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["7_0", "7_1", "7_2", "7_3"]


@pytest.mark.slow
def test_ray(tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="pip install 'objbench[ray]'")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    result = call(*shlex.split(block(section("Ray")))[1:])
    assert result.exit_code == 0, result.stderr
    assert len(finished(tmp_path / "runs")) == 4


def test_an_indexed_job_of_kubernetes(tmp_path, monkeypatch):
    job = yaml.safe_load(block(section("Kubernetes, AWS Batch"), "sweep.yaml"))["spec"]
    (container,) = job["template"]["spec"]["containers"]
    assert job["completionMode"] == "Indexed"
    assert {one["name"] for one in container["env"]} == {"OBJBENCH_DATA", "OBJBENCH_RUNS"}
    for index in range(job["completions"]):
        monkeypatch.setenv("JOB_COMPLETION_INDEX", str(index))
        result = call(*container["command"][1:], *container["args"])
        assert result.exit_code == 0, result.stderr
    assert len(finished(tmp_path / "runs")) == 4


def test_a_spot_machine_goes_and_the_next_one_goes_on(tmp_path):
    """Killed without a word, then the same command."""
    line = ("run", "toy_geco", "--dataset", "tetrominoes", "--set", "recipe.steps=200")
    settings = (*line, "--set", "recipe.checkpoint_steps=20", "--runs")
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{PLUGINS}"}
    command = [sys.executable, "-m", "objbench", *settings, str(tmp_path / "spot")]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    while not list((tmp_path / "spot").rglob("checkpoint.pt")):
        assert process.poll() is None
    process.kill()
    process.wait()
    for runs in ("spot", "whole"):
        assert call(*settings, tmp_path / runs).exit_code == 0
    (spot,), (whole,) = (list((tmp_path / runs).rglob("model.safetensors")) for runs in ("spot", "whole"))
    assert spot.read_bytes() == whole.read_bytes()


def test_object_stores(tmp_path, s3_server, monkeypatch):
    stores.use(monkeypatch, s3_server)
    stores.make_bucket("bucket")
    work, read = re.findall(r"^```sh\n(.*?)^```", section("Object stores"), re.M | re.S)
    for line in work.splitlines():
        result = call(*shlex.split(line)[1:])
        assert result.exit_code == 0, result.stderr
    (run,) = finished(tmp_path / "runs")
    for path in (tmp_path / "runs").rglob("*"):
        if path.is_file():
            (Store("s3://bucket/runs") / str(path.relative_to(tmp_path / "runs"))).put(path)
    for line in read.splitlines():
        result = call(*shlex.split(line)[1:])
        assert result.exit_code == 0, result.stderr
        assert "grid" in result.stdout.lower()
    assert run in result.stdout
