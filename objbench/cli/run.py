"""objbench run: train and evaluate a method over seeds."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Annotated, Any

import typer

from objbench.cli.common import Context, explain, over_images, print_json, say, sizes_of, verb
from objbench.cli.options import (
    DeviceName,
    PreparedDataset,
    PreparedSource,
    TestSize,
    TrainSize,
    ValSize,
    complete_method,
)
from objbench.errors import ObjbenchError, RequestError, unknown_name
from objbench.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from objbench.records import Record
    from objbench.spec.schema import Spec

_MOST_SEEDS = 10_000


@verb
def run(
    context: Context,
    method: Annotated[
        str,
        typer.Argument(
            metavar="METHOD[:VARIANT]",
            help="Method to train (see objbench list methods).",
            autocompletion=complete_method,
        ),
    ],
    dataset: PreparedDataset,
    source: PreparedSource = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            metavar="N|N,...",
            help="Number of seeds (5: seeds 0 to 4) or a list (0,3,7). Default: seed 0 alone.",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="A single seed, instead of --seeds.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a hyper-parameter (see objbench info METHOD --full). Repeatable.",
        ),
    ] = None,
    device: DeviceName = "auto",
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Delete the earlier runs of these seeds first.")
    ] = False,
    in_memory: Annotated[
        bool,
        typer.Option(
            "--in-memory",
            help="Generate the scenes in memory (with --source generated); nothing needs to be prepared.",
        ),
    ] = False,
    train: TrainSize = None,
    val: ValSize = None,
    test: TestSize = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also write TensorBoard logs.")] = False,
    keep: Annotated[
        str | None,
        typer.Option(
            metavar="WHAT",
            help="predictions: keep all of the test split in the run's folder (predictions.npz).",
        ),
    ] = None,
) -> None:
    """Train and evaluate METHOD on a dataset. Finished seeds are skipped, interrupted ones are resumed.

    Example:
        objbench run objmae:demo --dataset tetrominoes@aligned
        objbench run slot_attention --dataset clevr6 --seeds 5 --device cuda
        objbench run objmae --dataset tetrominoes --set recipe.steps=300 --set model.width=96
        objbench run color_kmeans --dataset multi_dsprites --source generated --in-memory --test 64
    """
    from objbench.spec.resolve import borrowed_settings, parse_assignments, resolve

    chosen = parse_seeds(seeds, seed)
    if keep not in (None, "predictions"):
        raise unknown_name("thing to --keep", keep, ["predictions"])
    reference = context.spec.dataset(dataset)
    resolved = resolve(context.spec, method, reference, parse_assignments(set_ or []))
    sizes = sizes_of(train, val, test)
    if in_memory and source != "generated":
        raise RequestError("--in-memory needs --source generated")
    if sizes and not in_memory:
        raise RequestError(
            f"--{next(iter(sizes))} needs --in-memory; the sizes of prepared splits are options of objbench prepare"
        )
    from objbench.methods.create import build
    from objbench.train.run import run_seed
    from objbench.train.run_data import generated_run_data, prepared_run_data

    build(resolved, reference)  # wrong settings are refused here, before data is generated or read
    if note := borrowed_settings(context.spec, method, reference):
        say(note)
    if in_memory:
        run_data = generated_run_data(context.spec, reference, sizes, device)
    else:
        run_data = prepared_run_data(context.spec, reference, source, context.data, device)

    def run_one(number: int) -> tuple[Path, Record]:
        return run_seed(
            resolved,
            run_data,
            number,
            context.runs,
            fresh,
            tensorboard,
            say,
            context.interrupts,
            keep is not None,
        )

    _run_all(context, chosen, run_one)


def _run_all(context: Context, seeds: list[int], run_one: Callable[[int], tuple[Path, Record]]) -> None:
    """Run each seed and print the scores; a seed that fails does not stop the others."""
    done: list[tuple[Path, Record]] = []
    failures: list[type[Exception]] = []  # not the errors, which hold all that the failed seed had in memory
    for number in seeds:
        try:
            done.append(run_one(number))
        except Exception as error:
            if isinstance(error, RequestError) and len(seeds) == 1:
                raise
            failures.append(type(error))
            if context.debug:
                traceback.print_exception(error)
            say(f"seed {number}: {explain(error)}")
    _print(context, done)
    if failures:
        request = all(issubclass(error, RequestError) for error in failures)
        raise (RequestError if request else ObjbenchError)(f"{len(failures)} of {len(seeds)} seeds failed")


def parse_seeds(seeds: str | None, seed: int | None) -> list[int]:
    """The seeds of `--seeds 5` (0 to 4), `--seeds 0,3,7` or `--seed 3`; by default seed 0 alone."""
    if seeds is not None and seed is not None:
        raise RequestError("give either --seeds or --seed, not both")
    if seed is not None:
        numbers = [seed]
    else:
        try:
            numbers = [int(part) for part in (seeds or "1").split(",")]
        except ValueError:
            raise RequestError(f"--seeds {seeds}: expected a number (5) or numbers (0,3,7)") from None
        if seeds is None or "," not in seeds:
            if numbers[0] > _MOST_SEEDS:
                raise RequestError(
                    f"--seeds {seeds}: expected at most {_MOST_SEEDS:,} seeds; --seed runs one"
                )
            numbers = list(range(numbers[0]))
    if not numbers or min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise RequestError("expected at least one seed, distinct numbers of at least 0")
    return numbers


def _print(context: Context, done: list[tuple[Path, Record]]) -> None:
    if context.json:
        rows: list[dict[str, Any]] = [
            {"folder": str(folder), **record.model_dump()} for folder, record in done
        ]
        print_json(rows)
        return
    for folder, record in done:
        print_scores(record, list(record.metrics), context.spec)
        print(f"  {folder}")


def print_scores(record: Record, keys: list[str], spec: Spec) -> None:
    """One line per evaluation, values as tables print them."""
    for key in keys:
        scores = record.metrics[key]
        values = [
            f"{name} {spec.metric(name).format(value.mean)}{over_images(value.n, scores.n_images)}"
            for name, value in scores.values.items()
        ]
        images = f"{scores.n_images} images"
        if scores.crowded is not None:
            images += f", {scores.crowded} with more objects than predicted planes"
        where = f"{record.method_label} seed {record.seed} on {key}"
        print(printable(f"{where} ({images}): {'  '.join(values)}"))
