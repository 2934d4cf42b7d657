from __future__ import annotations

import pytest
from benches import sweep
from helpers.benches import by_name, run

from objbench.errors import ObjbenchError


def test_the_pool_and_each_launcher_are_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "_installed", lambda package: package == "submitit")
    monkeypatch.setattr(sweep, "METHOD", "color_kmeans")
    content = run(tmp_path, "sweep", "--quick")
    rates, overheads = content["sections"]
    workers = sweep.available()
    pool = by_name(rates)[f"--launcher local, {workers} workers"]
    plain = rates["rows"][0]
    assert pool["speedup"]["against"] == plain["name"]
    assert pool["speedup"]["aim"] == 1.8
    assert pool["speedup"]["samples"] == pytest.approx([pool["samples"][0] / plain["samples"][0]])
    assert plain["samples"] == pytest.approx([2 * 3600 / plain["timing"]["seconds"][0]])
    names = ["plain", "--launcher local, 1 worker", "--launcher slurm, in submitit's local executor"]
    assert [row["name"] for row in overheads["rows"]] == names
    assert all(row["figures"]["s for one run alone"] > 0 for row in overheads["rows"])


def test_runs_that_were_not_made_are_no_measurement(tmp_path):
    way = sweep.Way("idle", lambda runs, folder: (folder / "no").mkdir(parents=True))
    with pytest.raises(ObjbenchError, match="idle: 0 of 3 runs were finished"):
        sweep._rounds([(way, 3)], tmp_path, 1)


def test_the_seconds_of_a_further_run_leave_the_start_out(tmp_path, monkeypatch):
    """With a clock of our own: 10 seconds to begin, 3 for each run."""
    now = [0.0]

    def work(folder, line, runs, results, threads=1):
        now[0] += 10 + 3 * runs
        for seed in range(runs):
            (results / str(seed)).mkdir(parents=True)
            (results / str(seed) / "result.json").touch()

    monkeypatch.setattr(sweep, "_installed", lambda package: False)
    monkeypatch.setattr(sweep, "_command", work)
    monkeypatch.setattr(sweep, "CLOCK", sweep.Clock(lambda: now[0], lambda: 0.0, lambda: None))
    plain, local = sweep.overheads(tmp_path, 5, 2).rows
    assert (plain.samples, plain.figures) == ([3.0, 3.0], {"s for one run alone": 13.0})
    assert local.samples == [3.0, 3.0]
