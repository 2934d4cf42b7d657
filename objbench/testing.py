"""The contract test kit: checks any registered method, built-in or not, against the method contract."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from objbench.errors import ObjbenchError, RequestError
from objbench.methods.base import Method, Precision, Progress, Segmentation, Stage
from objbench.methods.create import build, method_class
from objbench.random import seed_from
from objbench.spec.load import load_spec
from objbench.spec.nested import deep_merge, flatten, unflatten
from objbench.spec.resolve import resolve
from objbench.spec.settings import fields_of, parse
from objbench.train.batches import StageScenes
from objbench.train.checkpoint import load_weights, save_weights
from objbench.train.cuda_graph import CudaGraphStepper
from objbench.train.eager import EagerStepper
from objbench.train.evaluate import segment
from objbench.train.log import read_log
from objbench.train.loop import Training

IMAGES, BATCH, STEPS = 6, 2, 4
TOLERANCE = 1e-4
ROUNDING = 0.05  # how far a loss may be off in bfloat16, of itself or of 1


class ContractError(ObjbenchError):
    """A method breaks a promise of the contract; the message says which and how."""


def check_method(
    name: str,
    dataset: str,
    *,
    config: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    device: str | None = None,
) -> list[str]:
    """Check the method `METHOD[:VARIANT]` for `dataset` against the contract.

    It is trained for a few steps on a few random scenes of the dataset's size; no data needs to be prepared.

    Args:
        name: METHOD[:VARIANT].
        dataset: DATASET[@PROTOCOL].
        config: a yaml file of your own, laid over benchmarks.yaml.
        overrides: values by dotted keys, to make a large method small.
        device: a device to which the method is moved, as a further check; a CUDA device by default, if there is one.

    Returns:
        The names of the checks that passed.

    Raises:
        ContractError: the first broken promise.
    """
    kit = _Kit(name, dataset, config, dict(overrides or {}), device)
    passed = []
    for check in kit.checks():
        check()
        passed.append(check.__name__.removeprefix("check_"))
    return passed


def random_scenes(count: int, shape: tuple[int, int, int], seed: int = 0) -> Tensor:
    """uint8 (count,*shape): rectangles of one colour each on a plain background."""
    generator = torch.Generator().manual_seed(seed)
    channels, height, width = shape
    images = torch.empty(count, channels, height, width, dtype=torch.uint8)
    for image in images:
        image[:] = torch.randint(256, (channels, 1, 1), generator=generator)
        for _ in range(3):
            y, x = (int(torch.randint(side - side // 3, (), generator=generator)) for side in (height, width))
            color = torch.randint(256, (channels, 1, 1), generator=generator).to(torch.uint8)
            image[:, y : y + height // 3, x : x + width // 3] = color
    return images


def _demand(condition: bool, promise: str) -> None:
    if not condition:
        raise ContractError(promise)


class _Kit:
    def __init__(
        self, name: str, dataset: str, config: Path | None, overrides: dict[str, Any], device: str | None
    ) -> None:
        spec = load_spec(config)
        self.dataset = spec.dataset(dataset)
        self.device = device or ("cuda" if torch.cuda.is_available() else None)
        short = {
            "recipe.steps": STEPS,
            "recipe.batch_size": BATCH,
            "recipe.checkpoint_steps": STEPS // 2,
            "recipe.log_steps": 1,
            "recipe.evaluations": 2,
        }
        self.config = resolve(spec, name, self.dataset, short | overrides)
        batches = [stage.batch_size for stage in self.method().stages()]
        self.images = random_scenes(3 * max(batches, default=BATCH), self.dataset.spec.image_shape)
        self.keys = [f"{index:08d}" for index in range(len(self.images))]

    def checks(self) -> list[Callable[[], None]]:
        found = [
            self.check_settings,
            self.check_stages,
            self.check_segmentation,
            self.check_batch_size_does_not_matter,
            self.check_segment_changes_nothing,
            self.check_save_and_load,
            self.check_other_slots,
            self.check_bad_input,
        ]
        if self.method().stages():
            found += [self.check_losses, self.check_gradients, self.check_determinism, self.check_resume]
            if self.captured():
                found.append(self.check_captured_steps)
        if self.device:
            found.append(self.check_device_moves)
        return found

    def method(self) -> Method:
        torch.manual_seed(seed_from(0, "init"))
        return build(self.config, self.dataset)

    def segment(self, method: Method, part: slice = slice(None)) -> Segmentation:
        method.eval()
        images = self.images[part].to(_device_of(method)).float() / 255
        before = images.clone()
        found = segment(method, images, self.keys[part], seed=0)
        method.seed_images(None)
        _demand(torch.equal(images, before), "segment writes into its input")
        return found

    def train(self, folder: Path, method: Method | None = None) -> Method:
        method = method or self.method()
        Training(method, self.images.to(_device_of(method)), 0, folder, validate=self._validate).run()
        return method

    def _validate(self, method: Method, progress: Progress | None) -> Mapping[str, float]:
        training = method.training
        found = self.segment(method)
        method.train(training)
        return {"planes": float(found.prediction.max())}

    def check_settings(self) -> None:
        kind = method_class(self.config.method, self.config.implementation).Settings
        silent = [key for key, field in fields_of(kind) if not field.description]
        _demand(not silent, f"settings without a description: {', '.join(silent)}")
        for key in flatten(self.config.config):
            try:
                parse(kind, deep_merge(self.config.config, unflatten({key: [None]})))  # a value of no type
            except RequestError as error:
                _demand(key in str(error), f"the refusal of {key}=[None] does not name it: {error}")
            else:
                raise ContractError(f"{key}=[None] is not refused: give it a type in Settings")

    def check_stages(self) -> None:
        for stage in self.method().stages():
            _demand(isinstance(stage, Stage), f"stages() gave a {type(stage).__name__}, expected Stage")
            one = (stage.steps is None) != (stage.epochs is None)
            _demand(one, f"stage '{stage.name}' has to have either steps or epochs")
            _demand(stage.batch_size > 0, f"stage '{stage.name}' has batch size {stage.batch_size}")
        names = [stage.name for stage in self.method().stages()]
        _demand(len(set(names)) == len(names), f"stage names repeat: {names}")

    def check_segmentation(self) -> None:
        for count in (1, BATCH + 1):
            self._check_one(self.segment(self.method(), slice(count)), count)

    def _check_one(self, found: Segmentation, count: int) -> None:
        channels, height, width = self.dataset.spec.image_shape
        prediction = found.prediction
        _demand(
            tuple(prediction.shape) == (count, height, width),
            f"prediction of shape {tuple(prediction.shape)}",
        )
        if found.masks is not None:
            _demand(
                found.masks.is_floating_point(), f"masks are {found.masks.dtype}, expected floating point"
            )
            _demand(bool(found.masks.isfinite().all()), "masks are not finite")
            sums = found.masks.float().sum(1)
            near = bool((sums - 1).abs().max() < 1e-3)
            _demand(near or not found.partition, "masks do not sum to one although partition is True")
        planes = int(prediction.max()) + 1 if found.masks is None else found.masks.shape[1]
        _demand(int(prediction.min()) >= 0, "labels below 0")
        shapes = {
            "reconstruction": (found.reconstruction, (count, channels, height, width)),
            "components": (found.components, (count, planes, channels, height, width)),
        }
        for name, (value, shape) in shapes.items():
            if value is not None:
                fits = tuple(value.shape) == shape
                _demand(fits, f"{name} of shape {tuple(value.shape)}, expected {shape}")
                _demand(bool(value.isfinite().all()), f"{name} is not finite")
        for name, value, dims in (("slots", found.slots, 3), ("attention", found.attention, 4)):
            fits = value is None or (value.ndim == dims and len(value) == count)
            _demand(fits, f"{name} has to have {dims} axes, the images first")

    def check_batch_size_does_not_matter(self) -> None:
        method = self.method()
        whole = self.segment(method, slice(IMAGES))
        parts = [self.segment(method, slice(i, i + 1)) for i in range(IMAGES)]
        self._demand_equal(whole, parts, "segment depends on the batch: draw random numbers with self.normal")

    def _demand_equal(self, whole: Segmentation, parts: list[Segmentation], promise: str) -> None:
        if whole.masks is not None:
            masks = torch.cat([part.masks for part in parts if part.masks is not None]).to(whole.masks)
            gap = float((masks - whole.masks).abs().max())
            _demand(gap < TOLERANCE, f"{promise} (masks differ by {gap:.2g})")
        else:
            labels = torch.cat([part.prediction for part in parts]).to(whole.prediction.device)
            _demand(bool((labels == whole.prediction).all()), f"{promise} (labels differ)")

    def check_segment_changes_nothing(self) -> None:
        method = self.method()
        before = {name: _copy(value) for name, value in method.state_dict().items()}
        self.segment(method)
        changed = [name for name, value in method.state_dict().items() if not _same(value, before[name])]
        _demand(not changed, f"segment changes the state of the method: {', '.join(changed)}")
        left = [name for name, parameter in method.named_parameters() if parameter.grad is not None]
        _demand(not left, f"segment leaves gradients behind in {', '.join(left[:3])}")

    def check_save_and_load(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            trained = self.train(folder)
            sha256 = save_weights(trained, folder)
            torch.manual_seed(1)
            loaded = build(self.config, self.dataset)
            load_weights(loaded, folder, sha256)
        promise = "a method loaded from its weights does not segment as the saved one"
        self._demand_equal(self.segment(trained), [self.segment(loaded)], promise)

    def check_other_slots(self) -> None:
        one = self.method()
        if not one.any_slots:
            return
        more = build(replace(self.config, config=self.config.config | {"slots": one.slots + 2}), self.dataset)
        try:
            more.load_state_dict(one.state_dict())
        except RuntimeError as error:
            raise ContractError(f"any_slots is True, but its state depends on the slots: {error}") from None
        found = self.segment(more, slice(BATCH))
        planes = int(found.prediction.max()) + 1 if found.masks is None else found.masks.shape[1]
        fits = planes <= more.slots if found.masks is None else planes == more.slots
        _demand(fits, f"any_slots is True, but {planes} planes were given with slots={more.slots}")

    def check_bad_input(self) -> None:
        channels, height, width = self.dataset.spec.image_shape
        try:
            found = segment(
                self.method().eval(), torch.zeros(1, channels, height + 3, width + 1), ["00000000"], seed=0
            )
        except Exception:
            return  # any refusal will do
        fits = tuple(found.prediction.shape) == (1, height + 3, width + 1)
        _demand(fits, "images of another size are neither refused nor segmented at their size")

    def check_losses(self) -> None:
        method = self.method()
        stage = method.stages()[0]
        images = self.images[:BATCH].float() / 255
        with torch.no_grad():
            method.setup(images, stage)
        method.optimizers(stage)
        losses = method.training_loss(images, Progress(stage.name, 0, STEPS, 0, method.recipe.nominal_epochs))
        for name, value in {"total": losses.total, **losses.parts}.items():
            _demand(value.ndim == 0, f"loss '{name}' has shape {tuple(value.shape)}, expected a scalar")
            _demand(bool(value.isfinite()), f"loss '{name}' is {value.item()}")

    def check_gradients(self) -> None:
        method = self.method()
        reached: set[str] = set()
        for name, parameter in method.named_parameters():
            hook = functools.partial(_note_gradient, name=name, reached=reached)
            parameter.register_post_accumulate_grad_hook(hook)  # type: ignore[no-untyped-call]
        with tempfile.TemporaryDirectory() as folder:
            self.train(Path(folder), method)
        missing = {name for name, _ in method.named_parameters()} - reached - set(method.frozen)
        promise = f"no gradient ever reaches {', '.join(sorted(missing)[:5])}: list them in `frozen` if that is meant"
        _demand(not missing, promise)
        both = sorted(reached & set(method.frozen))
        _demand(not both, f"listed as frozen, yet a gradient arrives: {', '.join(both)}")

    def check_determinism(self) -> None:
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
            first, second = self.train(Path(one)), self.train(Path(two))
            self._demand_same_run(first, second, Path(one), Path(two), "two equal trainings differ")

    def check_resume(self) -> None:
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
            whole = self.train(Path(one))
            broken = Training(self.method(), self.images, 0, Path(two), validate=self._validate)
            with contextlib.suppress(_Stopped):
                broken.run(_stop_after(STEPS // 2 + 1))
            resumed = self.train(Path(two))
            self._demand_same_run(
                whole, resumed, Path(one), Path(two), "a resumed training differs from a whole one"
            )

    def _demand_same_run(
        self, one: Method, two: Method, folder_one: Path, folder_two: Path, promise: str
    ) -> None:
        state = two.state_dict()
        differs = [name for name, value in one.state_dict().items() if not _same(value, state[name])]
        _demand(not differs, f"{promise}: {', '.join(differs[:5])}")
        logs = [read_log(folder_one), read_log(folder_two)]
        _demand(logs[0] == logs[1], f"{promise}: the logged losses or metrics")

    def captured(self) -> bool:
        """Whether the method lets its steps be captured."""
        method = self.method()
        scenes = StageScenes(self.images, method.stages()[0], method.recipe.nominal_epochs, seed=0)
        return method.capture_key(scenes.progress(0)) is not None

    def check_captured_steps(self) -> None:
        (plain, _), (captured, _) = (self._steps(kind, "fp32") for kind in (EagerStepper, CudaGraphStepper))
        gaps = {name: float((value - captured[name]).abs().max()) for name, value in plain.items()}
        worst = max(gaps, key=gaps.__getitem__)
        promise = f"captured steps differ from plain ones, by {gaps[worst]:.2g} in {worst}: does capture_key tell all?"
        _demand(gaps[worst] < TOLERANCE, promise)
        (_, plain_loss), (_, loss) = (self._steps(kind, "bf16") for kind in (EagerStepper, CudaGraphStepper))
        near = abs(loss - plain_loss) <= ROUNDING * max(abs(plain_loss), 1.0)
        _demand(near, f"a captured step in bf16 has the loss {loss:.4g}, a plain one {plain_loss:.4g}")

    def _steps(
        self, kind: type[EagerStepper | CudaGraphStepper], precision: Precision
    ) -> tuple[dict[str, Tensor], float]:
        """The floating-point state after a few steps of the first stage, and the loss of the first."""
        method = self.method().to(self.device or "cpu")
        stage = replace(method.stages()[0], precision=precision)
        scenes = StageScenes(self.images.to(_device_of(method)), stage, method.recipe.nominal_epochs, seed=0)
        with torch.no_grad():
            method.setup(scenes.setup_sample(), stage)
        stepper = kind(method, scenes, stage)
        stepper.advance(1)
        loss = stepper.losses()["total"]
        stepper.advance(min(STEPS, scenes.steps) - 1)
        return {name: value for name, value in method.state_dict().items() if _is_float(value)}, loss

    def check_device_moves(self) -> None:
        method = self.method()
        here = self.segment(method)
        there = self.segment(method.to(self.device))
        self._demand_equal(here, [there], f"the method segments differently on {self.device}")
        if method.stages():
            with tempfile.TemporaryDirectory() as folder:
                self.train(Path(folder), method)


def _device_of(method: Method) -> torch.device:
    return next((t.device for t in [*method.parameters(), *method.buffers()]), torch.device("cpu"))


class _Stopped(Exception):  # noqa: N818
    """Ends a training in the middle, as a kill would."""


def _stop_after(steps: int) -> Callable[..., None]:
    done = 0

    def advance(amount: int = 1, note: str = "", resumed: int = 0) -> None:
        nonlocal done
        done += amount
        if done >= steps:
            raise _Stopped

    return advance


def _note_gradient(parameter: Tensor, name: str, reached: set[str]) -> None:
    if parameter.grad is not None and bool((parameter.grad != 0).any()):
        reached.add(name)


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def _is_float(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _same(one: Any, two: Any) -> bool:
    return torch.equal(one, two) if isinstance(one, Tensor) and isinstance(two, Tensor) else bool(one == two)
