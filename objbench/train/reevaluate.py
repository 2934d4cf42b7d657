"""Evaluate a finished run on another dataset and add the scores to its record."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from objbench.data.read.scenes import Scenes
from objbench.errors import ObjbenchError, RequestError
from objbench.methods.base import Method
from objbench.methods.create import build, method_class
from objbench.methods.plain_file import copy_of_run
from objbench.progress import bar
from objbench.random import seed_from
from objbench.records import RECORD, Record, Run, read_run
from objbench.registry import DEFAULT_DEFINITION
from objbench.scores import ScoreKey
from objbench.spec.datasets import TEST, DatasetRef
from objbench.spec.resolve import MethodConfig, whole_config
from objbench.spec.schema import Spec
from objbench.train.artifacts import read_per_image, read_samples, write_per_image, write_samples
from objbench.train.batches import setup_sample
from objbench.train.checkpoint import load_weights
from objbench.train.environment import Environment
from objbench.train.evaluate import N_SAMPLES, evaluate
from objbench.train.run_data import repeated, scored
from objbench.train.run_folder import CONFIG, lock_run, read_config


def reevaluate(
    folder: Path,
    scenes: Scenes,
    spec: Spec,
    definition: str = DEFAULT_DEFINITION,
    slots: int | None = None,
) -> tuple[str, Record]:
    """Score the run in `folder` on `scenes`.

    Args:
        folder: Of a finished run.
        scenes: The scenes, all of a split.
        spec: The benchmarks.
        definition: Definition of the metrics.
        slots: Number of slots to evaluate with; None for the number that the run was trained with.

    Returns:
        The key of the scores in the record (see `ScoreKey`), and the record. The run's own test split is known by its
        fingerprint. Alternative masks are scored under the same key with their name.

    Raises:
        RequestError: The images have another size than the training images, the method cannot be evaluated with that
            number of slots, or its class is not the one that was trained.
    """
    with lock_run(folder):
        record = read_run(folder)
        if slots == record.slots:
            slots = None
        method = load_run(folder, record, spec, slots)
        refuse_other_size(folder, method, scenes)
        per_image, samples = read_per_image(folder, record.metrics), read_samples(folder)
        method.to(scenes.images.device)
        key = ScoreKey(split_key(record, scenes, spec), slots, None, definition)
        with bar(f"evaluating on {key.text}", len(scenes), "images") as advance:
            size = method.recipe.evaluation_batch_size
            found = evaluate(
                method, scenes, record.seed, size, n_samples=N_SAMPLES, advance=advance, definition=definition
            )
        evaluations = found.by_key(key)
        now = Environment.now(scenes.images.device)
        for name, evaluation in evaluations.items():
            about = {"slots": slots, "repeated": repeated(scenes, record.fingerprint)}
            scores = evaluation.for_record.model_copy(update=about)
            on = scored(scenes, definition)
            record = record.with_scores(name, scores, on, now.code_version, now.torch_version)
        per_image |= {name: evaluation.per_image for name, evaluation in evaluations.items()}
        write_per_image(folder, per_image)
        write_samples(folder, samples | {key.samples: found.samples})
        record.save(folder)
    return key.text, record


def load_run(folder: Path, record: Run, spec: Spec, slots: int | None = None) -> Method:
    """The trained method of a finished run, on the CPU. One from a plain file is that of the copy in its folder.

    Args:
        folder: Of the run.
        record: Its record.
        spec: The benchmarks.
        slots: Number of slots; None for the number that the run was trained with.

    Raises:
        RequestError: The method cannot have that number of slots, or its class is not the one that was trained.
        ObjbenchError: A file of the run is missing or damaged.
    """
    method = _built(folder, record, spec, slots)
    load_weights(method, folder, record.weights_sha256)
    return method


def untrained_run(folder: Path, record: Run, spec: Spec, images: Tensor) -> Method:
    """The method of a finished run as its training began: with its first weights, on the CPU.

    Args:
        folder: Of the run.
        record: Its record.
        spec: The benchmarks.
        images: uint8 (N,3,H,W), the images that it was trained on, which the first weights may depend on.

    Raises:
        RequestError: Its class is not the one that was trained.
        ObjbenchError: A file of the run is missing or damaged.
    """
    torch.manual_seed(seed_from(record.seed, "init"))
    method = _built(folder, record, spec)
    for stage in method.stages()[:1]:
        with torch.no_grad():
            method.setup(setup_sample(images, record.seed, stage).cpu(), stage)
    return method


def dataset_of(folder: Path, record: Run, spec: Spec) -> DatasetRef:
    """The dataset and protocol that the run in `folder` was trained on.

    Raises:
        RequestError: `spec` does not have them.
    """
    with _known_names(folder):
        return spec.dataset(record.dataset_ref)


@contextmanager
def _known_names(folder: Path) -> Iterator[None]:
    """Say which record has a name that benchmarks.yaml does not have."""
    try:
        yield
    except RequestError as error:
        raise RequestError(
            f"{folder / RECORD}: {error}; what you declared yourself is found with --data (a dataset's folder) or --config"
        ) from None


def _built(folder: Path, record: Run, spec: Spec, slots: int | None = None) -> Method:
    """The method of a finished run, with whatever weights it begins with."""
    run_config, dataset = read_config(folder), dataset_of(folder, record, spec)
    found = run_config.get("config")
    if not isinstance(found, dict) or not isinstance(found.get("recipe"), dict):
        raise ObjbenchError(
            f"{folder / CONFIG}: damaged (no config with a recipe in it); run the seed again with --fresh"
        )
    trained = str(run_config.get("implementation"))
    written = MethodConfig(record.method, record.variant, record.overrides, found, trained)
    if written.hash != record.config_hash:
        raise ObjbenchError(
            f"{folder / CONFIG}: not the configuration of this record (its sha256 is not {record.config_hash[:12]}...); "
            "run the seed again with --fresh"
        )
    file = copy_of_run(folder, trained)
    if file is not None:
        file.load()
    with _known_names(folder):
        implementation = spec.method_class(record.method) if file is None else file.implementation
    _refuse_changed_size(folder, record, dataset)
    if trained != implementation:
        raise RequestError(
            f"{folder} was trained with the class {trained}, but methods.{record.method} names {implementation} now; "
            f"set methods.{record.method}.class back, with --config"
        )
    config = whole_config(spec, found)
    if slots is not None:
        _refuse_fixed_slots(folder, record, implementation, slots)
        config["slots"] = slots
    resolved = MethodConfig(record.method, record.variant, record.overrides, config, implementation)
    try:
        return build(resolved, dataset)
    except RequestError as error:
        if slots is not None:
            raise
        raise ObjbenchError(
            f"{folder / CONFIG}: damaged or of another version ({error}); run the seed again with --fresh"
        ) from error


def _refuse_changed_size(folder: Path, record: Run, dataset: DatasetRef) -> None:
    """Raise RequestError if the dataset's block has another height or width than the images of the training."""
    on, spec = record.scored[TEST], dataset.spec
    if (on.height, on.width) != (spec.height, spec.width):
        raise RequestError(
            f"{folder} was trained on images of {on.height}x{on.width}, but {dataset} is of {spec.height}x{spec.width} "
            "in benchmarks.yaml and the layers over it now; set height and width back, with --config"
        )


