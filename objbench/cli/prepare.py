"""objbench prepare: make the shards of a dataset."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from objbench.cli.common import Context, print_json, say, sizes_of, verb
from objbench.cli.declare import declared_block, write_declaration
from objbench.cli.options import DatasetName, PartName, TestSize, TrainSize, ValSize
from objbench.errors import RequestError

if TYPE_CHECKING:
    from objbench.data.download import Status
    from objbench.data.download.copies import Wanted
    from objbench.data.format.manifest import Manifest
    from objbench.data.prepare.preparation import Preparation
    from objbench.data.prepare.prepare import PrepareRequest
    from objbench.parts import Part


@verb
def prepare(
    context: Context,
    dataset: DatasetName,
    source: Annotated[
        str | None,
        typer.Option(metavar="SOURCE", help="Source of the scenes. Default: the one that the dataset names."),
    ] = None,
    raw: Annotated[
        str | None,
        typer.Option(
            metavar="PATH|URL",
            help="File or folder of the release, if it is downloaded already; one in an object store is copied first.",
        ),
    ] = None,
    train: TrainSize = None,
    val: ValSize = None,
    test: TestSize = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of a generator.")] = 0,
    slots: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=2,
            max=256,
            help="New dataset: the most objects of a scene, and one for the background.",
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="N|HxW", help="New dataset: the size to which images are scaled, in pixels."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE", help="New dataset: an option of its source, such as labels=seg.png."
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Number of encoding processes. Default: one per core."),
    ] = None,
    skip_bad: Annotated[
        bool,
        typer.Option(
            "--skip-bad",
            help="Leave out damaged scenes, at most 10 % of a split, and list them in the manifest.",
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Delete an earlier preparation first, and make it anew.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be done, write nothing.")
    ] = False,
    part: PartName = None,
) -> None:
    """Write the checked, byte-reproducible shards of DATASET. An interrupted prepare is resumed.

    With --part, only the shards of that part; when all parts are done, the same command without --part writes the manifest.

    A dataset of your own is declared by the command that prepares it, from images beside label maps (--source folder) or
    a WebDataset (--source webdataset), and is known to every command afterwards. Label maps are PNGs of any kind: 0,
    black and transparent are the background, every other value, palette index or colour is one object.

    Example:
        objbench prepare tetrominoes
        objbench prepare tetrominoes --source generated --train 2000 --val 64 --test 64
        objbench prepare clevr6 --source deepmind --raw ~/downloads/clevr_with_masks_train.tfrecords
        objbench prepare clevrtex --dry-run
        objbench prepare clevr10 --source generated --part 3/64
        objbench prepare my_set --source folder --raw pictures --slots 7 --size 64
        objbench prepare my_tars --source webdataset --raw tars --slots 7 --size 64 --option labels=seg.png
    """
    from objbench import progress
    from objbench.data.prepare.prepare import PrepareRequest
    from objbench.data.workers import available
    from objbench.parts import parse_part
    from objbench.spec.own import declared_reference
    from objbench.stores import place

    share = None if part is None else parse_part(part)
    if share is not None:
        _refuse_with_part({"--force": force, "--skip-bad": skip_bad, "--dry-run": dry_run})
    block = declared_block(context, dataset, source, slots, size, option or [], force)
    reference = context.spec.dataset(dataset) if block is None else declared_reference(dataset, block)
    name, given = reference.source(source), None if raw is None else place(raw)
    request = PrepareRequest(reference, name, context.data, given, sizes_of(train, val, test), seed)
    if not force and (manifest := request.finished()) is not None:
        gone = isinstance(given, Path) and not given.exists()
        more = f"; {given} is not there, so nothing was compared with it" if gone else ""
        _report(context, manifest, f"{request.folder}: already prepared{more}")
        return
    context.interrupts.advice = "the same command continues where it stopped"
    if dry_run:
        _outline(context, request, force)
        return
    preparation = request.plan(say)
    if block is not None:
        write_declaration(context, dataset, block)
    context.interrupts.advice = (
        f"{preparation.folder}: the same command, without --force, continues where it stopped"
    )
    if share is not None:
        _make_part(context, preparation, share, workers or available())
        return
    with progress.bar(f"preparing {reference}", preparation.scenes, "scenes") as advance:
        manifest = preparation.run(workers or available(), advance, force=force, skip_bad=skip_bad)
    _report(context, manifest, f"{preparation.folder}: prepared")


def _refuse_with_part(given: dict[str, bool]) -> None:
    why = {
        "--force": "it would delete what other parts have made; delete the folder first",
        "--skip-bad": "a part must know which scenes its shards hold",
        "--dry-run": "without --part it shows the whole",
    }
    for option, is_given in given.items():
        if is_given:
            raise RequestError(f"{option} does not go with --part: {why[option]}")


def _make_part(context: Context, preparation: Preparation, part: Part, workers: int) -> None:
    from objbench import progress
    from objbench.locks import LockedError

    try:
        with progress.bar(f"preparing part {part} of {preparation.dataset}", None, "scenes") as advance:
            count = preparation.run_part(part, workers, advance)
    except LockedError as error:
        say(f"{error}; left to it")
        return
    made = "the whole was finished meanwhile" if count is None else f"part {part} is done, {count} shards"
    after = (
        "" if count is None else "; when all parts are, the same command without --part writes the manifest"
    )
    say(f"{preparation.folder}: {made}{after}")
    if context.json:
        print_json({"folder": str(preparation.folder), "part": str(part), "shards": count})


def _report(context: Context, manifest: Manifest, headline: str) -> None:
    say(headline)
    if context.json:
        print_json(manifest.model_dump())
        return
    for name, split in manifest.splits.items():
        standard = "" if split.standard else "  not the standard split"
        print(f"{name}  {split.count} scenes  {len(split.shards)} shards  {split.fingerprint}{standard}")
        for scene in split.skipped:
            say(f"{name}: left out the damaged scene {scene.index}: {scene.reason}")
    for name, words in manifest.repeats.items():
        say(f"{name}: {words}")


def _outline(context: Context, request: PrepareRequest, force: bool) -> None:
    """Print what would be done: what would be prepared, or what is to be fetched before that can be known.

    Raises:
        RequestError: An unfinished prepare with other settings is in the way, which `force` would remove.
    """
    from objbench.data.download.copies import wanted_of
    from objbench.stores import Store

    if isinstance(request.raw, Store):
        missing = [file for file in wanted_of("raw", request.raw) if not file.is_there]
        if missing:
            _outline_copies(context, missing)
            return
    elif request.raw is None and (status := request.downloads()) is not None:
        if any(item.status != "here" for item in status.items):
            _outline_download(context, status)
            return
        request = dataclasses.replace(request, raw=status.folder)  # a dry run checks no file that is there
    preparation = request.plan()
    if not force:
        preparation.refuse_unfinished()
    _outline_shards(context, preparation)


def _outline_download(context: Context, status: Status) -> None:
    """Print what would be downloaded."""
    from objbench.files import megabytes

    if context.json:
        files = [dataclasses.asdict(item) | {"path": str(item.path)} for item in status.items]
        print_json(
            {"downloads": files, "folder": str(status.folder), "needed": status.needed, "free": status.free}
        )
        return
    print(f"folder  {status.folder}, {megabytes(status.free)} free")
    for item in status.items:
        size = megabytes(item.bytes) if item.bytes is not None else "size unknown"
        begun = f", {megabytes(item.received)} there" if item.received else ""
        print(
            f"file    {item.name}: {item.status}, {size}{begun}{f', {item.problem}' if item.problem else ''}"
        )
        if item.url is not None:
            print(f"        {item.url}")
    known = all(item.bytes is not None for item in status.items)
    print(f"needed  {megabytes(status.needed)}{'' if known else ', and what is of unknown size'}")


def _outline_copies(context: Context, files: list[Wanted]) -> None:
    """Print what would be copied from a store."""
    from objbench.files import free_space, megabytes

    needed, free = sum(file.bytes for file in files), free_space(files[0].target.parent)
    if context.json:
        copies = [{"url": str(file.store), "path": str(file.target), "bytes": file.bytes} for file in files]
        print_json({"copies": copies, "needed": needed, "free": free})
        return
    for file in files:
        print(f"copy    {file.store}, {megabytes(file.bytes)}")
        print(f"        {file.target}")
    print(f"needed  {megabytes(needed)}, {megabytes(free)} free")


def _outline_shards(context: Context, preparation: Preparation) -> None:
    from objbench.data.prepare.describe import tree_size
    from objbench.files import megabytes

    files = [{"path": str(path), "bytes": path.stat().st_size} for path in preparation.source.files]
    if (tree := preparation.source.tree) is not None:
        files.append({"path": f"{tree.root}/", "bytes": tree_size(tree)})
    splits = {
        plan.split: {
            "count": len(plan),
            "exact": plan.size is not None,
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
        about = "" if split["exact"] else "about "
        records = f"{split['file']} [{split['start']}, {split['stop']})"
        print(f"split   {name}: {about}{split['count']} scenes, {records}{standard}")
    print(f"size    at most {megabytes(preparation.bytes_at_most)}")
