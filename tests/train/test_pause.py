"""When a training pauses: alone at once, several processes at the same step."""

from __future__ import annotations

import signal
from types import SimpleNamespace

import pytest

from objbench.ranks.group import ALONE
from objbench.train import pause as module
from objbench.train.interrupt import Interrupts
from objbench.train.pause import Pauses


class Others:
    """The other processes of a training: `most` answers with what they say where it is more."""

    several, first = True, True

    def __init__(self, first: bool = True) -> None:
        self.first = first
        self.answers: list[list[float]] = []
        self.asked: list[list[float]] = []

    def most(self, values: list[float]) -> list[float]:
        self.asked.append(values)
        others = self.answers.pop(0) if self.answers else [0.0] * len(values)
        return [max(pair) for pair in zip(values, others, strict=True)]


@pytest.fixture
def clock(monkeypatch) -> SimpleNamespace:
    """A clock that the test moves."""
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: now.seconds))
    return now


def test_alone_a_signal_stops_before_the_next_step(clock):
    interrupts = Interrupts()
    pauses = Pauses(ALONE, interrupts, 300)
    pauses.look()
    assert (pauses.stop, pauses.save) == (False, False)
    interrupts.heard(signal.SIGTERM, lost=False)
    pauses.look()
    assert pauses.stop


def test_alone_the_loss_of_the_run_stops(clock):
    interrupts = Interrupts()
    pauses = Pauses(ALONE, interrupts, 300)
    interrupts.lose()
    pauses.look()
    assert pauses.stop


def test_a_checkpoint_is_due_when_its_time_is_up_and_again_as_long_after_it(clock):
    pauses = Pauses(ALONE, Interrupts(), 300)
    for seconds, due in ((299, False), (300, True), (310, True)):
        clock.seconds = seconds
        pauses.look()
        assert pauses.save is due
    pauses.saved()
    assert not pauses.save
    for seconds, due in ((609, False), (610, True)):
        clock.seconds = seconds
        pauses.look()
        assert pauses.save is due


def test_several_processes_agree_after_as_many_steps_as_take_a_fifth_of_a_second(clock):
    ranks = Others()
    pauses = Pauses(ranks, Interrupts(), 300)
    agreed = []
    for step in range(1, 60):
        before = len(ranks.asked)
        pauses.look()
        clock.seconds += 1 / 128
        if len(ranks.asked) > before:
            agreed.append(step)
    assert agreed == [2, 27, 52]


def test_the_number_of_steps_to_the_next_agreement_is_that_of_the_first_process(clock):
    ranks = Others(first=False)
    ranks.answers = [[0.0, 0.0, 0.0, 5.0]]
    pauses = Pauses(ranks, Interrupts(), 300)
    clock.seconds = 400
    for _ in range(7):
        pauses.look()
        clock.seconds += 0.001
    assert ranks.asked[0] == [0.0, 0.0, 0.0, 0.0]  # its own clock does not count, for checkpoints neither
    assert len(ranks.asked) == 2
    assert not pauses.save


def test_a_signal_or_loss_of_any_process_stops_all_and_is_taken_over(clock):
    for answer, number, lost in (
        ([15.0, 0.0, 0.0, 1.0], signal.SIGTERM, False),
        ([0.0, 1.0, 0.0, 1.0], 0, True),
    ):
        ranks, interrupts = Others(), Interrupts()
        ranks.answers = [answer]
        pauses = Pauses(ranks, interrupts, 300)
        pauses.settle()
        assert pauses.stop
        assert (interrupts.number, interrupts.lost) == (number, lost)
        assert not pauses.save


def test_a_signal_of_this_process_is_told_to_the_others(clock):
    ranks, interrupts = Others(), Interrupts()
    interrupts.heard(signal.SIGUSR2, lost=True)
    pauses = Pauses(ranks, interrupts, 0)
    pauses.settle()
    assert ranks.asked[0][:3] == [float(signal.SIGUSR2), 1.0, 1.0]
    assert (pauses.stop, pauses.save) == (True, True)
