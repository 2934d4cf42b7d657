"""`objbench run` started several times, as torchrun does it: one run, one voice, one end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers.ports import free_port
from helpers.ranks import finish, start, variables

from objbench.records import read_record
from objbench.train.artifacts import read_per_image

TINY = {"model.channels": 4, "model.slot_width": 6, "model.mlp_width": 8, "recipe.batch_size": 5}
SHORT = TINY | {"recipe.steps": 6, "recipe.evaluations": 2, "recipe.evaluation_batch_size": 4}
ENDLESS = TINY | {"recipe.steps": 10**6, "recipe.evaluations": 0, "recipe.checkpoint_steps": 20}


def command(
    data: Path, runs: Path, settings: dict[str, int], *further: str, method="slot_attention"
) -> list[str]:
    sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    places = ["--data", str(data), "--runs", str(runs), "--device", "cpu"]
    return [
        sys.executable,
        "-m",
        "objbench",
        "run",
        method,
        "--dataset",
        "tetrominoes",
        *sets,
        *places,
        *further,
    ]


def only(runs: Path, name: str) -> Path:
    (found,) = runs.rglob(name)
    return found


def until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def checkpoint(runs: Path):
    """Wait for a checkpoint."""
    until(lambda: list(runs.rglob("checkpoint.pt")))


def lines(text: str) -> list[str]:
    """What the command said at its end, without progress."""
    return [line for line in text.splitlines() if line.startswith("objbench:")]


def steps_in(text: str) -> int:
    (found,) = re.findall(r"goes on from step (\d+)", text)
    return int(found)


def test_two_processes_are_one_run(prepared_data, tmp_path):
    together, alone = tmp_path / "together", tmp_path / "alone"
    (code, out, _), (other_code, *silence) = finish(
        start(2, command(prepared_data, together, SHORT, "--json", "--log", "tensorboard"))
    )
    assert (code, other_code, silence) == (0, 0, ["", ""])
    (printed,) = json.loads(out)
    assert printed["processes"] == 2
    subprocess.run(command(prepared_data, alone, SHORT), check=True, capture_output=True)
    one, two = (only(runs, "result.json").parent for runs in (alone, together))
    logged = {"tensorboard", "loggers.json"}
    assert {path.name for path in two.iterdir()} == {path.name for path in one.iterdir()} | logged
    assert len(list(two.glob("tensorboard/events*"))) == 1  # of the first process
    assert (two / "config.json").read_bytes() == (one / "config.json").read_bytes()
    records = [read_record(folder) for folder in (one, two)]
    assert [record.processes for record in records] == [None, 2]
    assert records[1].device.startswith("2 x cpu")
    assert records[0].config_hash == records[1].config_hash
    values = [read_per_image(folder, ["test"])["test"] for folder in (one, two)]
    assert list(values[1]["keys"]) == list(values[0]["keys"])
    np.testing.assert_allclose(values[1]["mse"], values[0]["mse"], rtol=1e-4)
    samples = [dict(np.load(folder / "samples.npz")) for folder in (one, two)]
    assert all(samples[0][name].shape == samples[1][name].shape for name in samples[0])


def test_processes_that_disagree_start_nothing(prepared_data, tmp_path):
    commands = [command(prepared_data, tmp_path, SHORT | {"recipe.steps": steps}) for steps in (6, 7)]
    found = finish(start(2, commands[0], {1: commands[1]}))
    assert [code for code, _, _ in found] == [2, 2], found
    (said,) = (line for _, _, errors in found for line in errors.splitlines())
    assert "disagree" in said
    assert "recipe.steps" in said
    assert not list(tmp_path.rglob("seed-*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "further", "message"),
    [
        ({"recipe.steps": "x"}, (), "recipe.steps"),
        ({"recipe.batch_size": 1}, (), "a batch of 1 images cannot be shared by 2 processes"),
        ({}, ("--source", "nowhere"), "nowhere"),
    ],
)
def test_what_is_wrong_for_all_is_said_once(prepared_data, tmp_path, settings, further, message):
    found = finish(start(2, command(prepared_data, tmp_path, SHORT | settings, *further)))
    assert [code for code, _, _ in found] == [2, 2]
    (said,) = (line for _, _, errors in found for line in lines(errors))
    assert message in said


@pytest.mark.slow
def test_what_is_wrong_in_one_process_is_said_once(prepared_data, tmp_path):
    other = command(tmp_path / "no data", tmp_path, SHORT)
    found = finish(start(2, command(prepared_data, tmp_path, SHORT), {1: other}))
    (said,) = (line for _, _, errors in found for line in errors.splitlines())
    assert "no data" in said
    assert all(code in (1, 2) for code, _, _ in found)
    assert not list(tmp_path.rglob("seed-*"))


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1, 2])
def test_a_process_that_dies_ends_the_others(prepared_data, tmp_path, killed):
    processes = start(3, command(prepared_data, tmp_path, ENDLESS))
    checkpoint(tmp_path)
    processes[killed].kill()
    found = finish(processes, timeout=30)
    rest = [result for rank, result in enumerate(found) if rank != killed]
    assert [code for code, _, _ in rest] == [1, 1]
    if killed:  # the notes of these processes are in the first one, unlike those of torchrun
        (said,) = (line for _, _, errors in rest for line in lines(errors))
        assert "another process of this run ended" in said
    assert "Traceback" not in "".join(errors for _, _, errors in rest)


@pytest.mark.slow
@pytest.mark.parametrize("told", [0, 1])
def test_a_signal_to_one_process_stops_all_with_a_checkpoint(prepared_data, tmp_path, told):
    processes = start(2, command(prepared_data, tmp_path, ENDLESS))
    checkpoint(tmp_path)
    processes[told].send_signal(signal.SIGTERM)
    found = finish(processes, timeout=30)
    assert [code for code, _, _ in found] == [143, 143]
    (said,) = (line for _, _, errors in found for line in lines(errors))
    stopped_at = steps_in(said)
    log = [json.loads(line) for line in only(tmp_path, "metrics.jsonl").read_text().splitlines()]
    assert all(line["step"] <= stopped_at for line in log)
    before = only(tmp_path, "checkpoint.pt").stat().st_mtime
    again = start(2, command(prepared_data, tmp_path, ENDLESS))  # goes on there, and stops again
    state = only(tmp_path, ".seed-0.state.json")
    until(lambda: json.loads(state.read_text())["state"] == "at work")
    until(lambda: only(tmp_path, "checkpoint.pt").stat().st_mtime > before)
    for process in again:
        process.send_signal(signal.SIGTERM)
    (later,) = (line for _, _, errors in finish(again, timeout=60) for line in lines(errors))
    assert steps_in(later) > stopped_at


@pytest.mark.slow
def test_resume_with_another_number_of_processes(prepared_data, tmp_path):
    settings = SHORT | {"recipe.steps": 300, "recipe.checkpoint_steps": 5}
    processes = start(2, command(prepared_data, tmp_path, settings))
    checkpoint(tmp_path)
    processes[0].send_signal(signal.SIGTERM)
    finish(processes)
    found = finish(start(3, command(prepared_data, tmp_path, settings)))
    assert [code for code, _, _ in found] == [0, 0, 0]
    record = read_record(only(tmp_path, "result.json"))
    assert record.device.startswith("2 x cpu")
    assert ", then 3 x cpu" in record.device
    assert record.processes == 3
    subprocess.run(command(prepared_data, tmp_path, settings), check=True, capture_output=True)  # is finished


@pytest.mark.slow
def test_a_failed_seed_does_not_stop_the_others(prepared_data, tmp_path):
    subprocess.run(command(prepared_data, tmp_path, SHORT), check=True, capture_output=True)
    folder = only(tmp_path, "result.json").parent
    (folder / "result.json").unlink()
    (folder / "checkpoint.pt").write_bytes(b"damaged")
    found = finish(start(2, command(prepared_data, tmp_path, SHORT, "--seeds", "2")))
    assert [code for code, _, _ in found] == [1, 1]
    (said,) = (line for _, _, errors in found for line in lines(errors))
    assert "1 of 2 runs failed" in said
    assert only(tmp_path, "result.json").parent == folder.with_name("seed-1")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "options"),
    [
        (signal.SIGTERM, []),
        (signal.SIGUSR2, ["--signals-to-handle", "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR2"]),
    ],
)
def test_torchrun_stops_and_goes_on(prepared_data, tmp_path, number, options):
    """The recipe of docs/scale.md: torchrun gets a signal, as from a scheduler; the same line finishes the run."""
    plain = command(prepared_data, tmp_path, SHORT | {"recipe.steps": 300, "recipe.log_steps": 5})
    port = free_port()
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        *options,
        "--nproc-per-node",
        "2",
        "--master-port",
        str(port),
    ]
    environment = {
        k: v for k, v in variables(0, 1, port).items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    }
    started = subprocess.Popen([*launch, *plain[1:]], env=environment, stderr=subprocess.PIPE, text=True)
    until(lambda: list(tmp_path.rglob("metrics.jsonl")) and only(tmp_path, "metrics.jsonl").stat().st_size)
    started.send_signal(number)
    _, errors = started.communicate(timeout=60)
    (said,) = lines(errors)
    assert 0 < steps_in(said) < 300
    assert only(tmp_path, "checkpoint.pt").exists()
    done = subprocess.run([*launch, *plain[1:]], env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert read_record(only(tmp_path, "result.json")).steps == 300


def test_alone_nothing_is_different(monkeypatch):
    from objbench.ranks.group import ALONE, join

    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "1")
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert join() is ALONE
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK")
    assert join() is ALONE
    assert not os.environ.get("TORCHELASTIC_RUN_ID")
