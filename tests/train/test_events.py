"""The steps after which something happens besides training."""

from __future__ import annotations

from objbench.spec.load import load_spec
from objbench.spec.settings import Recipe
from objbench.train.events import Events


def recipe(**values: object) -> Recipe:
    return Recipe.model_validate(load_spec().recipe | {"steps": 1} | values)


def test_evaluations_are_evenly_spaced_and_end_with_the_training():
    events = Events(10, recipe(evaluations=3))
    assert [step for step in range(1, 11) if events.evaluates(step)] == [4, 7, 10]


def test_next_event_is_the_first_of_all_kinds():
    events = Events(100, recipe(evaluations=3, log_steps=30, checkpoint_steps=50))
    steps = [0]
    while steps[-1] < 100:
        steps.append(events.next(steps[-1]))
    assert steps == [0, 30, 34, 50, 60, 67, 90, 100]


def test_more_evaluations_than_steps_evaluate_after_every_step():
    events = Events(3, recipe(evaluations=33, log_steps=50))
    assert [events.next(step) for step in range(3)] == [1, 2, 3]
    assert all(events.evaluates(step) for step in (1, 2, 3))
