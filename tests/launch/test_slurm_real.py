"""A real Slurm on this machine: the launcher's array and the recipe of docs/scale.md, queued again in the middle (slow)."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from helpers import slurm
from helpers.commands import call
from helpers.launched import LONG, results
from helpers.paths import PLUGINS, ROOT

from objbench.launch.log import log_path
from objbench.train.lock import holder
from objbench.train.run_state import run_state

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Iterator[dict[str, str]]:
    with slurm.running(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


@pytest.fixture
def shell(real, prepared_data, tmp_path, monkeypatch) -> dict[str, str]:
    """The environment of a person on a machine of the cluster."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/objbench").write_text(f'#!/bin/sh\nexec {sys.executable} -m objbench "$@"\n')
    (tmp_path / "bin/objbench").chmod(0o755)
    monkeypatch.setenv("OBJBENCH_DATA", str(prepared_data))
    ours = {"PYTHONPATH": f"{ROOT}:{PLUGINS}", "OBJBENCH_DATA": str(prepared_data)}
    places = {"OBJBENCH_RUNS": str(tmp_path / "runs"), "PATH": f"{tmp_path / 'bin'}:{real['PATH']}"}
    return real | ours | places | {"OMP_NUM_THREADS": "1"}


def done(shell: dict[str, str], *command: str) -> str:
    result = subprocess.run(command, env=shell, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def until(condition: Callable[[], object], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def at_work(folder) -> bool:
    log = folder / "metrics.jsonl"
    return log.is_file() and log.stat().st_size > 0 and holder(folder) is not None


def refuse_other_ends(tmp_path) -> None:
    """The runs are, byte for byte, those of one process that nobody disturbed."""
    line = ("run", "toy_geco", "--dataset", "tetrominoes", "--seeds", "2", *LONG)
    assert call(*line, "--runs", tmp_path / "whole").exit_code == 0
    assert results(tmp_path / "runs") == results(tmp_path / "whole") != {}


def test_the_launcher_submits_an_array_and_a_job_out_of_time_goes_on(shell, tmp_path):
    line = ["objbench", "run", "toy_geco", "--dataset", "tetrominoes", "--seeds", "2", *LONG]
    slurms = ["--launcher", "slurm", "--resources", "timeout_min=20", "--resources", "array_parallelism=2"]
    first, second = json.loads(done(shell, *line, *slurms, "--json"))
    assert re.fullmatch(r"\d+_0", first["job"])
    assert second["job"] == first["job"].replace("_0", "_1")
    folder = tmp_path / "runs" / first["folder"]
    until(lambda: at_work(folder))
    done(shell, "scancel", "--signal=USR2", first["job"])
    until(lambda: not done(shell, "squeue", "--noheader"))
    assert re.search(r"seed 0: [1-9]\d*/1,000 steps\n", log_path(folder).read_text())
    assert done(shell, *line, *slurms, "--json").strip() == "[]"
    refuse_other_ends(tmp_path)


def test_the_recipe_of_an_array_goes_on_when_it_is_queued_again(shell, tmp_path):
    page = (ROOT / "docs/scale.md").read_text()
    found = re.search(r"^```sh sweep.sbatch\n(.*?)^```", page, re.M | re.S)
    assert found
    recipe = found[1].replace("grid color_kmeans", f"toy_geco {' '.join(LONG)}").replace("0-3", "0-1")
    script = tmp_path / "sweep.sbatch"
    script.write_text(recipe.replace("\nexec", f"\n#SBATCH --chdir={tmp_path}\nexec"))
    job = done(shell, "sbatch", "--parsable", str(script)).strip()
    runs = tmp_path / "runs"
    until(lambda: sum(map(at_work, runs.rglob("seed-[01]"))) == 2)
    first, second = sorted(runs.rglob("seed-[01]"))
    done(shell, "scontrol", "requeue", f"{job}_0")  # as for a job of higher priority: SIGTERM
    done(shell, "scancel", "--batch", "--signal=USR2", f"{job}_1")  # as two minutes before the time is up
    until(lambda: not done(shell, "squeue", "--noheader"))
    assert run_state(first).state == "finished"
    output = (tmp_path / f"slurm-{job}_0.out").read_text()
    assert re.search(r"seed 0: [1-9]\d*/1,000 steps\n", output), output
    assert run_state(second).state == "stopped"  # it left with 75: the same file goes on with it
    done(shell, "sbatch", "--wait", str(script))
    refuse_other_ends(tmp_path)
