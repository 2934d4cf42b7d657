"""objbench probe: what the slots of a trained run know of their objects."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from objbench.cli.common import Context, print_json, say, verb
from objbench.cli.options import (
    RUN_HELP,
    DeviceName,
    PreparedSource,
    complete_dataset,
    completes_to,
    local_path,
)
from objbench.scores import MATCHINGS, PROBES, Matching, ProbeName

if TYPE_CHECKING:
    from objbench.data.read.scenes import Scenes
    from objbench.records import Run
    from objbench.report.tables.table import Line, Table
    from objbench.scores import FactorScore, ProbeScores


@verb
def probe(
    context: Context,
    run: Annotated[
        Path,
        typer.Argument(
            parser=local_path,
            metavar="RUN",
            help=f"{RUN_HELP}, which are copied to the folder of the runs first.",
        ),
    ],
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
        ProbeName,
        typer.Option(
            metavar="PROBE",
            help="What predicts the factors: linear, mlp or gradient_boosting.",
            autocompletion=completes_to(*PROBES),
        ),
    ] = "linear",
    matching: Annotated[
        Matching,
        typer.Option(
            metavar="masks|loss",
            help="How slots are paired with objects: by overlap of their masks, or by the loss of the probe.",
            autocompletion=completes_to(*MATCHINGS),
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
        objbench probe objmae-small-tetrominoes --probe mlp --factors shape,color
        objbench probe runs/clevrtex/official/objmae/seed-0 --dataset clevrtex_ood --matching loss
    """
    from objbench.data.read.load import load_split
    from objbench.device import choose_device
    from objbench.probe.run import ProbeRequest, probe_run
    from objbench.report.write.terminal import print_tables
    from objbench.train.reevaluate import dataset_of
    from objbench.train.run_data import prepared_run_data
    from objbench.use.weights import no_such_run, run_to_extend

    where = choose_device(device)
    folder = run_to_extend(run, context.runs, context.spec)
    if folder is None:
        raise no_such_run(run, run)
    references = [context.spec.dataset(name) for name in dataset or ()]
    names = None if factors is None else tuple(name.strip() for name in factors.split(",") if name.strip())
    request = ProbeRequest(probe, matching, names, train)

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

    keys, record = probe_run(folder, context.spec, load, request, say)
    assert record.probes is not None
    found = {key: record.probes[key][request.name] for key in keys}
    if context.json:
        scores = {key: made.model_dump() for key, made in found.items()}
        print_json({"folder": str(folder), "probe": request.name, "probes": scores})
        return
    print_tables([_table(record, key, request.name, made) for key, made in found.items()])
    print(f"  {folder}")


def _table(record: Run, key: str, name: str, found: ProbeScores) -> Table:
    from objbench.report.tables import table as tables

    def line(section: str, label: str, score: FactorScore) -> Line:
        interval = "-" if score.interval is None else " to ".join(map(_number, score.interval))
        others = (score.majority, score.masks, score.untrained)
        cells = [_number(score.score), interval, *map(_number, others)]
        return tables.Line(
            section, tables.Cell(label), (score.measure,), [tables.Cell(text) for text in cells]
        )

    title = (
        f"{record.method_label} seed {record.seed} on {key}: {name} probe of {found.n_train:,} scenes, {found.n_objects:,} "
        f"objects of {found.n_images:,} images, {100 * found.missed:.1f} % of them without a slot"
    )
    explained = []
    if found.constant:
        explained.append(f"the same for all training objects, not probed: {', '.join(found.constant)}")
    if found.disentanglement is not None or found.completeness is not None:
        shares = (
            f"disentanglement {_number(found.disentanglement)}, completeness {_number(found.completeness)}"
        )
        explained.append(shares)
    headings = ["slots", "95 % interval", "majority", "masks", "untrained"]
    lines = [line("factors", factor, score) for factor, score in found.factors.items()]
    lines += [line("means", f"mean {measure}", score) for measure, score in found.means.items()]
    return tables.Table(title, "factor", ("measure",), [""] * len(headings), headings, lines, explained)


def _number(value: float | None) -> str:
    """In percent, as all scores."""
    return "-" if value is None else f"{100 * value:z.1f}"
