"""Real signals at every kind of moment of a training: all finished steps are kept, and the end is bit-identical."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from objbench.methods.base import Method, Progress
from objbench.methods.create import build
from objbench.spec.load import load_spec
from objbench.spec.resolve import resolve
from objbench.testing import random_scenes
from objbench.train import checkpoint
from objbench.train.checkpoint import load_checkpoint
from objbench.train.cuda_graph import CudaGraphStepper
from objbench.train.interrupt import EXIT_CODES, Interrupted, Interrupts
from objbench.train.loop import Training

IMAGES = random_scenes(7, (3, 35, 35))
NAMES = ["toy_geco", "toy_two_stages", "toy_stepper", "captured"]
TOTAL = {"toy_two_stages": 7}  # steps; all others take 8
Act = Callable[[], None]


def nothing() -> None:
    pass


class Trial:
    """One training in `folder`, with one log line and one checkpoint at its end alone; hooks act in it."""

    def __init__(self, name: str, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.interrupts, self.steps = folder, Interrupts(), list[int]()
        self.in_setup = self.in_step = self.in_validation = nothing
        self.method = self._method(name)

    def _method(self, name: str) -> Method:
        spec, overrides = load_spec(), {"recipe.checkpoint_steps": 1000, "recipe.log_steps": 3}
        dataset = spec.dataset("tetrominoes")
        torch.manual_seed(0)
        captured = name == "captured"
        config = resolve(
            spec, "toy_geco" if captured else name, dataset, overrides | {"recipe.evaluations": 2}
        )
        method = build(config, dataset)
        if captured:
            method.stepper = lambda scenes, stage: CudaGraphStepper(method, scenes, stage)
        setup, after_step = method.setup, method.after_step

        def watched_setup(images, stage):
            setup(images, stage)
            self.in_setup()

        def watched_after_step(progress, losses, optimizers):
            after_step(progress, losses, optimizers)
            self.steps.append(progress.step)
            self.in_step()

        method.setup, method.after_step = watched_setup, watched_after_step
        return method

    def validate(self, method: Method, progress: Progress | None) -> dict[str, float]:
        torch.rand(3)
        self.in_validation()
        return {"ari": 0.5}

    def run(self) -> None:
        training = Training(self.method, IMAGES, 0, self.folder, self.validate, interrupts=self.interrupts)
        with self.interrupts.catch():
            training.run()


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


def at(count: int, number: signal.Signals = signal.SIGTERM) -> Act:
    """Send the signal when called for the `count`-th time."""
    calls = iter(range(1, 100))
    return lambda: send(number) if next(calls) == count else None


def assert_goes_on_bit_identical(name: str, tmp_path: Path) -> Trial:
    """Run `broken`, which was interrupted, to its end, and compare with a run that never was."""
    whole, resumed = Trial(name, tmp_path / "whole"), Trial(name, tmp_path / "broken")
    whole.run()
    resumed.run()
    assert (resumed.folder / "metrics.jsonl").read_bytes() == (whole.folder / "metrics.jsonl").read_bytes()
    for key, value in whole.method.state_dict().items():
        other = resumed.method.state_dict()[key]
        assert torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other
    return resumed


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("step", [1, 2, 4, 5, 7])
def test_a_signal_in_a_step_keeps_that_step(tmp_path, name, step):
    broken = Trial(name, tmp_path / "broken")
    broken.in_step = at(step)
    with pytest.raises(Interrupted, match=f"SIGTERM; the same command goes on from step {step} of the run"):
        broken.run()
    assert len(broken.steps) == step
    resumed = assert_goes_on_bit_identical(name, tmp_path)
    assert len(resumed.steps) == TOTAL.get(name, 8) - step


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("time", [1, 2])
def test_a_signal_in_a_validation_keeps_all_steps_and_repeats_it(tmp_path, name, time):
    broken = Trial(name, tmp_path / "broken")
    broken.in_validation = at(time)
    with pytest.raises(Interrupted) as stop:
        broken.run()
    done = len(broken.steps)
    assert f"goes on from step {done} of the run" in str(stop.value)
    resumed = assert_goes_on_bit_identical(name, tmp_path)
    assert len(resumed.steps) == TOTAL.get(name, 8) - done


def test_signals_in_both_the_validation_and_its_repetition_lose_nothing(tmp_path):
    for _ in range(2):
        broken = Trial("toy_geco", tmp_path / "broken")
        broken.in_validation = at(1)
        with pytest.raises(Interrupted, match="goes on from step 4 of the run"):
            broken.run()
    assert_goes_on_bit_identical("toy_geco", tmp_path)


def test_a_signal_in_the_setup_ends_it_at_once_with_nothing_to_save(tmp_path):
    broken = Trial("toy_two_stages", tmp_path / "broken")
    broken.in_setup = at(1)
    with pytest.raises(Interrupted, match="goes on from step 0 of the run"):
        broken.run()
    assert load_checkpoint(broken.folder) is None
    assert_goes_on_bit_identical("toy_two_stages", tmp_path)


def test_a_signal_in_the_setup_of_the_second_stage_keeps_the_first(tmp_path):
    broken = Trial("toy_two_stages", tmp_path / "broken")
    broken.in_setup = at(2)
    with pytest.raises(Interrupted, match="goes on from step 4 of the run"):
        broken.run()
    resumed = assert_goes_on_bit_identical("toy_two_stages", tmp_path)
    assert len(resumed.steps) == 3


def test_a_signal_while_a_checkpoint_is_written_waits_for_it(tmp_path, monkeypatch):
    save = torch.save

    def interrupted_save(*arguments):
        send(signal.SIGTERM)
        save(*arguments)

    broken = Trial("toy_geco", tmp_path / "broken")
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint.torch, "save", interrupted_save)
        with pytest.raises(Interrupted, match="from step 8 of"):
            broken.run()
    assert_goes_on_bit_identical("toy_geco", tmp_path)


@pytest.mark.parametrize("number", EXIT_CODES)
def test_each_signal_has_its_exit_code(number):
    interrupts = Interrupts()
    with pytest.raises(Interrupted) as stop, interrupts.catch():
        send(number)
    expected = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129, "SIGUSR2": 75}
    assert stop.value.exit_code == expected[number.name]


def test_only_a_signal_in_a_training_tells_its_step():
    interrupts = Interrupts()
    interrupts.advice = "the same command goes on"
    with interrupts.catch():
        with interrupts.training("seed 3"):
            interrupts.step = 7
        with pytest.raises(Interrupted, match=r"SIGTERM; the same command goes on$") as stop:
            send(signal.SIGTERM)
    assert stop.value.step is None


def test_an_error_that_a_library_made_of_a_signal_is_that_signal():
    interrupts = Interrupts()
    with pytest.raises(Interrupted, match="goes on from step 7 of seed 3"), interrupts.catch():
        swallowed_by_a_library(interrupts)
    assert interrupts.step is None


def swallowed_by_a_library(interrupts: Interrupts) -> None:
    with interrupts.training("seed 3"):
        interrupts.step = 7
        try:
            send(signal.SIGTERM)
        except Interrupted:
            raise ValueError("of the library") from None


def send_twice(number: signal.Signals, reached: list[str]) -> None:
    interrupts = Interrupts()
    with interrupts.catch(), interrupts.deferred():
        send(number)
        reached.append("first")
        send(number)
        reached.append("second")


def test_a_second_sigint_ends_at_once_also_where_signals_wait():
    reached = []
    with pytest.raises(KeyboardInterrupt) as stop:
        send_twice(signal.SIGINT, reached)
    assert reached == ["first"]
    assert not isinstance(stop.value, Interrupted)


def test_a_second_sigterm_waits_with_the_first():
    reached = []
    with pytest.raises(Interrupted):
        send_twice(signal.SIGTERM, reached)
    assert reached == ["first", "second"]


def test_handlers_are_restored_and_ignored_signals_stay_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts().catch():
            send(signal.SIGHUP)
            assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


def test_time_alone_makes_checkpoints_and_changes_nothing(tmp_path, monkeypatch):
    saved = []
    save = checkpoint.Checkpoint.save
    monkeypatch.setattr(
        checkpoint.Checkpoint, "save", lambda self, folder: (saved.append(self.step), save(self, folder))
    )
    frequent = Trial("toy_geco", tmp_path / "broken")
    recipe = frequent.method.recipe.model_copy(update={"checkpoint_minutes": 1e-9})
    frequent.method.settings = frequent.method.settings.model_copy(update={"recipe": recipe})
    frequent.run()
    assert saved == list(range(1, 9))
    whole = Trial("toy_geco", tmp_path / "whole")
    whole.run()
    assert saved[8:] == [8]
    assert (frequent.folder / "metrics.jsonl").read_bytes() == (whole.folder / "metrics.jsonl").read_bytes()
    assert torch.equal(frequent.method.colors, whole.method.colors)