def _refuse_fixed_slots(folder: Path, record: Run, implementation: str, slots: int) -> None:
    if not method_class(record.method, implementation).any_slots:
        raise RequestError(
            f"--slots {slots}: {folder} was trained with {record.slots} slots, and {record.method} cannot segment with "
            f"another number: {implementation} does not declare any_slots, as a method with parameters or masks that "
            "do not depend on the number of slots does"
        )


def split_key(record: Record, scenes: Scenes, spec: Spec) -> str:
    """The key of scores on `scenes` in a record: "test", the id of an also_test set, or `DATASET/SOURCE[:SPLIT]`.

    Another dataset may have the very test split of the run's own, and has a key of its own.
    """
    on = scored(scenes)
    if on.source == record.source and on.split == TEST:
        own = scenes.spec.place(on.source) == record.place
        if own and on.fingerprint == record.scored[TEST].fingerprint:
            return TEST
        if str(scenes.spec) in spec.dataset(record.dataset_ref).spec.also_test:
            return str(scenes.spec)
    return f"{scenes.spec}/{on.source}" + ("" if on.split == TEST else f":{on.split}")


def refuse_other_size(folder: Path, method: Method, scenes: Scenes) -> None:
    """Raise RequestError if the scenes have another height or width than the images of the training."""
    size = tuple(scenes.images.shape[1:])
    if size != tuple(method.image_shape):
        expected = "x".join(map(str, method.image_shape[1:]))
        found = "x".join(map(str, size[1:]))
        raise RequestError(f"{folder} was trained on images of {expected}, {scenes.spec} has {found}")
