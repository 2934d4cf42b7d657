"""A run from its configuration to its record: train one seed, evaluate it, save everything."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch

from objbench.device import peak_memory, reset_peak_memory
from objbench.errors import ObjbenchError, is_out_of_memory
from objbench.files import replacing
from objbench.methods.base import Method, Progress
from objbench.methods.create import build
from objbench.methods.plain_file import is_from_file
from objbench.metrics.definitions import metrics_of
from objbench.one_line import LESS_MEMORY_OF_A_RUN, in_a_line, no_exit
from objbench.progress import Say, bar
from objbench.random import seed_from
from objbench.ranks.group import ALONE, Ranks
from objbench.records import Record, Run, read_record
from objbench.registry import DEFAULT_DEFINITION
from objbench.scores import ScoreKey
from objbench.spec.datasets import TEST
from objbench.spec.resolve import MethodConfig
from objbench.spec.schema import Spec
from objbench.stored import utc_now
from objbench.train.artifacts import SAMPLE_SHEET, write_per_image, write_samples
from objbench.train.batches import StageScenes
from objbench.train.checkpoint import save_weights
from objbench.train.environment import Environment, joined
from objbench.train.evaluate import N_SAMPLES, Evaluation, evaluate
from objbench.train.heap import keep_freed_memory
from objbench.train.interrupt import Interrupts
from objbench.train.keep import keep_predictions
from objbench.train.log import Log, NoLog
from objbench.train.loggers import Loggers
from objbench.train.loop import Training, TrainingCost
from objbench.train.run_data import RunData, repeated, scored
from objbench.train.run_folder import claim, is_finished, lock_run, seed_folder
from objbench.train.run_state import Reporter, reporting
from objbench.train.utilisation import stated_peak
from objbench.viz import sample_sheet

_NOTED = 2  # scores in the progress bar of a training


def run_seed(
    spec: Spec,
    method: MethodConfig,
    data: RunData,
    seed: int,
    runs: Path,
    *,
    fresh: bool = False,
    log: Sequence[str] = (),
    say: Say = print,
    interrupts: Interrupts | None = None,
    keep: bool = False,
    ranks: Ranks = ALONE,
) -> tuple[Path, Record]:
    """Train and evaluate one seed. An interrupted run is resumed, a finished one only read.

    With `keep`, its predictions for the test split are written beside its record. The loggers named by `log` get what
    the log gets, the scores and pictures. Several `ranks` share the work; the first of them owns the folder, the others
    write nothing.

    Returns:
        The folder of the run and its record.

    Raises:
        RequestError: The folder holds a run of another configuration, and `fresh` is not set; or the processes have
            different configurations.
        LockedError: Another process is at work on this seed.
        ObjbenchError: The training failed.
        Interrupted: A signal of `interrupts` asked to stop.
    """
    stated_peak()  # refuses a wrong one before anything is made or deleted
    interrupts = interrupts or Interrupts()
    folder = seed_folder(runs, str(data.dataset), data.source, method.label, seed)
    config = run_config(method, data, seed)
    if ranks.several:
        ranks.refuse_difference(config | _versions(data.device))

    def finished_before() -> Record:
        record = ranks.on_first(lambda: read_record(folder))
        say(f"seed {seed}: finished before, by objbench {record.code_version}; --fresh runs it again")
        return record

    if not fresh and not keep and ranks.on_first(lambda: is_finished(folder, config)):
        return folder, finished_before()  # without a lock: the disk may be for reading only
    with interrupts.training(f"seed {seed}"), ranks.held_by_first(lock_run(folder, interrupts.lose)):
        if fresh:
            ranks.all_do(lambda: _refuse_before_deleting(method, data, seed, ranks))
        finished = ranks.on_first(lambda: claim(folder, config, fresh))
        if finished:
            record = finished_before()
        try:
            if not finished:
                with (
                    reporting(folder) if ranks.first else nullcontext() as reporter,
                    Loggers(log if ranks.first else (), folder, config, say) as loggers,
                    no_exit(),
                ):
                    record = _run(
                        _Job(spec, method, data, seed, folder, loggers, interrupts, reporter, ranks)
                    )
            if keep:
                assert isinstance(record, Run)
                run = record
                ranks.on_first(lambda: keep_predictions(folder, run, method, data))
            return folder, record
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise ObjbenchError(f"{folder}: {in_a_line(error, LESS_MEMORY_OF_A_RUN)}") from error


def _refuse_before_deleting(method: MethodConfig, data: RunData, seed: int, ranks: Ranks) -> None:
    """Raise the error of data that cannot be read, or of batches that cannot be made of them."""
    model = build(method, data.dataset)
    for stage in model.stages():
        StageScenes(data.train.images, stage, model.recipe.nominal_epochs, seed, ranks)
    _ = data.tests, data.val


def run_config(method: MethodConfig, data: RunData, seed: int) -> dict[str, Any]:
    """The content of config.json: everything that can change the result of a run."""
    return {
        "dataset": data.dataset.name,
        "protocol": data.dataset.protocol,
        "source": data.source,
        "fingerprints": {name: data.fingerprints[name] for name in sorted(data.fingerprints)},
        "method": method.method,
        "variant": method.variant,
        "implementation": method.implementation,
        "overrides": method.overrides,
        "config": method.identity,
        "seed": seed,
    }


def _versions(device: torch.device) -> dict[str, Any]:
    """What all processes of a run must have in common besides its configuration: of GPUs the model, too."""
    now = Environment.now(device)
    where = now.device if device.type == "cuda" else device.type
    return {"objbench": now.code_version, "torch": now.torch_version, "device": where}


class _Job(NamedTuple):
    """One seed that is to be trained and evaluated, who is told of it, and the processes that do it."""

    spec: Spec
    method: MethodConfig
    data: RunData
    seed: int
    folder: Path
    loggers: Loggers
    interrupts: Interrupts
    reporter: Reporter | None
    ranks: Ranks


def _run(job: _Job) -> Run:
    start = time.perf_counter()
    method, data, seed = job.method, job.data, job.seed
    device = data.device
    metrics_of(DEFAULT_DEFINITION)  # refuses a plugin's before the training
    if device.type == "cpu":
        keep_freed_memory()
    reset_peak_memory(device)
    torch.manual_seed(seed_from(seed, "init"))
    model = build(method, data.dataset).to(device)
    trained = _train(model, job)
    job.interrupts.refuse_if_lost()
    weights_sha256 = job.ranks.on_first(lambda: save_weights(model, job.folder))
    tests = _test(model, data, seed, job.ranks)

    def finish() -> Run:
        seconds = trained.earlier + time.perf_counter() - start
        return _finish(job, model, trained, tests, seconds, weights_sha256)

    return job.ranks.on_first(finish)


def _finish(
    job: _Job,
    model: Method,
    trained: TrainingCost,
    tests: dict[str, Evaluation],
    seconds: float,
    weights_sha256: str,
) -> Run:
    """Write everything that is left of a run, at last its record."""
    method, data, folder = job.method, job.data, job.folder
    by_test = {name: test.by_key(ScoreKey(name)) for name, test in tests.items()}
    evaluations = {key: found for by_key in by_test.values() for key, found in by_key.items()}
    scenes = {key: data.tests[name] for name, by_key in by_test.items() for key in by_key}
    train = data.fingerprints["train"]
    write_per_image(folder, {key: found.per_image for key, found in evaluations.items()})
    write_samples(folder, {name: found.samples for name, found in tests.items()})
    with replacing(folder / SAMPLE_SHEET) as partial:
        sample_sheet(tests[TEST].samples).save(partial, "PNG")
    guided = model.follows_val() and data.val is not None and bool(model.recipe.evaluations) and trained.steps
    record = Run(
        dataset=data.dataset.name,
        protocol=data.dataset.protocol,
        source=data.source,
        fingerprint=train,
        n_train=data.manifest.splits["train"].count,
        method=method.method,
        variant=method.variant,
        overrides=method.overrides,
        seed=job.seed,
        config_hash=method.hash,
        implementation=method.implementation if is_from_file(method.implementation) else None,
        slots=model.slots,
        val_fingerprint=data.fingerprints["val"] if guided else None,
        **joined(trained.environments)._asdict(),
        processes=job.ranks.size if job.ranks.several else None,
        date=utc_now(),
        steps=trained.steps,
        train_seconds=trained.seconds,
        wall_seconds=seconds,
        images_per_second=trained.images / trained.seconds if trained.seconds else None,
        peak_memory_bytes=peak_memory(data.device),
        parameters=sum(p.numel() for p in model.parameters()),
        weights_sha256=weights_sha256,
        metrics={
            key: found.for_record.model_copy(update={"repeated": repeated(scenes[key], train)})
            for key, found in evaluations.items()
        },
        scored={key: scored(tested) for key, tested in scenes.items()},
    )
    job.interrupts.refuse_if_lost()
    means = {key: found.means for key, found in evaluations.items()}
    job.loggers.end(trained.steps, means, tests[TEST].samples)
    record.save(folder)
    return record


def _train(model: Method, job: _Job) -> TrainingCost:
    recipe, data, seed, ranks = model.recipe, job.data, job.seed, job.ranks
    val = data.val
    if val is not None and recipe.evaluation_images is not None:
        val = val.select(slice(recipe.evaluation_images))

    def validate(model: Method, progress: Progress | None) -> Mapping[str, float]:
        assert val is not None
        size = recipe.evaluation_batch_size
        found = evaluate(
            model, val, seed, size, progress=progress, n_samples=job.loggers.n_samples, ranks=ranks
        )
        job.loggers.picture(found.samples)
        return found.means

    log = ranks.all_do(lambda: Log(job.folder, job.loggers) if ranks.first else NoLog())
    if not model.stages():
        job.loggers.begin()
        return TrainingCost(0, 0.0, 0.0, 0, [Environment.now(data.device, ranks.size)])
    noted = dict(islice(job.spec.columns().items(), _NOTED))
    training = Training(
        model,
        data.train.images,
        seed,
        job.folder,
        validate if val is not None else None,
        log=log,
        noted=noted,
        interrupts=job.interrupts,
        ranks=ranks,
    )
    with bar(f"{job.method.label} seed {seed}", training.total, "steps") as advance:
        if job.reporter is None:
            return training.run(advance)
        job.reporter.begin(training.total)
        return training.run(job.reporter.watching(advance))


def _test(model: Method, data: RunData, seed: int, ranks: Ranks) -> dict[str, Evaluation]:
    found = {}
    for name, scenes in data.tests.items():
        with bar(f"evaluating on {name}", len(scenes), "images") as advance:
            size = model.recipe.evaluation_batch_size
            found[name] = evaluate(
                model, scenes, seed, size, n_samples=N_SAMPLES, advance=advance, ranks=ranks
            )
    return found
