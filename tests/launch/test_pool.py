"""Several workers on this machine, with real processes: all runs are done, stopped cleanly or told of."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.commands import call, refused
from helpers.launched import LONG, die_at_once, plan_of, results, working
from helpers.paths import PLUGINS

from objbench.errors import RequestError
from objbench.launch import pool as module
from objbench.launch.log import log_path
from objbench.launch.pool import Pool, devices_of, seats
from objbench.train.interrupt import Interrupts
from objbench.train.lock import holder, sole_owner
from objbench.train.run_state import run_state


@pytest.fixture(autouse=True)
def _data(prepared_data, monkeypatch):
    monkeypatch.setenv("OBJBENCH_DATA", str(prepared_data))


def pooled(*more: str) -> tuple[str, ...]:
    line = ("run", "toy_geco", "--dataset", "tetrominoes", "--seeds", "2", "--device", "cpu")
    return (*line, "--launcher", "local", "--workers", "2", *more)


def test_a_pool_makes_the_runs_of_one_process(tmp_path):
    result = call(*pooled("--runs", tmp_path / "pool", "--log", "tensorboard"))
    assert result.exit_code == 0, result.stderr
    assert sorted(re.findall(r"toy_geco seed (\d) on test", result.stdout)) == ["0", "1"]
    folder = tmp_path / "pool/tetrominoes/generated/toy_geco/seed-0"
    assert str(folder) in result.stdout
    assert "8/8 steps" in log_path(folder).read_text()
    line = ("run", "toy_geco", "--dataset", "tetrominoes", "--seeds", "2", "--runs", tmp_path / "one")
    assert call(*line).exit_code == 0
    assert results(tmp_path / "pool") == results(tmp_path / "one") != {}
    assert len(list((tmp_path / "pool").rglob("seed-?/tensorboard/events*"))) == 2
    again = call(*pooled("--runs", tmp_path / "pool"))
    assert again.exit_code == 0
    assert "toy_geco on tetrominoes, seed 1: finished before; --fresh runs it again" in again.stderr
    assert "toy_geco seed 1 on test" in again.stdout


def start(runs: Path, *more: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": f"{PLUGINS}:{os.environ.get('PYTHONPATH', '')}"}
    command = [sys.executable, "-m", "objbench", *pooled("--runs", str(runs), *more)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_ctrl_c_stops_all_and_the_same_command_goes_on_to_the_same_end(tmp_path):
    runs = tmp_path / "stopped"
    process = start(runs, *LONG)
    folders = working(process, runs)
    process.send_signal(signal.SIGINT)
    message = process.communicate(timeout=120)[1].splitlines()
    assert message[-1] == (
        "objbench: interrupted by SIGINT; the same command goes on with the runs that are left"
    )
    assert "stopping 2 runs at their next step; Ctrl-C again ends them at once" in message
    assert process.returncode == 130
    states = [run_state(folder) for folder in folders]
    assert [state.state for state in states] == ["stopped", "stopped"]
    assert all(state.step and state.resumable for state in states)
    result = call(*pooled("--runs", runs, *LONG))
    assert result.exit_code == 0, result.stderr
    assert (
        call("run", "toy_geco", "--dataset", "tetrominoes", *LONG, "--runs", tmp_path / "whole").exit_code
        == 0
    )
    (whole,) = (path.parent for path in (tmp_path / "whole").rglob("result.json"))
    (gone_on,) = (path.parent for path in runs.rglob("seed-0/result.json"))
    assert results(gone_on) == results(whole) != {}


def test_a_worker_that_dies_takes_only_its_run_with_it(tmp_path):
    runs = tmp_path / "killed"
    process = start(runs, *LONG[2:], "--set", "recipe.steps=400")
    folders = working(process, runs)
    victim = holder(folders[0])
    assert victim is not None
    os.kill(victim.process, signal.SIGKILL)
    output, message = process.communicate(timeout=120)
    assert process.returncode == 1
    reason = "its process was ended by SIGKILL; the system may have ended it for want of memory"
    seed = folders[0].name.removeprefix("seed-")
    assert f"toy_geco on tetrominoes, seed {seed}: {reason}" in message
    assert f"1 of 2 runs failed (toy_geco on tetrominoes, seed {seed})" in message
    assert output.count("on test") == 1
    assert run_state(folders[0]).reason == reason
    assert run_state(folders[1]).state == "finished"


def test_workers_that_die_before_they_begin_take_only_their_runs_with_them(
    prepared_data, tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "_serve", die_at_once)
    pool = Pool(plan_of(prepared_data, tmp_path), seats(1, ["cpu"], 1), Interrupts(), lambda line: None)
    outcomes = pool.run(lambda outcome: None)
    assert [outcome.task.seed for outcome in outcomes] == [0, 1]
    assert [outcome.failure for outcome in outcomes] == ["its process ended with exit code 3"] * 2


def test_workers_end_with_their_pool(tmp_path):
    runs = tmp_path / "orphans"
    process = start(runs, *LONG, "--set", "recipe.steps=100000")
    folders = working(process, runs)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 60
    while any(holder(folder) for folder in folders):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert [run_state(folder).state for folder in folders] == ["stopped", "stopped"]


def test_a_failed_run_does_not_stop_the_others(tmp_path):
    folder = tmp_path / "runs/tetrominoes/generated/toy_geco"
    assert call("run", "toy_geco", "--dataset", "tetrominoes").exit_code == 0
    (folder / "seed-0/result.json").unlink()
    (folder / "seed-0/checkpoint.pt").write_bytes(b"damaged")
    result = call(*pooled())
    assert result.exit_code == 1
    assert "toy_geco on tetrominoes, seed 0: " in result.stderr
    assert "1 of 2 runs failed (toy_geco on tetrominoes, seed 0)" in result.stderr
    assert "toy_geco seed 1 on test" in result.stdout
    assert "checkpoint.pt" in str(run_state(folder / "seed-0").reason)


def test_a_run_that_cannot_be_logged_is_a_failure_of_its_run_alone(tmp_path):
    log = tmp_path / "runs/tetrominoes/generated/toy_geco/.seed-0.log"
    log.mkdir(parents=True)
    result = call(*pooled())
    assert result.exit_code == 1
    assert re.search(rf"toy_geco on tetrominoes, seed 0: .*{log}.*Is a directory", result.stderr)
    assert "exit code" not in result.stderr
    assert "toy_geco seed 1 on test" in result.stdout


def test_seats_share_the_processors(monkeypatch):
    assert [seat.threads for seat in seats(None, ["cpu"], 5)] == [2, 2]
    assert [seat.threads for seat in seats(4, ["cpu"], 2)] == [1, 1, 1, 1]
    assert [seat.device for seat in seats(None, ["cuda:0", "cuda:1"], 1)] == ["cuda:0", "cuda:1"]
    with pytest.raises(RequestError, match="--workers 1: fewer than the 2 devices cuda:0, cuda:1"):
        seats(1, ["cuda:0", "cuda:1"], 8)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert devices_of("auto") == ["cuda:0", "cuda:1"]
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert devices_of("auto") == ["cpu"]
    assert devices_of("cpu,cuda:3") == ["cpu", "cuda:3"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--launcher", "locl"], "unknown launcher 'locl': did you mean 'local'?"),
        (["--workers", "2"], "--workers needs --launcher local"),
        (["--device", "cpu,cpu"], "--device cpu,cpu: several devices need --launcher local"),
        (["--launcher", "local", "--device", "cpu,"], "expected a device on each side of a comma"),
        (["--launcher", "local", "--device", "cpu,cudda"], "unknown device 'cudda'"),
        (["--launcher", "local", "--device", "cpu,cpu", "--workers", "1"], "fewer than the 2 devices"),
        (["--launcher", "local", "--set", "model.widht=2"], "did you mean 'model.width'"),
        (["--launcher", "local", "--part", "0/4"], "--part 0/4: there is no part 0 of 4"),
    ],
)
def test_a_wrong_request_starts_nothing(tmp_path, options, message):
    assert message in refused(2, "run", "toy_geco", "--dataset", "tetrominoes", *options)
    assert not (tmp_path / "runs").exists()


def test_a_run_that_only_seems_to_be_at_work_is_taken_over(tmp_path):
    folder = tmp_path / "runs/tetrominoes/generated/toy_geco/seed-0"
    folder.mkdir(parents=True)
    owner = f"filelock/2\npid=7\nhost={socket.gethostname()}?pidns-f0000152\nmode=lease\ntoken=00ff\nduration=30.0\n"
    left = folder.with_name(".seed-0.owner")
    left.write_text(owner)  # of a container that was killed
    os.utime(left, (time.time() - 40, time.time() - 40))
    assert run_state(folder).state == "at work"
    result = call(*pooled())
    assert result.exit_code == 0, result.stderr
    assert "toy_geco seed 0 on test" in result.stdout


def test_a_damaged_record_is_a_failure_of_its_run_alone(tmp_path):
    assert call("run", "toy_geco", "--dataset", "tetrominoes").exit_code == 0
    record = tmp_path / "runs/tetrominoes/generated/toy_geco/seed-0/result.json"
    record.write_text(record.read_text()[:300])
    result = call(*pooled())
    assert result.exit_code == 1
    assert "toy_geco on tetrominoes, seed 0: " in result.stderr
    assert "result.json: damaged" in result.stderr
    assert "toy_geco seed 1 on test" in result.stdout


def test_a_run_that_is_at_work_is_left_to_it_and_told(tmp_path):
    folder = tmp_path / "runs/tetrominoes/generated/toy_geco/seed-0"
    folder.parent.mkdir(parents=True)
    with sole_owner(folder):
        result = call(*pooled())
    assert result.exit_code == 0, result.stderr
    assert re.search(r"toy_geco on tetrominoes, seed 0: at work on .*; left to it", result.stderr)
    assert "toy_geco seed 1 on test" in result.stdout
    assert "left to it" not in log_path(folder).read_text()
