"""Planned runs, carried out in this process: what is told of each, and of those that failed."""

from __future__ import annotations

import os
import signal

import pytest
from helpers.launched import plan_of
from objbench_toys.methods import ToyGeco

from objbench.errors import ObjbenchError, RequestError
from objbench.launch.request import Task
from objbench.launch.work import Outcome, Worker, refuse_failures, run_here
from objbench.train.interrupt import Interrupted, Interrupts
from objbench.train.lock import sole_owner


def worker_of(plan, said=None, interrupts=None):
    say = said.append if said is not None else lambda line: None
    return Worker(plan.request, plan.spec, interrupts or Interrupts(), say)


def test_runs_are_carried_out_in_order_and_told_of(prepared_data, tmp_path):
    plan = plan_of(prepared_data, tmp_path, datasets=("tetrominoes", "tetrominoes@aligned"), seeds=(0,))
    told: list[Outcome] = []
    assert run_here(worker_of(plan), plan.runs, told.append) == told
    assert [outcome.task for outcome in told] == [planned.task for planned in plan.runs]
    assert [outcome.record.protocol for outcome in told] == ["standard", "aligned"]
    refuse_failures(told, plan)


def test_a_failed_run_is_told_and_the_next_one_runs(prepared_data, tmp_path, monkeypatch):
    after_step = ToyGeco.after_step

    def broken(self, progress, losses, optimizers):
        after_step(self, progress, losses, optimizers)
        if progress.step == 3 and not (tmp_path / "tetrominoes/generated/toy_geco/seed-1").exists():
            raise KeyError("oops")

    monkeypatch.setattr(ToyGeco, "after_step", broken)
    plan = plan_of(prepared_data, tmp_path)
    outcomes = run_here(worker_of(plan), plan.runs, lambda outcome: None)
    assert "KeyError: 'oops' (unexpected, at " in outcomes[0].failure
    assert outcomes[0].record is None
    assert outcomes[1].failure is None
    with pytest.raises(ObjbenchError) as error:
        refuse_failures(outcomes, plan)
    assert str(error.value) == (
        "1 of 2 runs failed (toy_geco on tetrominoes, seed 0), for the reasons above; the same command tries them again"
    )
    assert error.value.exit_code == 1
    assert plan_of(prepared_data, tmp_path).runs[0].state.reason == outcomes[0].failure


def test_a_run_at_work_elsewhere_is_left_to_it_quietly(prepared_data, tmp_path):
    plan, said = plan_of(prepared_data, tmp_path, seeds=(0,)), []
    with sole_owner(plan.runs[0].folder):
        (outcome,) = run_here(worker_of(plan, said), plan.runs, lambda outcome: None)
    assert (outcome.elsewhere, outcome.failure, outcome.record, said) == (True, None, None, [])
    refuse_failures([outcome], plan)


def test_a_run_at_work_elsewhere_cannot_be_run_afresh(prepared_data, tmp_path):
    plan = plan_of(prepared_data, tmp_path, seeds=(0,), fresh=True)
    with sole_owner(plan.runs[0].folder):
        (outcome,) = run_here(worker_of(plan), plan.runs, lambda outcome: None)
    assert "another process is running this seed" in outcome.failure
    with pytest.raises(ObjbenchError, match="another process is running this seed"):
        refuse_failures([outcome], plan)


def test_a_signal_is_no_failure(prepared_data, tmp_path, monkeypatch):
    after_step = ToyGeco.after_step

    def interrupted(self, progress, losses, optimizers):
        after_step(self, progress, losses, optimizers)
        if progress.step == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(ToyGeco, "after_step", interrupted)
    plan, interrupts = plan_of(prepared_data, tmp_path), Interrupts()
    with interrupts.catch(), pytest.raises(Interrupted, match="goes on from step 5 of seed 0"):
        run_here(worker_of(plan, None, interrupts), plan.runs, lambda outcome: None)
    assert [planned.state.state for planned in plan_of(prepared_data, tmp_path).runs] == [
        "stopped",
        "to start",
    ]


def test_wrong_requests_alone_make_a_wrong_request(prepared_data, tmp_path):
    plan = plan_of(prepared_data, tmp_path)
    tasks = [Task("toy_geco", "tetrominoes", seed) for seed in (0, 1)]
    wrong = Outcome(tasks[0], tmp_path, "a batch too large", wrong_request=True)
    failed = Outcome(tasks[1], tmp_path, "damaged")
    with pytest.raises(RequestError, match=r"^1 of 2 runs failed"):
        refuse_failures([wrong], plan)
    for others in ([failed], [Outcome(tasks[1], tmp_path)]):  # of which one failed otherwise, or is finished
        with pytest.raises(ObjbenchError, match=r"^[12] of 2 runs failed") as error:
            refuse_failures([wrong, *others], plan)
        assert error.value.exit_code == 1
    alone = plan_of(prepared_data, tmp_path, seeds=(0,))
    with pytest.raises(RequestError, match=r"^a batch too large$"):
        refuse_failures([wrong], alone)
    afresh = plan_of(prepared_data, tmp_path, fresh=True)
    with pytest.raises(RequestError, match="the same command without --fresh tries them again"):
        refuse_failures([wrong], afresh)
