"""objbench segment: label maps and overlays of a trained run for anybody's images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from objbench.cli.common import Context, print_json, say, verb
from objbench.cli.options import DeviceName, RunName, local_path
from objbench.errors import ObjbenchError, RequestError, first_few
from objbench.printable import printable

if TYPE_CHECKING:
    from objbench.use.written import Written


@verb
def segment(
    context: Context,
    run: RunName,
    images: Annotated[
        list[Path],
        typer.Argument(parser=local_path, metavar="FILE|FOLDER...", help="Images, and folders of images."),
    ],
    output: Annotated[
        Path, typer.Option(parser=local_path, metavar="PATH", help="Folder for the label maps and overlays.")
    ],
    slots: Annotated[
        bool, typer.Option("--slots", help="Also write the slots of each image: NAME.slots.npz.")
    ] = False,
    components: Annotated[
        bool,
        typer.Option(
            "--components", help="Also write what each plane paints, side by side: NAME.components.png."
        ),
    ] = False,
    fresh: Annotated[
        bool,
        typer.Option("--fresh", help="Replace label maps in there that another run, or nobody known, made."),
    ] = False,
    device: DeviceName = "auto",
) -> None:
    """Segment images of any size with RUN, and write NAME.png (a label map) and NAME.overlay.png for each into the folder of --output.

    An image is scaled as a whole to the size of the model, without a crop; label maps have the size of the image. What
    an earlier command with the same run wrote for the same image stays, so an interrupted command goes on.

    Example:
        objbench segment objmae-small-tetrominoes photos/ --output segmented
        objbench segment runs/clevr6/generated/objmae/seed-0 a.png b.jpg --output segmented --slots --components
    """
    from objbench.one_line import in_a_line
    from objbench.use.finished import open_run
    from objbench.use.written import Job, files_of, places_of

    context.interrupts.advice = "the same command goes on with the images that are left"
    files = files_of(images)
    places = [(path, places_of(path, output, slots, components)) for path in files]
    _refuse_same_names(places, output)
    opened = open_run(run, device, context.runs_place, context.config, context.data)
    job = Job(opened, output, slots=slots, components=components, fresh=fresh)
    job.check(files)
    bad: list[dict[str, str]] = []
    written: list[Written] = []

    def refused(path: Path, error: ObjbenchError) -> None:
        bad.append({"image": str(path), "error": in_a_line(error)})
        say(f"objbench: skipped {in_a_line(error)}")

    for one in job.run(files, refused):
        written.append(one)
        if not context.json:
            again = "" if one.made else ", written before"
            print(printable(f"{one.labels}  {one.height}x{one.width}, {one.segments} segments{again}"))
    if context.json:
        rows: list[dict[str, Any]] = [one.described() for one in written]
        print_json([*rows, *bad])
    if bad:
        raise ObjbenchError(
            f"{len(bad)} of {len(files)} images could not be segmented: {first_few([b['image'] for b in bad])}"
        )


def _refuse_same_names(places: Sequence[tuple[Path, Mapping[str, Path]]], output: Path) -> None:
    """Raise RequestError if two images would be written to one name, or over an image.

    Args:
        places: Each image, and where what is written of it goes.
        output: The folder of all these.
    """
    images = defaultdict(list)
    for image, written in places:
        for place in written.values():
            images[place.name].append(str(image))
    for name, same in images.items():
        if len(same) > 1:
            raise RequestError(
                f"{first_few(same)} would all be written as {name}: give them different names, or several commands with "
                "an --output each"
            )
    inside = [image for image, _ in places if image.absolute().parent.resolve() == output.resolve()]
    if inside:
        raise RequestError(
            f"--output {output}: {inside[0]} lies there; choose another folder, images are not overwritten"
        )
