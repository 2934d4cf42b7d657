"""`--launcher ray`: what is refused without Ray, and whole sweeps on a real local cluster (slow)."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from helpers.commands import call, refused
from helpers.launched import LONG, results, working
from helpers.loggers import from_tensorboard
from helpers.paths import PLUGINS, ROOT
from helpers.ports import free_port

from objbench.errors import RequestError
from objbench.launch.log import log_path
from objbench.launch.ray import RayCluster
from objbench.train.interrupt import Interrupts
from objbench.train.lock import holder
from objbench.train.run_state import run_state

LINE = ("run", "toy_geco", "--dataset", "tetrominoes", "--seeds", "2")
RAY = (*LINE, "--launcher", "ray")


@pytest.fixture(autouse=True)
def _data(prepared_data, monkeypatch):
    monkeypatch.setenv("OBJBENCH_DATA", str(prepared_data))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.fixture
def no_ray(monkeypatch):
    """In the place of Ray: nothing may be started."""
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(shutdown=lambda: None))


def test_a_missing_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "--launcher ray needs the package ray: pip install 'objbench[ray]'" in refused(2, *RAY)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--resources", "num_gpu=1"], "unknown resource 'num_gpu': did you mean 'num_gpus'?"),
        (["--resources", "timeout_min=5"], "unknown resource 'timeout_min'"),
        (["--resources", "num_cpus=-1"], "--resources num_cpus=-1: too small"),
        (["--resources", "num_cpus=two"], "--resources num_cpus=two: expected a number"),
        (["--resources", "num_cpus=true"], "--resources num_cpus=True: expected a number"),
        (["--resources", "num_gpus=1.5"], "--resources num_gpus=1.5: expected a whole number"),
        (["--resources", "max_retries=0.5"], "--resources max_retries=0.5: expected a whole number"),
        (["--resources", "num_cpus"], "expected KEY=VALUE"),
        (["--device", "cuda"], "--device cuda: a run gets a GPU of Ray with --resources num_gpus=1"),
        (["--workers", "2"], "--workers needs --launcher local"),
        (["--set", "model.widht=2"], "did you mean 'model.width'"),
    ],
)
def test_a_wrong_request_starts_nothing(tmp_path, no_ray, options, message):
    assert message in refused(2, *RAY, *options)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:{port}", "no cluster of Ray can be used there ([Errno 111] Connection refused)"),
        ("127.0.0.1:99999", "no cluster of Ray can be used there"),
        ("no-such-host.invalid:6379", "no cluster of Ray can be used there"),
        ("http://127.0.0.1:8265", "expected HOST:PORT of the head"),
        ("ray://127.0.0.1:10001", "expected HOST:PORT of the head"),
        ("somewhere", "expected HOST:PORT of the head"),
    ],
)
def test_an_address_without_a_cluster_is_refused(tmp_path, no_ray, monkeypatch, address, message):
    address = address.format(port=free_port())
    monkeypatch.setenv("RAY_ADDRESS", address)
    text = refused(2, *RAY)
    assert f"RAY_ADDRESS={address}: {message}" in text
    assert len(text.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_a_block_of_resources_is_read_for_slurm_and_ray(no_ray):
    said = []
    cluster = RayCluster("auto", Interrupts(), said.append)
    block = {"gpus_per_node": 1, "cpus_per_task": 4, "mem_gb": 2, "timeout_min": 60, "num_gpus": 0.5}
    resources = cluster.of_block("monet", block)
    assert resources == {"num_gpus": 0.5, "num_cpus": 4, "memory": 2 * 1024**3}
    cluster.check(resources)
    assert said == ["monet: Ray does not use the resources timeout_min of its block"]
    with pytest.raises(RequestError, match="mem"):
        cluster.check(cluster.of_block("monet", {"mem_gb": "much"}))


def test_nothing_is_started_if_all_is_finished(no_ray):
    assert call(*LINE).exit_code == 0
    result = call(*RAY)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.count("on test") == 2


@pytest.fixture
def ray(monkeypatch):
    """A real Ray, whose processes know the plugins of the tests."""
    pytest.importorskip("ray", reason="pip install 'objbench[ray]'")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{PLUGINS}")


def start(runs, *more):
    program = [sys.executable, "-m", "objbench", *RAY, *LONG, *more, "--runs", str(runs)]
    return subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_killed_task_is_tried_again_and_goes_on_to_the_same_end(tmp_path, ray):
    runs, one = tmp_path / "ray", ("--seeds", "1")
    process = start(runs, *one, "--set", "recipe.checkpoint_steps=20", "--log", "tensorboard")
    (folder,) = working(process, runs, 1)
    while not (folder / "checkpoint.pt").exists():
        time.sleep(0.02)
    victim = holder(folder)
    assert victim is not None
    os.kill(victim.process, signal.SIGKILL)
    output, message = process.communicate(timeout=200)
    assert process.returncode == 0, message
    assert "toy_geco seed 0 on test" in output
    (step,) = re.findall(r"seed 0: ([1-9]\d*)/1,000 steps\n", log_path(folder).read_text())
    assert int(step) % 20 == 0
    whole = (*LINE, *LONG, *one, "--set", "recipe.checkpoint_steps=20", "--runs", tmp_path / "whole")
    assert call(*whole).exit_code == 0
    assert results(runs) == results(tmp_path / "whole") != {}
    logged = {(step, name) for step, name in from_tensorboard(folder).values if name == "losses/total"}
    assert logged == {(step, "losses/total") for step in range(5, 1001, 5)}


@pytest.mark.slow
def test_ctrl_c_stops_all_at_a_checkpoint(tmp_path, ray):
    process = start(tmp_path / "runs", "--resources", "num_cpus=0.5")
    folders = working(process, tmp_path / "runs")
    process.send_signal(signal.SIGINT)
    _, message = process.communicate(timeout=120)
    assert process.returncode == 130, message
    assert message.splitlines()[-2:] == [
        "stopping the runs at work at their next step; Ctrl-C again ends them at once",
        "objbench: interrupted by SIGINT; the same command goes on with the runs that are left",
    ]
    assert [run_state(folder).state for folder in folders] == ["stopped", "stopped"]
    assert call(*RAY, *LONG, "--dry-run").stdout.count("go on from step") == 2


@pytest.mark.slow
def test_failed_runs_are_told_and_a_local_cluster_never_has_more_than_the_machine(tmp_path, ray):
    result = call(*RAY, "grid", "--set", "recipe.batch_size=25", "--json")
    assert result.exit_code == 1, result.stderr
    reason = "toy_geco on tetrominoes, seed 1: a batch of 25 cannot be made of 24 training scenes"
    assert reason in result.stderr
    assert "2 of 4 runs failed" in result.stderr
    assert [row["method"] for row in json.loads(result.stdout)] == ["grid", "grid"]
    assert "--resources num_gpus=64: more than this machine has" in refused(
        2, *RAY, "--resources", "num_gpus=64"
    )


@pytest.mark.slow
def test_a_port_where_no_ray_answers_is_refused_within_a_minute(tmp_path, ray, monkeypatch):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{other.getsockname()[1]}")
        assert "no cluster of Ray can be used there" in refused(2, *RAY)
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_cluster_by_its_address(ray):
    import ray as library

    context = library.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    address = context.address_info["address"]
    program = [sys.executable, "-m", "objbench", *RAY, "--json", "--resources", "num_cpus=2"]
    environment = os.environ | {"RAY_ADDRESS": address}
    process = subprocess.Popen(
        program, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        line = process.stderr.readline()
        assert line == "--resources num_cpus=2: no node of the cluster has that now; the runs wait for one\n"
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode == 143
        done = subprocess.run(program[:-2], env=environment, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr
        assert [row["seed"] for row in json.loads(done.stdout)] == [0, 1]
    finally:
        library.shutdown()
