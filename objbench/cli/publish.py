"""objbench publish: a finished run as a folder for a hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from objbench.cli.common import Context, print_json, verb
from objbench.cli.options import RunName, local_path
from objbench.printable import printable


@verb
def publish(
    context: Context,
    run: RunName,
    output: Annotated[
        Path, typer.Option(parser=local_path, metavar="PATH", help="Folder to write: new, or of this run.")
    ],
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Title of the card. Default: the name of the folder.")
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Licence of the weights, such as apache-2.0. Default: not stated."),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="hf://USER/NAME", help="Also upload the folder to this model of the Hugging Face Hub."
        ),
    ] = None,
) -> None:
    """Write RUN as a folder with a model card, weights, configuration, record and an example; upload it if asked.

    Example:
        objbench publish runs/clevr6/generated/objmae/seed-0 --output my-model --licence apache-2.0
        objbench publish objmae-small-tetrominoes --output small --to hf://me/objmae-small
    """
    from objbench.use import hub
    from objbench.use.finished import open_run
    from objbench.use.publish import publish as write

    repo = hub.repository(to) if to is not None else None
    opened = open_run(run, runs=context.runs_place, config=context.config, data=context.data)
    files = write(opened, context.spec, output, name or output.resolve().name, licence)
    address = hub.upload(output, repo) if repo is not None else None
    if context.json:
        print_json({"folder": str(output), "files": [str(file) for file in files], "address": address})
        return
    for file in files:
        print(printable(str(file)))
    if address is not None:
        print(printable(address))
