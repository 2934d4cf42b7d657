"""objbench probe: what the slots of a trained run know of their objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from objbench.cli.common import Context, print_json, verb
from objbench.cli.options import (
    DeviceName,
    PreparedSource,
    RunName,
    complete_dataset,
    completes_to,
)
from objbench.errors import RequestError
from objbench.printable import printable

if TYPE_CHECKING:
    from objbench.data.read.scenes import Scenes
    from objbench.records import FactorScore, ProbeScores, Run

_PROBES, _MATCHINGS = ("linear", "mlp", "gradient_boosting"), ("masks", "loss")


@verb
def probe(
    context: Context,
    run: RunName,
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DATASET[@PROTOCOL]",
            autocompletion=complete_dataset,
            help="Prepared dataset to test on. Repeatable. Default: that of the run and its also_test sets.",
        ),
    ] = None,
    source: PreparedSource = None,
    probe: Annotated[
        Literal["linear", "mlp", "gradient_boosting"],
        typer.Option(
            metavar="PROBE",
            help="What predicts the factors: linear, mlp or gradient_boosting.",
            autocompletion=completes_to(*_PROBES),
        ),
    ] = "linear",
    matching: Annotated[
        Literal["masks", "loss"],
        typer.Option(
            metavar="masks|loss",
            help="How slots are paired with objects: by overlap of their masks, or by the loss of the probe.",
            autocompletion=completes_to(*_MATCHINGS),
        ),
    ] = "masks",
    factors: Annotated[
        str | None,
        typer.Option(
            metavar="FACTOR,...",
            help="Factors to predict. Default: those that the dataset names (objbench info DATASET --full).",
        ),
    ] = None,
    train: Annotated[
        int,
        typer.Option(metavar="N", min=1, help="Number of training scenes to learn from, at most."),
    ] = 10_000,
    device: DeviceName = "auto",
) -> None:
    """Predict factors of objects (shape, colour, place, ...) from their slots, on scenes the probe has not seen.

    Beside the probe stand what the numbers have to be read against: the most frequent class or the mean (majority), the
    same probe on colour and place of the predicted masks alone (masks), and on the slots of the untrained model
    (untrained). The scores are printed and added to the record.

    Example:
        objbench probe runs/clevr6/generated/slot_attention/seed-0
        objbench probe objmae-demo-tetrominoes --probe mlp --factors shape,color
        objbench probe runs/clevrtex/official/objmae/seed-0 --dataset clevrtex_ood --matching loss
    """
    from pathlib import Path

    from objbench.data.read.load import load_split
    from objbench.device import choose_device
    from objbench.probe.run import Request, probe_run
    from objbench.train.reevaluate import dataset_of
    from objbench.train.run_data import prepared_run_data
    from objbench.use.finished import locate_run
    from objbench.use.weights import run_to_extend

    where = choose_device(device)
    folder = run_to_extend(Path(run), context.runs) or locate_run(run, context.runs_place)
    references = [context.spec.dataset(name) for name in dataset or ()]
    names = None if factors is None else tuple(name.strip() for name in factors.split(",") if name.strip())
    if factors is not None and not names:
        raise RequestError("--factors: no name of a factor")
    request = Request(probe, matching, names, train)

    def load(record: Run) -> tuple[Scenes, list[Scenes]]:
        own = dataset_of(folder, record, context.spec)
        data = prepared_run_data(context.spec, own, record.source, context.data, str(where))
        given = [
            load_split(
                reference,
                "test",
                source or (record.source if str(reference) == str(own) else None),
                context.data,
                where,
            )
            for reference in references
        ]
        return data.train, given or list(data.tests.values())

    keys, record = probe_run(folder, context.spec, load, request)
    assert record.probes is not None
    found = {key: record.probes[key][request.name] for key in keys}
    if context.json:
        scores = {key: made.model_dump() for key, made in found.items()}
        print_json({"folder": str(folder), "probe": request.name, "probes": scores})
        return
    for key, made in found.items():
        _print(record, key, request.name, made)
    print(f"  {folder}")


def _print(record: Run, key: str, name: str, found: ProbeScores) -> None:
    where = f"{record.method_label} seed {record.seed} on {key}"
    print(
        printable(
            f"{where}: {name} probe of {found.n_train:,} scenes, {found.n_objects:,} objects of {found.n_images:,} "
            f"images, {100 * found.missed:.1f} % of them without a slot"
        )
    )
    rows: list[tuple[str, ...]] = [
        ("factor", "measure", "slots", "95 % interval", "majority", "masks", "untrained")
    ]
    rows += [_row(factor, score) for factor, score in found.factors.items()]
    rows += [_row(f"mean {measure}", score) for measure, score in found.means.items()]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print(printable("  " + "  ".join(cells).rstrip()))
    if found.constant:
        print(printable(f"  the same for all training objects, not probed: {', '.join(found.constant)}"))
    if found.disentanglement is not None or found.completeness is not None:
        shares = (("disentanglement", found.disentanglement), ("completeness", found.completeness))
        print("  " + ", ".join(f"{title} {_number(value)}" for title, value in shares))


def _row(name: str, score: FactorScore) -> tuple[str, ...]:
    interval = "-" if score.interval is None else " to ".join(_number(end) for end in score.interval)
    values = (score.score, None, score.majority, score.masks, score.untrained)
    shown = [_number(value) for value in values]
    shown[1] = interval
    return (name, score.measure, *shown)


def _number(value: float | None) -> str:
    """In percent, as all scores."""
    return "-" if value is None else f"{100 * value:z.1f}"
