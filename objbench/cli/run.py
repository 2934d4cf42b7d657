"""objbench run: train and evaluate methods on datasets over seeds."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from objbench.cli.common import Context, say, shared_verb, sizes_of
from objbench.cli.options import (
    PartName,
    PreparedSource,
    TestSize,
    TrainSize,
    ValSize,
    complete_dataset,
    complete_method,
    completes_to,
)
from objbench.errors import RequestError

if TYPE_CHECKING:
    from objbench.launch.plan import Plan
    from objbench.methods.plain_file import MethodFile


@shared_verb
def run(
    context: Context,
    method: Annotated[
        list[str],
        typer.Argument(
            metavar="METHOD[:VARIANT]...",
            help="Methods to train (see objbench list methods); FILE.py:CLASS for one from a Python file of your own.",
            autocompletion=complete_method,
        ),
    ],
    dataset: Annotated[
        list[str],
        typer.Option(
            metavar="DATASET[@PROTOCOL]",
            help="Prepared dataset, with a protocol unless it is the default one. Repeatable.",
            autocompletion=complete_dataset,
        ),
    ],
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
    device: Annotated[
        str,
        typer.Option(
            metavar="DEVICE",
            help="Device: auto, cpu, cuda or cuda:N; with --launcher local also several: cuda:0,cuda:1.",
            autocompletion=completes_to("auto", "cpu", "cuda"),
        ),
    ] = "auto",
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
    log: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Also log to tensorboard, trackio or wandb. Repeatable.",
            autocompletion=completes_to("tensorboard", "trackio", "wandb"),
        ),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(
            metavar="WHAT",
            help="predictions: keep all of the test split in the run's folder (predictions.npz).",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be run, and what each run is doing now.")
    ] = False,
    part: PartName = None,
    launcher: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="local: several runs at once on this machine; slurm: jobs of Slurm; ray: tasks of Ray. Default: one after another.",
            autocompletion=completes_to("local", "slurm", "ray"),
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="With --launcher local: so many runs at once. Default: one per device; two threads each on the CPU.",
        ),
    ] = None,
    resources: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="What a run needs: of Slurm such as partition=gpu or timeout_min=240, of Ray num_gpus=1. Repeatable.",
        ),
    ] = None,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait", help="With --launcher slurm: wait until all jobs have ended, as Ray always does."
        ),
    ] = False,
) -> None:
    """Train and evaluate every METHOD on every dataset. Finished runs are skipped, interrupted ones are resumed.

    Example:
        objbench run objmae:demo --dataset tetrominoes@aligned
        objbench run slot_attention monet --dataset clevr6 --dataset clevrtex --seeds 5 --dry-run
        objbench run objmae --dataset tetrominoes --set recipe.steps=300 --set model.width=96
        objbench run color_kmeans --dataset multi_dsprites --source generated --in-memory --test 64
        objbench run ./mine.py:Mine --dataset tetrominoes@aligned --set recipe.steps=300
        objbench run grid color_kmeans --dataset tetrominoes --seeds 3 --launcher local --workers 2
        objbench run monet --dataset clevr6 --launcher slurm --resources gpus_per_node=1 --resources timeout_min=240
        objbench run monet genesis_v2 --dataset clevr6 --seeds 5 --launcher ray --resources num_gpus=1
    """
    from objbench.cli.plan import carry_out, print_plan, submit_plan
    from objbench.launch.plan import make_plan, refuse_different_plans
    from objbench.launch.request import CLUSTERS, RunRequest, parse_seeds
    from objbench.methods.plain_block import named
    from objbench.parts import parse_part

    def planned() -> Plan:
        """What is to be run; wrong requests are refused here."""
        if launcher is not None and context.ranks.several:
            raise RequestError(
                f"--launcher {launcher} cannot be used under torchrun, which starts the processes itself"
            )
        methods, files = named(method, partial(_kept, context.runs))
        request = RunRequest(
            data=context.data,
            runs=context.runs,
            methods=tuple(methods),
            datasets=tuple(dataset),
            seeds=tuple(parse_seeds(seeds, seed)),
            source=source,
            assignments=tuple(set_ or ()),
            device=context.ranks.device(device),
            fresh=fresh,
            in_memory=in_memory,
            sizes=sizes_of(train, val, test),
            log=tuple(log or ()),
            keep=keep,
            config=context.config,
            files=files,
            launcher=launcher,
            workers=workers,
            resources=tuple(resources or ()),
            wait=wait,
        )
        return make_plan(request).part(parse_part(part))

    plan = context.ranks.all_do(planned)
    refuse_different_plans(context.ranks, plan)
    for note in plan.notes:
        say(note)
    if dry_run:
        print_plan(context, plan)
    elif launcher in CLUSTERS:
        submit_plan(context, plan)
    else:
        carry_out(context, plan)


def _kept(runs: Path, path: Path, kind: str | None) -> MethodFile | None:
    """The copy in a run of a file that is gone."""
    from objbench.train.copies import copy_among

    file = copy_among(runs, path, kind)
    if file is not None:
        say(f"{path} is not there any more; its copy {file.path} is used")
    return file
