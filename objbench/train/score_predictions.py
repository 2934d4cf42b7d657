"""Score predictions that were made outside objbench, and save a record like that of a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from objbench.data.read.scenes import Scenes
from objbench.data.scene import Array
from objbench.errors import ObjbenchError
from objbench.files import replacing, write_atomically
from objbench.methods.base import Segmentation
from objbench.metrics import Evaluator
from objbench.predictions import Batch, Predictions, Target
from objbench.progress import Advance, Say, bar
from objbench.records import External, Record
from objbench.registry import DEFAULT_DEFINITION
from objbench.scores import ScoreKey
from objbench.spec.datasets import TEST
from objbench.stored import utc_now
from objbench.train.artifacts import (
    PER_IMAGE,
    SAMPLE_SHEET,
    SAMPLES,
    read_per_image,
    read_samples,
    write_per_image,
    write_samples,
)
from objbench.train.environment import Environment
from objbench.train.evaluate import N_SAMPLES, Evaluation, Samples, count_crowded
from objbench.train.predictions_folder import (
    external_config,
    external_folder,
    kept_statement,
    read_external,
    read_external_config,
    refuse_other_predictions,
    tell_other_statements,
)
from objbench.train.run_data import scored
from objbench.train.run_folder import CONFIG, empty, lock_run
from objbench.viz import sample_sheet

_Kept = dict[str, dict[str, Array]]  # evaluation -> name -> values
_SOFT_RANGE = (-0.1, 1.1)  # masks outside of it are logits, which cannot be drawn


def score_predictions(
    predictions: Predictions,
    scenes: Scenes,
    runs: Path,
    name: str,
    *,
    seed: int = 0,
    definition: str = DEFAULT_DEFINITION,
    trained_on: str | None = None,
    fresh: bool = False,
    say: Say = print,
) -> tuple[Path, str, Record]:
    """Score `predictions` of all `scenes`.

    One record holds all splits and definitions of one name and seed. Predictions that were scored before are not
    scored again unless `fresh` is set.

    Args:
        predictions: The predictions.
        scenes: The scenes, all of a split.
        runs: The folder of the runs.
        name: Name of the record.
        seed: Seed of the record.
        definition: Definition of the metrics.
        trained_on: The `DATASET@PROTOCOL/SOURCE` whose train split, and nothing else, the model behind the predictions
            learned from; None if that is not known. It can be said of a record that does not say it yet.
        fresh: Score again; delete the record first if it is of other predictions. What they were trained on is then what
            `trained_on` says, None included.
        say: Called with messages for the user.

    Returns:
        The folder of the record, the key of the scores in it (see `ScoreKey`), and the record.

    Raises:
        RequestError: The record is of other predictions, or says that they were trained on something else, and `fresh` is
            not set.
        ObjbenchError: The predictions do not fit the scenes.
    """
    split, target = ScoreKey(_where(scenes)), target_of(scenes)
    key = split._replace(definition=definition).text
    predictions.check(target)
    claimed = predictions.identity() | {"fingerprint": scored(scenes).fingerprint}
    folder = external_folder(runs, scenes, name, seed)
    with lock_run(folder):
        try:
            config = read_external_config(folder)
            known = read_external(folder)
            if known is not None:
                refuse_other_predictions(folder, known, config, split, claimed)
        except ObjbenchError:
            if not fresh:
                raise
            config, known = {}, None
        said = None if known is None else known.trained_on
        if not fresh:
            trained_on = kept_statement(folder, said, trained_on)
        if known is not None and trained_on != said:
            say(f"now said to be trained on {trained_on or 'what is not known'}, by all scores in {folder}")
            known = known.model_copy(update={"trained_on": trained_on})
        tell_other_statements(folder, trained_on, say)
        if known is not None and key in known.metrics and not fresh:
            say(f"{key}: scored before; --fresh scores it again")
            if trained_on != said:
                known.save(folder)
            return folder, key, known
        with bar(f"evaluating on {key}", len(scenes), "images") as advance:
            found = _evaluate(predictions, scenes, target, definition, advance)
        config = external_config(scenes, name, seed) | {
            "predictions": config.get("predictions", {}) | {key: claimed}
        }
        record = _record(known, scenes, name, seed, key, definition, found, trained_on)
        if known is None:
            empty(folder)
        write_atomically(folder / CONFIG, json.dumps(config, indent=1) + "\n")
        samples = _others(folder / SAMPLES, lambda: read_samples(folder), fresh, say)
        write_samples(folder, samples | {split.samples: found.samples})
        per_image = _others(folder / PER_IMAGE, lambda: read_per_image(folder, record.metrics), fresh, say)
        write_per_image(folder, per_image | {key: found.per_image})
        if scenes.split == TEST or not (folder / SAMPLE_SHEET).exists():
            with replacing(folder / SAMPLE_SHEET) as partial:
                sample_sheet(found.samples).save(partial, "PNG")
        record.save(folder)  # last: with it, nothing is made again
    return folder, key, record


def _others(path: Path, read: Callable[[], _Kept], fresh: bool, say: Say) -> _Kept:
    """What `read` finds in a file on the images of other evaluations; with `fresh`, a damaged one is told and given up."""
    try:
        return read()
    except ObjbenchError:
        if not fresh:
            raise
        say(
            f"{path}: damaged; written anew without the images of what else is scored in there, which evaluate --fresh brings back"
        )
        return {}


def target_of(scenes: Scenes) -> Target:
    """The images that predictions of `scenes` must match."""
    height, width = scenes.masks.shape[1:]
    return Target(f"{scenes.spec} {scenes.split}", scenes.keys, (height, width))


def _evaluate(
    predictions: Predictions, scenes: Scenes, target: Target, definition: str, advance: Advance
) -> Evaluation:
    evaluator, samples, rows, crowded = Evaluator(definition), _FirstImages(), list[int](), 0
    for batch in predictions.batches(target, scenes.images.device):
        at = torch.tensor(batch.rows, device=scenes.images.device)
        images, masks = scenes.images[at], scenes.masks[at]
        keys = [scenes.keys[row] for row in batch.rows]
        evaluator.update(batch.labels, masks, reconstruction=batch.reconstruction, images=images, keys=keys)
        samples.keep(batch)
        if batch.planes is not None:
            crowded += count_crowded(masks, batch.planes.shape[1])
        rows += batch.rows
        advance(len(batch.rows))
    order = np.argsort(rows)
    per_image = {metric: values[order] for metric, values in evaluator.per_image().items()}
    return Evaluation(evaluator.compute(), per_image, samples.arrays(scenes), crowded)


class _FirstImages:
    """Collects the predictions of the first images of the split, in whatever order predictions are read."""

    def __init__(self) -> None:
        self._found: dict[int, Batch] = {}

    def keep(self, batch: Batch) -> None:
        for i, row in enumerate(batch.rows):
            if row < N_SAMPLES:
                parts = (batch.labels, batch.planes, batch.reconstruction)
                labels, planes, reconstruction = (
                    None if part is None else part[i : i + 1].cpu() for part in parts
                )
                assert labels is not None
                self._found[row] = Batch([row], labels, planes, reconstruction)

    def arrays(self, scenes: Scenes) -> dict[str, Array]:
        rows = sorted(self._found)
        found = [self._found[row] for row in rows]
        planes = [batch.planes for batch in found if batch.planes is not None]
        reconstructions = [batch.reconstruction for batch in found if batch.reconstruction is not None]
        soft = torch.cat(planes).float() if planes else None
        low, high = (0.0, 0.0) if soft is None else (float(extreme) for extreme in soft.aminmax())
        if not _SOFT_RANGE[0] <= low <= high <= _SOFT_RANGE[1]:
            soft = None
        segmentation = Segmentation(
            masks=soft,
            labels=torch.cat([batch.labels for batch in found]),  # as scored: pixels may be of no plane
            reconstruction=torch.cat(reconstructions) if reconstructions else None,
        )
        samples = Samples(N_SAMPLES)
        part = slice(len(rows))
        samples.keep(scenes.images[part], scenes.masks[part], scenes.keys[part], segmentation)
        return samples.arrays()


def _where(scenes: Scenes) -> str:
    return TEST if scenes.split == TEST else f"{scenes.spec}/{scored(scenes).source}:{scenes.split}"


def _record(
    known: External | None,
    scenes: Scenes,
    name: str,
    seed: int,
    key: str,
    definition: str,
    found: Evaluation,
    trained_on: str | None,
) -> External:
    on = scored(scenes, definition)
    scores, now = found.for_record, Environment.now(scenes.images.device)
    if known is not None:
        return known.with_scores(key, scores, on, now.code_version, now.torch_version)
    return External(
        dataset=on.dataset,
        protocol=on.protocol,
        source=on.source,
        method=name,
        seed=seed,
        trained_on=trained_on,
        **now._asdict(),
        date=utc_now(),
        metrics={key: scores},
        scored={key: on},
    )
