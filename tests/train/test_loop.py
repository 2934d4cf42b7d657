"""The training loop: what happens when, what is logged, and that nothing depends on interruptions."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from objbench_toys.methods import ToyGeco, ToyTwoStages

from objbench.errors import ObjbenchError, RequestError
from objbench.methods.base import Losses, Method, Progress, Stage
from objbench.methods.create import build
from objbench.spec.load import load_spec
from objbench.spec.resolve import resolve
from objbench.testing import random_scenes
from objbench.train.batches import StageScenes
from objbench.train.environment import joined
from objbench.train.loop import Training
from objbench.train.plain import PlainStepper

IMAGES = random_scenes(7, (3, 35, 35))


def make(name: str, **overrides: object) -> Method:
    spec = load_spec()
    dataset = spec.dataset("tetrominoes")
    torch.manual_seed(0)
    return build(resolve(spec, name, dataset, overrides), dataset)


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def constant(method: Method, progress: Progress | None) -> dict[str, float]:
    return {"ari": 0.5}


def test_log_holds_losses_and_validation_but_neither_times_nor_paths(tmp_path):
    trained = Training(make("toy_geco"), IMAGES, 0, tmp_path, constant).run()
    log = lines(tmp_path)
    assert trained.steps == 8
    assert [line["step"] for line in log if "losses" in line] == list(range(1, 9))
    assert [line["step"] for line in log if "val" in line] == [2, 4, 6, 8]
    assert {key for line in log for key in line} == {"step", "stage", "epoch", "losses", "val"}
    assert log[0]["losses"].keys() == {"total", "error", "entropy"}


def test_progress_shows_the_loss_and_the_noted_scores_as_tables_print_them(tmp_path):
    notes = []

    def advance(amount: int = 1, note: str | None = None, resumed: int = 0) -> None:
        notes.append(note)

    noted = {name: load_spec().metric(name) for name in ("ari_fg", "mse")}
    validate = lambda model, progress: {"mse": 0.00125, "ari": 0.5, "ari_fg": 0.75}  # noqa: E731
    Training(make("toy_geco"), IMAGES, 0, tmp_path, validate, noted=noted).run(advance)
    assert re.fullmatch(r"loss 0\.\d+, val ari_fg 75\.0, val mse 0\.00125", notes[-1])


@pytest.mark.parametrize(("seconds", "reports", "reads"), [(1e9, [1, 7], 2), (0.0, [1] * 8, 9)])
def test_progress_is_told_by_time_and_the_loss_read_only_then(tmp_path, monkeypatch, seconds, reports, reads):
    told, read = [], []

    def advance(amount: int = 1, note: str | None = None, resumed: int = 0) -> None:
        told.append(amount)

    def losses(stepper: PlainStepper) -> dict[str, float]:
        read.append(stepper.step)
        return {"total": 1.0}

    monkeypatch.setattr("objbench.train.loop._TELL_SECONDS", seconds)
    monkeypatch.setattr(PlainStepper, "losses", losses)
    rare = {"recipe.log_steps": 100, "recipe.checkpoint_steps": 100, "recipe.evaluations": 1}
    method = make("toy_geco", **rare)
    Training(method, IMAGES, 0, tmp_path).run(advance)
    assert [amount for amount in told if amount] == reports
    assert len(read) == reads  # once more at the end, for the log


def test_the_seconds_of_a_training_are_those_of_its_steps_and_survive_an_interruption(tmp_path, monkeypatch):
    clock = SimpleNamespace(now=1000.0)
    advance = PlainStepper.advance

    def slow(stepper: PlainStepper, steps: int) -> None:
        clock.now += 2
        advance(stepper, steps)

    def validate(method: Method, progress: Progress | None) -> dict[str, float]:
        clock.now += 100
        return {"ari": 0.5}

    def stop_after_five(amount: int = 1, note: str | None = None, resumed: int = 0) -> None:
        if clock.now >= 1000 + 5 * 2 + 2 * 100:
            raise _Stopped

    monkeypatch.setattr("objbench.train.loop.time", SimpleNamespace(perf_counter=lambda: clock.now))
    monkeypatch.setattr(PlainStepper, "advance", slow)
    make_training = lambda: Training(make("toy_geco"), IMAGES, 0, tmp_path, validate)  # noqa: E731
    with pytest.raises(_Stopped):
        make_training().run(stop_after_five)
    clock.now = 5000.0
    trained = make_training().run()
    assert trained.seconds == 8 * 2
    assert trained.images == 8 * make("toy_geco").stages()[0].batch_size


def test_stages_follow_one_another_and_epochs_count_batches(tmp_path):
    trained = Training(make("toy_two_stages"), IMAGES, 0, tmp_path).run()
    stages = [line["stage"] for line in lines(tmp_path)]
    assert (
        stages == ["colors"] * 4 + ["all"] * 3
    )  # one epoch of 7 images in batches of 2: the last image is dropped
    assert trained.steps == 7
    assert trained.images == 14


def test_first_stage_leaves_the_frozen_part_alone(tmp_path):
    method = make("toy_two_stages")
    before = method.head.weight.clone()
    seen = []
    method.after_step = lambda progress, losses, optimizers: seen.append(
        torch.equal(method.head.weight, before)
    )
    Training(method, IMAGES, 0, tmp_path).run()
    assert seen[:4] == [True] * 4
    assert not any(seen[4:])


class _Stopped(Exception):
    pass


@pytest.mark.parametrize("name", ["toy_geco", "toy_two_stages", "toy_stepper"])
@pytest.mark.parametrize("stop", [1, 3, 4, 5, 7])
def test_resume_from_any_step_is_bit_identical(tmp_path, name, stop):
    assert_resume_is_bit_identical(tmp_path, name, stop)


def assert_resume_is_bit_identical(tmp_path: Path, name: str, stop: int) -> None:
    def interrupt(amount: int = 1, note: str | None = None, resumed: int = 0) -> None:
        interrupt.done += amount
        if interrupt.done >= stop:
            raise _Stopped

    interrupt.done = 0
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    reference = make(name)
    Training(reference, IMAGES, 0, whole, constant).run()
    with pytest.raises(_Stopped):
        Training(make(name), IMAGES, 0, broken, constant).run(interrupt)
    resumed = make(name)
    Training(resumed, IMAGES, 0, broken, constant).run()
    assert (broken / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    for key, value in reference.state_dict().items():
        other = resumed.state_dict()[key]
        assert torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other


def test_the_environments_of_a_resumed_training_are_remembered_in_order(tmp_path, monkeypatch):
    def stop_after_a_checkpoint(*_: object, **__: object) -> None:
        if (tmp_path / "checkpoint.pt").exists():
            raise _Stopped

    monkeypatch.setattr("objbench.train.environment.describe", lambda device: "a GPU")
    with pytest.raises(_Stopped):
        Training(make("toy_geco"), IMAGES, 0, tmp_path, constant).run(stop_after_a_checkpoint)
    monkeypatch.undo()
    for _ in range(2):  # resumed, and once more when it is finished
        training = Training(make("toy_geco"), IMAGES, 0, tmp_path, constant)
        (here,) = training.environments
        found = training.run().environments
        assert found == [here._replace(device="a GPU"), here]
    assert joined(found) == here._replace(device=f"a GPU, then {here.device}")


def test_a_method_is_in_training_mode_in_its_steps_but_not_put_there_at_each(tmp_path):
    rarely = {"recipe.log_steps": 8, "recipe.checkpoint_steps": 8, "recipe.evaluations": 0}
    method, modes, puts = make("toy_geco", **rarely), [], []
    method.train(False)
    loss, train = method.training_loss, method.train

    def training_loss(images, progress):
        modes.append(method.training)
        return loss(images, progress)

    method.training_loss = training_loss
    method.train = lambda mode=True: puts.append(mode) or train(mode)
    Training(method, IMAGES, 0, tmp_path).run()
    assert (modes, puts) == ([True] * 8, [True])


def test_resume_does_not_start_from_zero(tmp_path):
    class Interrupted(Exception):
        pass

    seen: list[int] = []

    def watched() -> ToyGeco:
        method = make("toy_geco")
        loss = method.training_loss

        def training_loss(images, progress):
            seen.append(progress.step)
            if seen == [0, 1, 2, 3, 4]:
                raise Interrupted
            return loss(images, progress)

        method.training_loss = training_loss
        return method

    with pytest.raises(Interrupted):
        Training(watched(), IMAGES, 0, tmp_path).run()
    Training(watched(), IMAGES, 0, tmp_path).run()
    assert seen == [0, 1, 2, 3, 4, 4, 5, 6, 7]


def test_evaluation_in_between_changes_nothing(tmp_path):
    results = []
    for evaluations in (0, 8):
        folder = tmp_path / str(evaluations)
        folder.mkdir()
        method = make("toy_geco", **{"recipe.evaluations": evaluations})

        def validate(method, progress):
            torch.rand(100)
            return {"ari": 0.0}

        Training(method, IMAGES, 0, folder, validate).run()
        results.append(method.colors.detach().clone())
    assert torch.equal(*results)


def test_seeds_differ(tmp_path):
    results = []
    for seed in (0, 1):
        folder = tmp_path / str(seed)
        folder.mkdir()
        method = make("toy_geco")
        Training(method, IMAGES, seed, folder).run()
        results.append(method.colors.detach().clone())
    assert not torch.equal(*results)


def test_divergence_names_the_loss_and_the_step(tmp_path):
    method = make("toy_stepper")
    loss = method.training_loss
    method.training_loss = lambda images, p: Losses(
        loss(images, p).total * (float("nan") if p.step == 4 else 1)
    )
    with pytest.raises(ObjbenchError, match="training diverged: total not finite at step 5 of stage 'train'"):
        Training(method, IMAGES, 0, tmp_path).run()


def test_divergence_is_noticed_before_an_evaluation(tmp_path):
    method = make("toy_stepper", **{"recipe.log_steps": 100})
    loss = method.training_loss
    method.training_loss = lambda images, p: Losses(loss(images, p).total * float("nan"))

    def validate(method, progress):
        raise AssertionError("evaluated a method that has diverged")

    with pytest.raises(ObjbenchError, match="training diverged: total not finite at step 2"):
        Training(method, IMAGES, 0, tmp_path, validate).run()


def test_damaged_checkpoint_is_named(tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(ObjbenchError, match=r"checkpoint.pt: damaged or of another version .*; --fresh"):
        Training(make("toy_geco"), IMAGES, 0, tmp_path).run()


def test_a_log_shorter_than_at_the_checkpoint_is_named(tmp_path):
    Training(make("toy_geco"), IMAGES, 0, tmp_path).run()
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(ObjbenchError, match=r"metrics.jsonl: shorter than at the last checkpoint"):
        Training(make("toy_geco"), IMAGES, 0, tmp_path).run()


def test_setup_that_looks_at_trained_weights_may_be_resumed(tmp_path, monkeypatch):
    stages = []

    def freeze_by_weights(self, images, stage):
        stages.append(stage.name)
        self.head.requires_grad_(stage.name == "all" and bool(self.colors[0, 0] > 0))
        self.colors.copy_(-self.colors)

    monkeypatch.setattr(ToyTwoStages, "setup", freeze_by_weights)
    assert_resume_is_bit_identical(tmp_path, "toy_two_stages", stop=7)  # behind the checkpoint of step 6
    assert stages == ["colors", "all"] * 2  # of the whole and of the broken training, not of the resumed one


def test_work_after_an_evaluation_has_random_numbers_of_its_own(tmp_path):
    drawn = []
    for size in (1, 2):
        folder = tmp_path / str(size)
        folder.mkdir()
        method = make("toy_stepper")
        seen = []
        method.after_evaluation = lambda progress, metrics, seen=seen: seen.append(float(torch.rand(())))

        def validate(method, progress, size=size):
            torch.rand(size)
            return {"ari": 0.0}

        Training(method, IMAGES, 0, folder, validate).run()
        drawn.append(seen)
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == 4


def test_batch_larger_than_the_training_set_is_refused():
    with pytest.raises(RequestError, match=r"a batch of 8 cannot be made of 7 .* recipe.batch_size=7"):
        StageScenes(IMAGES, Stage("train", steps=3, batch_size=8), 330, 0)


def test_stage_needs_steps_or_epochs():
    with pytest.raises(RequestError, match="stage 'train' needs either steps or epochs"):
        StageScenes(IMAGES, Stage("train", batch_size=2), 330, 0)


def test_each_epoch_sees_every_image_once_in_another_order():
    scenes = StageScenes(IMAGES[:6], Stage("train", epochs=2, batch_size=2), 330, 0)
    epochs = [torch.cat([scenes.batch(step) for step in range(3 * e, 3 * e + 3)]) for e in range(2)]
    assert [sorted(order.tolist()) for order in epochs] == [list(range(6))] * 2
    assert epochs[0].tolist() != epochs[1].tolist()
    assert scenes.batch(4).tolist() == epochs[1][2:4].tolist()


@pytest.mark.parametrize(("steps", "expected"), [(330, [0, 10, 329]), (33, [0, 100, 320])])
def test_nominal_epochs_stretch_over_any_number_of_steps(steps, expected):
    progress = [Progress("train", step, steps, 0, 330).nominal_epoch for step in (0, 10, steps - 1)]
    assert progress == expected


def test_joint_clipping_bounds_the_gradient(tmp_path):
    method = make("toy_two_stages")
    norms = []

    def after_step(progress, losses, optimizers):
        if progress.stage == "all":
            gradients = [p.grad for p in method.parameters()]
            norms.append(float(torch.cat([g.flatten() for g in gradients]).norm()))

    method.after_step = after_step
    loss = method.training_loss
    method.training_loss = lambda images, progress: Losses(1e4 * loss(images, progress).total)
    Training(method, IMAGES, 0, tmp_path).run()
    assert norms == pytest.approx([1.0] * 3, rel=1e-3)
    assert isinstance(method, ToyTwoStages)
