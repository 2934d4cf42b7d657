"""One plan: every run of a command, where it lives and what it is doing."""

from __future__ import annotations

import shutil
import signal

import pytest
from helpers.launched import plan_of, request_of
from helpers.toy_runs import run

from objbench.errors import ObjbenchError, RequestError
from objbench.launch import plan as module
from objbench.launch.plan import make_plan
from objbench.parts import Part
from objbench.spec.load import load_spec
from objbench.train.interrupt import Interrupted
from objbench.train.lock import sole_owner
from objbench.train.run_state import reporting


def states(plan):
    return [str(planned.state.state) for planned in plan.runs]


def test_a_plan_names_every_run_with_its_folder(prepared_data, tmp_path):
    plan = plan_of(
        prepared_data,
        tmp_path,
        methods=("one_slot", "toy_geco"),
        datasets=("tetrominoes", "tetrominoes@aligned"),
    )
    assert plan.whole == len(plan.runs) == 8
    assert [str(planned.folder.relative_to(tmp_path)) for planned in plan.runs[::2]] == [
        "tetrominoes/generated/one_slot/seed-0",
        "tetrominoes/generated/toy_geco/seed-0",
        "tetrominoes@aligned/generated/one_slot/seed-0",
        "tetrominoes@aligned/generated/toy_geco/seed-0",
    ]
    assert states(plan) == ["to start"] * 8
    assert not list(tmp_path.iterdir())


def test_a_plan_says_what_each_run_is_doing(prepared_data, tmp_path):
    folder = run(prepared_data, tmp_path, seed=0)[0].parent
    with pytest.raises(Interrupted), reporting(folder / "seed-1"):
        raise Interrupted(signal.SIGTERM, "stop", 5)
    (folder / "seed-1").mkdir()
    shutil.copy(folder / "seed-0/config.json", folder / "seed-1/config.json")
    config = (folder / "seed-1/config.json").read_text().replace('"seed": 0', '"seed": 1')
    (folder / "seed-1/config.json").write_text(config)
    (folder / "seed-1/checkpoint.pt").touch()
    with pytest.raises(ObjbenchError), reporting(folder / "seed-2"):
        raise ObjbenchError("the loss is not finite")
    with sole_owner(folder / "seed-3"):
        plan = plan_of(prepared_data, tmp_path, seeds=(0, 1, 2, 3, 4))
    assert states(plan) == ["finished", "stopped", "failed", "at work", "to start"]
    assert (plan.runs[1].state.step, plan.runs[1].state.resumable) == (5, True)
    assert plan.runs[2].state.reason == "the loss is not finite"
    assert [planned.task.seed for planned in plan.open] == [1, 2, 4]
    assert [planned.task.seed for planned in plan.left_alone] == [0, 3]


def test_finished_runs_are_open_where_more_is_asked_of_them(prepared_data, tmp_path):
    run(prepared_data, tmp_path, seed=0)
    assert [planned.task.seed for planned in plan_of(prepared_data, tmp_path).open] == [1]
    assert len(plan_of(prepared_data, tmp_path, keep="predictions").open) == 2
    afresh = plan_of(prepared_data, tmp_path, fresh=True)
    assert (len(afresh.open), afresh.left_alone) == (2, [])
    with sole_owner(tmp_path / "tetrominoes/generated/toy_geco/seed-1"):
        assert [one.task.seed for one in plan_of(prepared_data, tmp_path, keep="predictions").open] == [0]
        assert len(plan_of(prepared_data, tmp_path, fresh=True).open) == 2


def test_the_parts_of_a_plan_do_not_depend_on_what_is_done(prepared_data, tmp_path):
    def seeds_of(number):
        plan = plan_of(prepared_data, tmp_path, seeds=(0, 1, 2)).part(Part(number, 2))
        assert plan.whole == 3
        return [planned.task.seed for planned in plan.runs]

    before = [seeds_of(1), seeds_of(2)]
    run(prepared_data, tmp_path, seed=0)
    assert [seeds_of(1), seeds_of(2)] == before == [[0, 2], [1]]


