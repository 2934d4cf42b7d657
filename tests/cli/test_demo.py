"""objbench demo under signals."""

from __future__ import annotations

import os
import signal
import time

import pytest
from helpers.commands import call

from objbench.data.prepare.preparation import Preparation
from objbench.train import run


def now(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)
    time.sleep(9)


CODES = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]


@pytest.mark.parametrize(("number", "code"), CODES)
def test_a_signal_in_its_preparation_ends_in_one_line(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    monkeypatch.setattr(Preparation, "run", lambda *arguments: now(number))
    found = call("demo", "--quick")
    assert (found.exit_code, found.stdout) == (code, "")
    end = found.stderr.splitlines()[-1]
    assert end == f"objbench: interrupted by {number.name}; the same command continues where it stopped"
    assert "Traceback" not in found.stderr


def test_a_signal_in_its_training_is_that_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def training(job):
        seen.append(job.interrupts)
        job.interrupts.step = 7
        now(signal.SIGTERM)

    monkeypatch.setattr(run, "_run", training)
    monkeypatch.setattr("objbench.cli.demo.QUICK_SIZES", {"train": 4, "val": 2, "test": 2})
    found = call("demo", "--quick")
    assert (found.exit_code, found.stdout, len(seen)) == (143, "", 1)
    end = found.stderr.splitlines()[-1]
    assert end == "objbench: interrupted by SIGTERM; the same command goes on from step 7 of seed 0"
