"""tools/fuzz, run in processes of its own."""

from __future__ import annotations

from pathlib import Path

from fuzzing.outcome import Result
from fuzzing.runner import Work, run
from fuzzing.target import Target


def results(folder: Path, target: Target, trials: int, seed: int = 1) -> list[Result]:
    """What comes of the first trials of a target."""
    (work,) = run([Work(target, folder / "work", range(trials), 600.0)], seed, jobs=1)
    assert [trial.number for trial in work.trials] == list(range(trials))
    return [trial.result for trial in work.trials]