def test_runs_of_another_configuration_are_refused_at_once(prepared_data, tmp_path):
    for seed in (0, 1):
        folder = run(prepared_data, tmp_path, seed=seed)[0]
        config = (folder / "config.json").read_text().replace('"width": ', '"width": 1')
        (folder / "config.json").write_text(config)
    with pytest.raises(RequestError, match=r"^2 folders cannot be gone on with: .*another configuration"):
        plan_of(prepared_data, tmp_path)
    with pytest.raises(RequestError, match=r"seed-1 holds a run of another configuration: config\.model"):
        plan_of(prepared_data, tmp_path, seeds=(1,))
    assert len(plan_of(prepared_data, tmp_path, fresh=True).runs) == 2


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"methods": ("toy_geco", "nosuch")}, RequestError, "unknown method 'nosuch'"),
        ({"datasets": ("tetrominoes", "nosuch")}, RequestError, "unknown dataset 'nosuch'"),
        ({"assignments": ("model.widht=2",)}, RequestError, "did you mean 'model.width'"),
        ({"assignments": ("model.width=0",)}, RequestError, "model.width: expected"),
        ({"datasets": ("tetrominoes", "clevr6")}, ObjbenchError, "objbench prepare clevr6"),
        # said before anybody prepares clevr6
        ({"methods": ("nosuch",), "datasets": ("clevr6",)}, RequestError, "unknown method 'nosuch'"),
        ({"assignments": ("model.width=0",), "datasets": ("clevr6",)}, RequestError, "model.width: expected"),
    ],
)
def test_a_plan_with_one_wrong_run_is_refused_as_a_whole(prepared_data, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        plan_of(prepared_data, tmp_path, **options)


def test_scenes_in_memory_are_not_made_for_a_plan(tmp_path, monkeypatch):
    monkeypatch.setattr("objbench.data.prepare.in_memory.splits_in_memory", None)
    request = request_of(tmp_path, tmp_path, source="generated", in_memory=True, sizes={"train": 4})
    assert states(make_plan(request)) == ["to start", "to start"]
    empty = request_of(tmp_path, tmp_path, source="generated", in_memory=True, sizes={"test": 0})
    with pytest.raises(RequestError, match="--test 0: a run needs train and test"):
        make_plan(empty)


@pytest.mark.parametrize(
    ("options", "noted"),
    [({}, False), ({"sizes": {"val": 0}}, True), ({"assignments": ("recipe.evaluations=0",)}, True)],
)
@pytest.mark.parametrize("method", ["spair:demo", "slate:demo", "grid"])
def test_a_learning_rate_that_follows_val_without_val_is_noted(tmp_path, method, options, noted):
    request = request_of(tmp_path, tmp_path, methods=(method,), source="generated", in_memory=True, **options)
    told = any("its learning rate follows its scores on val" in note for note in make_plan(request).notes)
    assert told == (noted and method != "grid")


def test_settings_that_nobody_published_are_noted(prepared_data, tmp_path):
    assert plan_of(prepared_data, tmp_path).notes == ()
    assert module.borrowed_settings(load_spec(), "slot_attention", load_spec().dataset("clevrtex_ood"))


def test_a_damaged_configuration_is_refused_beside_the_others(prepared_data, tmp_path):
    folder = run(prepared_data, tmp_path)[0]
    (folder / "config.json").write_text("{")
    with pytest.raises(RequestError, match=r"config.json: damaged .*--fresh"):
        plan_of(prepared_data, tmp_path)


def test_two_names_of_one_run_are_refused(prepared_data, tmp_path):
    with pytest.raises(
        RequestError, match=r"toy_geco on tetrominoes, seed 0 and toy_geco on tetrominoes@standard, seed 0 "
    ):
        plan_of(prepared_data, tmp_path, datasets=("tetrominoes", "tetrominoes@standard"))


def test_runs_at_work_are_tried_last(prepared_data, tmp_path):
    held = plan_of(prepared_data, tmp_path).runs[0].folder
    held.parent.mkdir(parents=True)
    with sole_owner(held):
        plan = plan_of(prepared_data, tmp_path)
        assert [planned.task.seed for planned in plan.open] == [1]
        assert [planned.task.seed for planned in plan.to_try] == [1, 0]
