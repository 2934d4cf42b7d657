"""objbench show: a picture of some scenes with their label maps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from objbench.cli.common import Context, print_json, verb
from objbench.cli.options import DatasetName, PreparedSource, SplitName, local_path


@verb
def show(
    context: Context,
    dataset: DatasetName,
    split: SplitName = "test",
    source: PreparedSource = None,
    count: Annotated[
        int, typer.Option(metavar="N", min=1, help="Number of scenes, starting with the first.")
    ] = 16,
    output: Annotated[
        Path | None,
        typer.Option(
            parser=local_path, metavar="PATH", help="PNG to write. Default: DATASET-SOURCE-SPLIT.png."
        ),
    ] = None,
) -> None:
    """Draw scenes of DATASET, each image above its label map and its key, into a PNG and print its path.

    Example:
        objbench show tetrominoes
        objbench show clevr6 --split train --count 64 --output clevr6.png
    """
    from objbench.data.read.load import load
    from objbench.errors import RequestError
    from objbench.files import replacing_output
    from objbench.paths import check_output
    from objbench.viz import contact_sheet

    if output is not None:
        if output.suffix.lower() != ".png":
            raise RequestError(f"--output {output}: the picture is a PNG, its name must end in .png")
        check_output(output)
    scenes = load(dataset, split, source, context.data, config=context.config).select(slice(count))
    assert scenes.manifest is not None
    source = scenes.manifest.source
    path = output or Path(f"{scenes.spec}-{source}-{split}.png")
    place = context.spec.place_title(scenes.spec.place(source))
    sheet = contact_sheet(scenes.images.numpy(), scenes.masks.numpy(), scenes.keys, f"{place}, {split}")
    with replacing_output(path) as partial:
        sheet.save(partial, "PNG")
    if context.json:
        print_json({"path": str(path), "keys": scenes.keys})
    else:
        print(path)
