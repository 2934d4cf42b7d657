"""The figures of Vikström and Ilin (2022), by number: their datasets, and how each is drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from objbench.errors import ObjbenchError, RequestError
from objbench.progress import Say
from objbench.report.figures import pictures
from objbench.report.figures.canvas import outputs, save
from objbench.report.figures.choose import PREFERRED, choose_rows, choose_seeds, rows_on, seeds
from objbench.report.figures.curves import Course, training_curves, validated
from objbench.report.figures.sheet import sheet
from objbench.report.rows.measured import Selection
from objbench.report.rows.row import Measured
from objbench.report.rows.success import Success
from objbench.spec.datasets import TEST
from objbench.spec.schema import Spec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IMAGES, IMAGES_WITH_ATTENTION = 6, 4  # for all methods together
IMAGES_OF_FAILED = 2  # per seed
MOST_FAILED = 4  # seeds
SUCCESS = Success("ari_fg", 0.5)
FAILURES = "12"  # the figure of the seeds that did not reach it

_COLOURS = (
    "Segments have the colour of the true one that they overlap most, a darker one where they match none; frames of "
    "slots have that of their segment."
)
_ATTENTION = "Attention from 0, black, to 1, white; slots are shown without their masks."
_VALIDATION = "Means over those validation images for which the metric is defined, segmented as in the test"
_RATIO = f" ({PREFERRED}: at mask ratio 0; the paper's own curve is at the current ratio)"


@dataclass(frozen=True)
class FigureRequest:
    """What a figure shows: one dataset, and which methods and seeds.

    Attributes:
        number: A key of PAPER_FIGURES.
        measured: All measured rows, with `selection` applied.
        spec: The benchmarks.
        datasets: At most one `DATASET[@PROTOCOL]`, which replaces the dataset of the paper.
        methods: `METHOD[:VARIANT]`; if there are none, objmae, or the best method if objmae has no records.
        selection: Of seeds.
        seed: None for the first of the selected ones, or all of them as curves.
        success: What a seed must reach not to count as failed.
        titled: Whether title and notes are part of the picture; else they are told.
        tell: Called with messages about what was chosen.

    Raises:
        RequestError: There is no such figure, or it cannot be of several datasets.
    """

    number: str
    measured: Sequence[Measured]
    spec: Spec
    datasets: Sequence[str]
    methods: Sequence[str]
    selection: Selection
    seed: int | None
    success: Success
    titled: bool
    tell: Say

    def __post_init__(self) -> None:
        if self.number not in PAPER_FIGURES:
            raise RequestError(f"--figure {self.number}: there are figures {', '.join(PAPER_FIGURES)}")
        if len(self.datasets) > 1:
            raise RequestError(
                f"--figure {self.number} is of one dataset, not of {' and '.join(self.datasets)}"
            )

    @property
    def dataset(self) -> str:
        """The dataset that the figure is of."""
        return self.datasets[0] if self.datasets else PAPER_FIGURES[self.number].dataset

    def rows(self, usable: Callable[[Measured], bool], lacking: str = "") -> list[Measured]:
        """Choose a row for each method to draw.

        Args:
            usable: Which rows the figure can show.
            lacking: What the others lack, for the message. Without it the rows of a method that is asked for stay where
                none of them can be shown, as what reads them knows better what they lack.
        """
        here = rows_on(self.measured, self.dataset, self.spec)
        with_seed = {row.label for row in here if self._has_seed(row)}
        here = [row for row in here if self._has_seed(row) or row.label not in with_seed]
        judged = [
            (row, not self._has_seed(row) or usable(row)) for row in here
        ]  # refused later if it is drawn
        able = {row.label for row, fits in judged if fits}
        unable = {row.label for row, _ in judged} - able
        asked = bool(self.methods) or not able
        short = [label for label in self.methods or sorted(unable) if label in unable]
        if lacking and asked and short:
            raise ObjbenchError(f"--figure {self.number}: {', '.join(short)} on {self.dataset} {lacking}")
        rows = [row for row, fits in judged if fits or (asked and row.label in unable)]
        return choose_rows(rows, self.methods, self.spec, self.dataset, self.tell)

    def _has_seed(self, row: Measured) -> bool:
        """Whether the row has the seed that is asked for, if one is."""
        return self.seed is None or self.seed in row.origins

    def place(self, row: Measured) -> str:
        """The name of what a row was scored on."""
        return self.spec.place_title(row.scored.place)

    def headed(self, title: str, notes: Sequence[str]) -> tuple[str, Sequence[str]]:
        """Title and notes as the figure shows them; those of a figure without them are told, for its caption."""
        if self.titled:
            return title, notes
        self.tell(f"caption: {title}. {' '.join(notes)}")
        return "", ()


@dataclass(frozen=True)
class PaperFigure:
    """A figure of the paper: its dataset, and the function that draws it."""

    dataset: str
    draw: Callable[[FigureRequest], Figure]


def draw(request: FigureRequest, output: Path) -> list[Path]:
    """Draw a figure and write it.

    Args:
        request: What it shows.
        output: The file, .png or .pdf; both are written if it has no suffix.

    Returns:
        The files written.

    Raises:
        ObjbenchError: A record is missing; the message has the command that makes it.
        RequestError: The options do not fit the figure.
    """
    paths = outputs(output)
    figure = compose(request)
    for path in paths:
        save(figure, path)
    return paths


def compose(request: FigureRequest) -> Figure:
    """Draw the figure without writing it."""
    return PAPER_FIGURES[request.number].draw(request)


def _segmentations(request: FigureRequest) -> Figure:
    rows = request.rows(lambda row: bool(_pictured(row, request.seed)))
    return _pictures(request, rows, pictures.segmentations, IMAGES)


def _pictured(row: Measured, seed: int | None) -> list[int]:
    """The seeds of a row that kept pictures, which a copy of shipped weights did not."""
    return [s for s in choose_seeds(row, seed) if pictures.has_samples(row, s)]


def _attention(request: FigureRequest) -> Figure:
    def keeps(row: Measured) -> bool:
        return any(pictures.has_attention(row, seed) for seed in choose_seeds(row, request.seed))

    lacking = (
        f"kept no attention masks in samples.npz, as {PREFERRED} and slot_attention do: "
        f"objbench run {PREFERRED} --dataset {request.dataset}"
    )
    rows = request.rows(keeps, lacking)
    return _pictures(request, rows, pictures.attention, IMAGES_WITH_ATTENTION, [_ATTENTION])


def _pictures(
    request: FigureRequest,
    rows: Sequence[Measured],
    layout: pictures.Layout,
    images: int,
    notes: Sequence[str] = (),
) -> Figure:
    """Draw the first images of one seed of each row, `images` in all."""
    each = max(1, images // len(rows))
    sections = []
    for row in rows:
        seed = (_pictured(row, request.seed) or choose_seeds(row, request.seed))[0]
        sections.append(pictures.section(row, seed, each, layout, layout is pictures.attention))
    count = sum(bool(strip.caption) for strip in sections[0].strips)
    shown = f"The first {count} of {rows[0].n_images:,} test images. {_COLOURS}"
    title = f"{request.place(rows[0])}, test split"
    return sheet(*request.headed(title, [shown, *notes, *_marks(rows)]), sections)


def _failures(request: FigureRequest) -> Figure:
    if request.selection != Selection() or request.seed is not None or len(request.methods) > 1:
        raise RequestError(
            f"--figure {request.number} shows the seeds of one method that failed, and chooses them itself: it goes "
            "with no --select, no --seed, and one --method"
        )
    (row,) = request.rows(lambda row: bool(_pictured(row, None)))
    metric = request.success.metric
    if metric not in row.values:
        raise ObjbenchError(
            f"--figure {request.number}: {row.name} on {row.scored.place} has no {metric} to go by"
        )
    scores = row.values[metric].seeds
    ranked = sorted(
        scores,
        key=lambda seed: (not math.isnan(scores[seed]), row.values[metric].metric.sign * scores[seed], seed),
    )
    failed = [seed for seed in ranked if not request.success.reached(scores[seed])]
    shown = (failed or ranked)[:MOST_FAILED]
    what = f"{len(failed) or 'none'} of {seeds(len(ranked))} failed"
    if len(shown) != len(failed):
        what += f", the worst {len(shown)} shown"
    sections = [pictures.section(row, seed, IMAGES_OF_FAILED, pictures.segmentations) for seed in shown]
    whole = row.values[metric].n_images in ((), (row.n_images,))
    described = row.values[metric].metric
    images = "all test images" if whole else f"those test images for which {described.title} is defined"
    note = f"A seed failed that did not reach {request.success.text(described)}, as a mean over {images}."
    title = f"{request.place(row)}, test split: {what}"
    return sheet(*request.headed(title, [note, _COLOURS, *_marks([row])]), sections)


def _curves(request: FigureRequest) -> Figure:
    def is_trained_here(row: Measured) -> bool:
        return row.learned is not None and all(origin.key == TEST for origin in row.origins.values())

    def has_course(row: Measured) -> bool:
        return is_trained_here(row) and any(validated(row.origins[s].folder) for s in row.origins)

    lacking = f"has no training on it: objbench run {PREFERRED} --dataset {request.dataset}"
    there = rows_on(request.measured, request.dataset, request.spec)
    rows = request.rows(has_course if any(map(has_course, there)) else is_trained_here, lacking)
    courses = []
    for row in rows:
        chosen = choose_seeds(row, request.seed)
        drawn = [seed for seed in chosen if validated(row.origins[seed].folder)] or chosen
        if left_out := [str(seed) for seed in chosen if seed not in drawn]:
            request.tell(f"{row.name}: no course of training is kept of seed {', '.join(left_out)}")
        courses += [Course.read(row.origins[seed].folder, row.title, seed) for seed in drawn]
    label = f"{rows[0].title}, " if len(rows) == 1 else ""
    validation = _VALIDATION + (_RATIO if any(row.who.method == PREFERRED for row in rows) else "") + "."
    if len(rows) > 1 and len(courses) > len(rows):
        validation += " Thin lines are seeds, thick ones their means."
    title = f"{label}{request.place(rows[0])}: validation over training"
    metrics = {name: request.spec.metric(name) for name in pictures.METRICS}
    title, notes = request.headed(title, [validation, *_marks(rows)])
    return training_curves(title, courses, metrics, notes)


def _marks(rows: Sequence[Measured]) -> list[str]:
    """The notes of the rows in one paragraph; a note that is not of all rows names its methods."""
    holders: dict[str, list[str]] = {}
    for row in rows:
        for note in row.notes:
            holders.setdefault(note, []).append(row.title)
    notes = [
        note if len(labels) == len(rows) else f"{', '.join(labels)} {note}"
        for note, labels in holders.items()
    ]
    return [f"Note: {'; '.join(notes)}."] if notes else []


PAPER_FIGURES: dict[str, PaperFigure] = {
    "3": PaperFigure("tetrominoes", _segmentations),
    "4": PaperFigure("multi_dsprites", _segmentations),
    "5": PaperFigure("clevr6", _segmentations),
    "6": PaperFigure("clevrtex", _segmentations),
    "7": PaperFigure("clevrtex", _curves),
    "8": PaperFigure("clevr6", _attention),
    "9": PaperFigure("clevrtex", _attention),
    "10": PaperFigure("clevrtex_ood", _segmentations),
    "11": PaperFigure("clevrtex_camo", _segmentations),
    FAILURES: PaperFigure("clevrtex", _failures),
}
