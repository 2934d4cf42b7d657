"""objbench evaluate: score a finished run on another prepared set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from objbench.cli.common import Context, print_json, verb


@verb
def evaluate(
    context: Context,
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished seed.")],
    dataset: Annotated[str, typer.Option(help="DATASET[@PROTOCOL], prepared before.")],
    source: Annotated[
        str | None, typer.Option(help="Which prepared source; the only one by default.")
    ] = None,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Score the run in RUN on DATASET; the scores are printed and added to the run's record."""
    reference = context.spec.dataset(dataset)
    from objbench.cli.run import print_scores
    from objbench.data.load import load
    from objbench.device import choose_device
    from objbench.records import read_record
    from objbench.train.reevaluate import reevaluate

    chosen = choose_device(device)
    run = run.resolve()
    run = run.parent if run.is_file() else run
    read_record(run)
    scenes = load(str(reference), split, source, context.data, chosen, context.config)
    key, record = reevaluate(run, scenes, context.spec)
    if context.json:
        print_json(
            {"key": key, "scored": record.scored[key].model_dump(), **record.metrics[key].model_dump()}
        )
    else:
        print_scores(record, [key])
