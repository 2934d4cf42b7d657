"""Candidates take fair turns."""

from __future__ import annotations

import torch
from benches.timing import Candidate, Clock, interleave


class FakeTime:
    """A clock on which candidates take what they are said to take."""

    def __init__(self):
        self.seconds = 0.0
        self.calls = []

    def candidate(self, name, seconds, threads=1):
        def run():
            self.seconds += seconds
            self.calls.append((name, torch.get_num_threads()))

        return Candidate(name, run, threads)

    def clock(self):
        """This process keeps two cores busy, another program half a core."""
        return Clock(lambda: self.seconds, lambda: 2 * self.seconds, lambda: 2.5 * self.seconds)


def test_a_turn_gives_the_seconds_of_one_call():
    time = FakeTime()
    slow, fast = time.candidate("slow", 4.0), time.candidate("fast", 0.25)
    timings = interleave([slow, fast], repeats=3, least_seconds=1.0, clock=time.clock())
    assert timings[slow].seconds == [4.0] * 3
    assert timings[fast].seconds == [0.25] * 3
    assert timings[fast].cpu_seconds == [0.5] * 3
    assert timings[fast].other_seconds == [0.125] * 3
    assert (timings[slow].calls, timings[fast].calls) == (1, 4)


def test_candidates_take_turns_in_a_changing_order():
    time = FakeTime()
    candidates = [time.candidate(name, 1.0) for name in "abc"]
    interleave(candidates, repeats=8, least_seconds=1.0, clock=time.clock())
    order = "".join(name for name, _ in time.calls)
    warm_up, rounds = order[:6], [order[i : i + 3] for i in range(6, len(order), 3)]
    assert warm_up == "aabbcc"
    assert len(rounds) == 8
    assert {"".join(sorted(turns)) for turns in rounds} == {"abc"}
    assert len(set(rounds)) > 1


def test_a_candidate_runs_with_its_threads_only():
    before = torch.get_num_threads()
    time = FakeTime()
    interleave([time.candidate(str(n), 1.0, threads=n) for n in (1, 2)], repeats=1, clock=time.clock())
    assert {(name, str(threads)) for name, threads in time.calls} == {("1", "1"), ("2", "2")}
    assert torch.get_num_threads() == before


def test_other_programs_are_unknown_where_the_system_does_not_tell():
    time = FakeTime()
    clock = Clock(lambda: time.seconds, lambda: time.seconds, lambda: None)
    candidate = time.candidate("a", 1.0)
    assert interleave([candidate], repeats=1, clock=clock)[candidate].other_seconds is None
