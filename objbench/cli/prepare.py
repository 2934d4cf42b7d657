"""objbench prepare: make the shards of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from objbench.cli.common import Context, print_json, say, verb

if TYPE_CHECKING:
    from objbench.data.manifest import Manifest
    from objbench.data.prepare import Preparation

Size = Annotated[int | None, typer.Option(metavar="N", help="Wished size of this split; 0 leaves it out.")]


@verb
def prepare(
    context: Context,
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="DATASET or DATASET@PROTOCOL.")],
    source: Annotated[
        str | None, typer.Option(help="Where the scenes come from; by default as the dataset says.")
    ] = None,
    raw: Annotated[
        Path | None, typer.Option(metavar="PATH", help="The downloaded release: its file or folder.")
    ] = None,
    train: Size = None,
    val: Size = None,
    test: Size = None,
    seed: Annotated[int, typer.Option(help="Of a generator.")] = 0,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Encoding processes; by default one per core.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what stands there.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")
    ] = False,
) -> None:
    """Make the checked, byte-reproducible shards of DATASET. A killed prepare goes on where it stood."""
    from objbench import progress
    from objbench.data.prepare import finished, plan
    from objbench.data.workers import available

    reference = context.spec.dataset(dataset)
    name = reference.source(source)
    given = {"train": train, "val": val, "test": test}
    sizes = {split: size for split, size in given.items() if size is not None}
    if not force and (manifest := finished(reference, name, context.data, sizes, seed)) is not None:
        _report(context, manifest, f"{context.data / str(reference) / name}: already prepared")
        return
    preparation = plan(reference, name, context.data, raw, sizes, seed)
    if dry_run:
        _outline(context, preparation)
        return
    try:
        with progress.bar(f"preparing {reference}", preparation.scenes, "scenes") as advance:
            manifest = preparation.run(workers or available(), force, advance)
    except KeyboardInterrupt:
        say(f"{preparation.folder}: stopped; the same command, without --force, goes on where it stood")
        raise
    _report(context, manifest, f"{preparation.folder}: prepared")


def _report(context: Context, manifest: Manifest, headline: str) -> None:
    say(headline)
    if context.json:
        print_json(manifest.model_dump())
        return
    for name, split in manifest.splits.items():
        standard = "" if split.standard else "  not the standard split"
        print(f"{name}  {split.count} scenes  {len(split.shards)} shards  {split.fingerprint}{standard}")


def _outline(context: Context, preparation: Preparation) -> None:
    from objbench.data.place import megabytes

    files = [{"path": str(path), "bytes": path.stat().st_size} for path in preparation.source.files]
    splits = {
        plan.split: {
            "count": len(plan),
            "file": plan.file,
            "start": plan.start,
            "stop": plan.stop,
            "standard": plan.standard,
        }
        for plan in preparation.plans
    }
    if context.json:
        print_json(
            {
                "folder": str(preparation.folder),
                "source": preparation.name,
                "generator": preparation.source.generator,
                "files": files,
                "splits": splits,
                "bytes_at_most": preparation.bytes_at_most,
            }
        )
        return
    print(f"folder  {preparation.folder}")
    print(f"source  {preparation.name}")
    for file in files:
        print(f"file    {file['path']}  {file['bytes']} bytes")
    for name, split in splits.items():
        standard = "" if split["standard"] else ", not the standard split"
        print(
            f"split   {name}: {split['count']} scenes, {split['file']} [{split['start']}, {split['stop']}){standard}"
        )
    print(f"size    at most {megabytes(preparation.bytes_at_most)}")
