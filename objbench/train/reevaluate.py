"""Evaluate a finished run on another dataset and add the scores to its record."""

from __future__ import annotations

from pathlib import Path

from objbench.data.read.scenes import Scenes
from objbench.errors import ObjbenchError, RequestError
from objbench.methods.base import Method
from objbench.methods.create import build
from objbench.progress import bar
from objbench.records import Record, Run, read_record
from objbench.registry import DEFAULT_DEFINITION
from objbench.spec.datasets import TEST
from objbench.spec.resolve import MethodConfig, whole_config
from objbench.spec.schema import Spec
from objbench.train.artifacts import read_per_image, read_samples, samples_key, write_per_image, write_samples
from objbench.train.checkpoint import load_weights
from objbench.train.evaluate import N_SAMPLES, evaluate
from objbench.train.run_data import definition_suffix, scored
from objbench.train.run_folder import CONFIG, lock_run, read_config


def reevaluate(
    folder: Path, scenes: Scenes, spec: Spec, definition: str = DEFAULT_DEFINITION
) -> tuple[str, Record]:
    """Score the run in `folder` on `scenes`.

    Returns:
        The key of the scores in the record, and the record. The key is "test" for the run's own test split (by its
        fingerprint), the id of an also_test dataset of the run's source, otherwise
        `DATASET[@PROTOCOL]/SOURCE[:SPLIT]`; followed by `#DEFINITION` unless that is the default one.

    Raises:
        RequestError: The images have another size than the training images.
    """
    with lock_run(folder):
        record = read_record(folder)
        method = load_run(folder, record, spec)
        _refuse_other_size(folder, method, scenes)
        method.to(scenes.images.device)
        key = evaluation_key(record, scenes, spec, definition)
        with bar(f"evaluating on {key}", len(scenes), "images") as advance:
            size = method.recipe.evaluation_batch_size
            found = evaluate(method, scenes, record.seed, size, None, N_SAMPLES, advance, definition)
        record = record.with_scores(key, found.for_record, scored(scenes, definition))
        write_per_image(folder, read_per_image(folder, record.metrics) | {key: found.per_image})
        write_samples(folder, read_samples(folder) | {samples_key(key): found.samples})
        record.save(folder)
    return key, record


def load_run(folder: Path, record: Record, spec: Spec) -> Method:
    """The trained method of a finished run, on the CPU."""
    found = read_config(folder).get("config")
    if not isinstance(found, dict):
        raise ObjbenchError(f"{folder / CONFIG}: damaged (no config in it); run the seed again with --fresh")
    config = whole_config(spec, found)
    implementation = spec.method_class(record.method)
    resolved = MethodConfig(record.method, record.variant, record.overrides, config, implementation)
    try:
        method = build(resolved, spec.dataset(record.dataset_ref))
    except RequestError as error:
        raise ObjbenchError(
            f"{folder / CONFIG}: damaged or of another version ({error}); run the seed again with --fresh"
        ) from error
    load_weights(method, folder, record.weights_sha256 if isinstance(record, Run) else None)
    return method


def evaluation_key(record: Record, scenes: Scenes, spec: Spec, definition: str = DEFAULT_DEFINITION) -> str:
    """The key in the record of the scores on `scenes`."""
    return _split_key(record, scenes, spec) + definition_suffix(definition)


def _split_key(record: Record, scenes: Scenes, spec: Spec) -> str:
    on = scored(scenes)
    if on.source == record.source and on.split == TEST:
        if on.fingerprint == record.scored[TEST].fingerprint:
            return TEST
        if str(scenes.spec) in spec.dataset(record.dataset_ref).spec.also_test:
            return str(scenes.spec)
    return f"{scenes.spec}/{on.source}" + ("" if on.split == TEST else f":{on.split}")


def _refuse_other_size(folder: Path, method: Method, scenes: Scenes) -> None:
    size = tuple(scenes.images.shape[1:])
    if size != tuple(method.image_shape):
        expected = "x".join(map(str, method.image_shape[1:]))
        found = "x".join(map(str, size[1:]))
        raise RequestError(f"{folder} was trained on images of {expected}, {scenes.spec} has {found}")
