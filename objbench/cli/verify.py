"""objbench verify: compare every shard of a dataset with its manifest."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from objbench.cli.common import Context, print_json, say, verb
from objbench.cli.options import DatasetName, PreparedSource
from objbench.errors import ObjbenchError


@verb
def verify(
    context: Context,
    dataset: DatasetName,
    source: PreparedSource = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also decode every sample and compare its content.")
    ] = False,
) -> None:
    """Check all shards of DATASET against its manifest. Every difference is printed; the exit code is 1 if there is one.

    Example:
        objbench verify tetrominoes
        objbench verify clevrtex --source official --deep
    """
    from objbench import progress
    from objbench.data.format.manifest import find
    from objbench.data.read.verify import verify as check
    from objbench.spec.own import prepare_command

    reference = context.spec.dataset(dataset)
    folder, manifest = find(context.data, reference, source)
    scenes = sum(split.count for split in manifest.splits.values())
    with progress.bar(f"verifying {reference}", scenes, "scenes") as advance:
        problems = check(folder, manifest, deep, advance=advance)
    if context.json:
        print_json({"folder": str(folder), "deep": deep, "scenes": scenes, "problems": problems})
    else:
        for problem in problems:
            print(problem)
    if problems:
        given = [f"--{split} {size}" for split, size in manifest.settings.sizes.items()]
        given += [f"--seed {manifest.settings.seed}"] if manifest.settings.seed else []
        given += [f"--config {shlex.quote(str(context.config))}"] if context.config else []
        command = " ".join((prepare_command(reference, manifest.source, context.data), *given, "--force"))
        raise ObjbenchError(f"{folder}: {len(problems)} differences; {command} prepares it again")
    say(f"{folder}: {scenes} scenes as the manifest says")
    for name, split in manifest.splits.items():
        for scene in split.skipped:
            say(f"{name}: the damaged scene {scene.index} was left out by --skip-bad: {scene.reason}")
    for name, words in manifest.repeats.items():
        say(f"{name}: {words}")
