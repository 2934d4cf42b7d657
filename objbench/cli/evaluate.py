"""objbench evaluate: score a finished run on another dataset, or the predictions of any model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from objbench.cli.common import Context, print_json, say, verb
from objbench.cli.options import DeviceName, PreparedDataset, PreparedSource, SplitName, local_path
from objbench.errors import RequestError, one_of, unknown_name
from objbench.registry import DEFAULT_DEFINITION, names

if TYPE_CHECKING:
    from collections.abc import Callable

    from objbench.data.read.scenes import Scenes
    from objbench.records import Record

    Scored = tuple[Path, str, Record]


@verb
def evaluate(
    context: Context,
    subject: Annotated[
        Path,
        typer.Argument(
            parser=local_path,
            metavar="RUN|PREDICTIONS",
            help="Folder of a finished seed, or of a method with one seed, also below --runs as objbench list runs prints it; the name of shipped weights (objbench list weights); or predictions: an .npz or .npy of masks, or a folder or tar of PNGs.",
        ),
    ],
    dataset: PreparedDataset,
    source: PreparedSource = None,
    split: SplitName = "test",
    definition: Annotated[
        str,
        typer.Option(
            metavar="DEFINITION", help=f"Definition of the metrics: {one_of(sorted(names('definitions')))}."
        ),
    ] = DEFAULT_DEFINITION,
    slots: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Number of slots to evaluate RUN with, if its method allows it. Default: that of its training.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Name of the model behind PREDICTIONS. Default: the name of their file."
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Seed of the model behind PREDICTIONS. Default: 0."),
    ] = None,
    trained_on: Annotated[
        str | None,
        typer.Option(
            metavar="DATASET[@PROTOCOL]/SOURCE",
            help="The data whose whole train split, and nothing else, the model behind PREDICTIONS learned from. A report then compares them with what was trained on the same, published numbers included, and with nothing else. Default: not known.",
        ),
    ] = None,
    by_order: Annotated[
        bool,
        typer.Option(
            "--by-order", help="Match PNGs to images by the order of their names instead of by sample keys."
        ),
    ] = False,
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh",
            help="Score PREDICTIONS again; delete all scores of other PREDICTIONS with this name and seed.",
        ),
    ] = False,
    device: DeviceName = "auto",
) -> None:
    """Score RUN, or PREDICTIONS of any model, on a dataset. The scores are printed and added to a record.

    PREDICTIONS is an .npz with `masks` (label maps (N,H,W), or one mask per slot (N,M,H,W) scored by arg-max),
    optionally `reconstruction` (N,3,H,W) and `keys` (N,); an .npy with masks; or a folder or tar with KEY.png (label
    maps), optionally KEY.reconstruction.png. Without keys, predictions must be in the order of the split.

    Shipped weights are copied to the folder of the runs first, as the run that they are of.

    Example:
        objbench evaluate runs/clevrtex/generated/objmae/seed-0 --dataset clevrtex_ood
        objbench evaluate masks.npz --dataset tetrominoes --name my_model --seed 2
        objbench evaluate label_maps/ --dataset clevr6 --definition emorl --trained-on clevr6/emorl
    """
    reference = context.spec.dataset(dataset)
    from objbench.data.read.load import load
    from objbench.device import choose_device
    from objbench.predictions.read import neither
    from objbench.use.weights import run_to_extend, shipped_weights

    if definition not in names("definitions"):
        raise unknown_name("definition", definition, names("definitions"))
    chosen = choose_device(device)

    def scenes() -> Scenes:
        return load(str(reference), split, source, context.data, chosen, context.config)

    folder = run_to_extend(subject, context.runs, context.spec)
    if folder is None and not subject.exists():
        shipped = ", ".join(shipped_weights()) or "none"
        raise RequestError(f"{neither(subject)}, and no shipped weights of that name (known: {shipped})")
    if folder is None:
        if slots is not None:
            raise RequestError(f"--slots: only for a run, but {subject} is not one")
        scored = _evaluate_predictions(
            context, subject, scenes, definition, name, seed, trained_on, by_order, fresh
        )
    else:
        given = {
            "--name": name is not None,
            "--seed": seed is not None,
            "--trained-on": trained_on is not None,
            "--by-order": by_order,
            "--fresh": fresh,
        }
        refused = [option for option, is_given in given.items() if is_given]
        if refused:
            raise RequestError(f"{' and '.join(refused)}: only for predictions, but {subject} is a run")
        scored = _evaluate_run(context, folder, scenes, definition, slots)
    _print(context, *scored)


def _evaluate_run(
    context: Context, folder: Path, scenes: Callable[[], Scenes], definition: str, slots: int | None
) -> Scored:
    from objbench.records import read_run
    from objbench.train.reevaluate import reevaluate

    read_run(folder)  # refuses scores of predictions before scenes are loaded
    return (folder, *reevaluate(folder, scenes(), context.spec, definition, slots))


def _evaluate_predictions(
    context: Context,
    path: Path,
    scenes: Callable[[], Scenes],
    definition: str,
    name: str | None,
    seed: int | None,
    trained_on: str | None,
    by_order: bool,
    fresh: bool,
) -> Scored:
    from objbench.predictions import open_predictions
    from objbench.train.predictions_folder import external_name
    from objbench.train.score_predictions import score_predictions

    learned_from = None if trained_on is None else _training_place(context, trained_on)
    with open_predictions(path, by_order) as predictions:
        record_name = external_name(path, name)
        return score_predictions(
            predictions,
            scenes(),
            context.runs,
            record_name,
            seed=seed or 0,
            definition=definition,
            trained_on=learned_from,
            fresh=fresh,
            say=say,
        )


def _training_place(context: Context, text: str) -> str:
    try:
        return context.spec.training_place(text)
    except RequestError as error:
        raise RequestError(f"--trained-on {text}: {error}") from None


def _print(context: Context, folder: Path, key: str, record: Record) -> None:
    from objbench.cli.plan import print_scores
    from objbench.records import External

    if context.json:
        scores = record.metrics[key].model_dump()
        said = {"trained_on": record.trained_on} if isinstance(record, External) else {}
        print_json(
            {"key": key, "scored": record.scored[key].model_dump(), "folder": str(folder), **said, **scores}
        )
    else:
        print_scores(record, [key], context.spec)
        print(f"  {folder}")
