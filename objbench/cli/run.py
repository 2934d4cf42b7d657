"""objbench run: train and evaluate methods on datasets over seeds."""

from __future__ import annotations

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
from objbench.errors import RequestError, unknown_name

if TYPE_CHECKING:
    from pathlib import Path

    from objbench.launch.plan import Plan

_MOST_SEEDS = 10_000
_CLUSTERS = ("slurm", "ray")
LAUNCHERS = ("local", *_CLUSTERS)


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
            autocompletion=completes_to(*LAUNCHERS),
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
    from objbench.launch.request import RunRequest
    from objbench.methods.plain_block import named
    from objbench.methods.plain_file import MethodFile
    from objbench.parts import parse_part
    from objbench.spec.datasets import GENERATED
    from objbench.train.copies import copy_among
    from objbench.train.logger_kinds import check_loggers

    def kept(path: Path, kind: str | None) -> MethodFile | None:
        """The copy in a run of a file that is gone."""
        file = copy_among(context.runs, path, kind)
        if file is not None:
            say(f"{path} is not there any more; its copy {file.path} is used")
        return file

    def planned() -> Plan:
        """What is to be run; wrong requests are refused here."""
        numbers = tuple(parse_seeds(seeds, seed))
        if keep not in (None, "predictions"):
            raise unknown_name("thing to --keep", keep, ["predictions"])
        loggers = _once("--log", log or [])
        check_loggers(loggers)
        sizes = sizes_of(train, val, test)
        if in_memory and source != GENERATED:
            raise RequestError(f"--in-memory needs --source {GENERATED}")
        if sizes and not in_memory:
            raise RequestError(
                f"--{next(iter(sizes))} needs --in-memory; the sizes of prepared splits are options of objbench prepare"
            )
        own_device = context.ranks.device(device)
        _check_launcher(launcher, workers, own_device, resources, wait, shared=context.ranks.several)
        methods, files = named(method, kept)
        request = RunRequest(
            methods=_once("METHOD", methods),
            datasets=_once("--dataset", dataset),
            seeds=numbers,
            data=context.data,
            runs=context.runs,
            source=source,
            assignments=tuple(set_ or ()),
            device=own_device,
            fresh=fresh,
            in_memory=in_memory,
            sizes=sizes,
            log=loggers,
            keep=keep is not None,
            config=context.config,
            files=files,
        )
        return make_plan(request).part(parse_part(part))

    plan = context.ranks.all_do(planned)
    refuse_different_plans(context.ranks, plan)
    for note in plan.notes:
        say(note)
    if dry_run:
        print_plan(context, plan)
    elif launcher in _CLUSTERS:
        submit_plan(context, plan, launcher, resources or [], wait)
    else:
        carry_out(context, plan, launcher, workers)


def _check_launcher(
    launcher: str | None,
    workers: int | None,
    device: str,
    resources: list[str] | None,
    wait: bool,
    *,
    shared: bool,
) -> None:
    """Refuse an unknown launcher, devices that are not there, and options that mean nothing without another one."""
    from objbench.device import choose_device

    if launcher is not None and launcher not in LAUNCHERS:
        raise unknown_name("launcher", launcher, LAUNCHERS)
    if launcher is not None and shared:
        raise RequestError(
            f"--launcher {launcher} cannot be used under torchrun, which starts the processes itself"
        )
    if launcher != "local" and workers is not None:
        raise RequestError("--workers needs --launcher local")
    if launcher != "local" and "," in device:
        raise RequestError(f"--device {device}: several devices need --launcher local")
    if launcher not in _CLUSTERS and (resources or wait):
        raise RequestError(f"--resources and --wait need --launcher {' or '.join(_CLUSTERS)}")
    for name in device.split(","):
        if not name:
            raise RequestError(f"--device {device}: expected a device on each side of a comma")
        if launcher not in _CLUSTERS or not name.startswith(
            "cuda"
        ):  # a job may get what this machine has not
            choose_device(name)


def _once(option: str, names: list[str]) -> tuple[str, ...]:
    for name in names:
        if names.count(name) > 1:
            raise RequestError(f"{option} {name}: given twice")
    return tuple(names)


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
        given = f"--seeds {seeds}" if seed is None else f"--seed {seed}"
        raise RequestError(f"{given}: expected at least one seed, distinct numbers of at least 0")
    return numbers
