"""Training curves: scores on the validation split over training, a thin line for each seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from objbench.errors import ObjbenchError
from objbench.report.figures.canvas import (
    COLUMN,
    FAINT,
    FULL,
    INK,
    MINIMUM_DPI,
    POINTS,
    SMALL,
    TITLE,
    lines_of,
    paper_style,
)
from objbench.report.figures.pictures import METRICS
from objbench.spec.metrics import MetricSpec
from objbench.train.log import read_log
from objbench.viz import colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The colours of the palette that are visible as a thin line on white, the most different ones first.
_COLOURS = tuple("#{:02x}{:02x}{:02x}".format(*colour(label)) for label in (5, 6, 3, 1, 7, 2, 8, 12, 14, 11))
_DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1.5, 1)))
_AXIS = 1.4  # inches, the height of an axis
_LEFT, _BELOW, _ABOVE = 0.34, 0.32, 0.2  # inches around an axis for its labels
_LEADING = 1.35
_FEW = 12


@dataclass(frozen=True)
class Course:
    """The validation scores of one training.

    Attributes:
        steps: Training steps before each validation.
        values: Metric -> its values at these steps, as fractions.
    """

    label: str
    seed: int
    steps: list[int]
    values: dict[str, list[float]]

    @classmethod
    def read(cls, path: Path, label: str, seed: int) -> Course:
        """Read a course from `path`, a metrics.jsonl or the folder of a run.

        Raises:
            ObjbenchError: There is no such file, or it has no validation.
        """
        if not path.exists():
            raise ObjbenchError(f"{path}: no such file or folder")
        lines = _validations(path)
        if not lines:
            raise ObjbenchError(
                f"{path}: no validation in its metrics.jsonl, and a training curve is made of these; objbench run "
                "validates a method that is trained where the dataset has a val split and recipe.evaluations is not 0"
            )
        values = {name: [float(line["val"].get(name, math.nan)) for line in lines] for name in METRICS}
        return cls(label, seed, [int(line["step"]) for line in lines], values)


def validated(path: Path) -> bool:
    """Whether the run at `path` kept the validations of its training; a copy of shipped weights did not."""
    return bool(_validations(path))


def _validations(path: Path) -> list[dict[str, Any]]:
    try:
        return [line for line in read_log(path) if "val" in line]
    except FileNotFoundError:
        return []


def training_curves(
    title: str, courses: Sequence[Course], metrics: Mapping[str, MetricSpec], notes: Sequence[str] = ()
) -> Figure:
    """Draw a panel for each metric: its score in percent over training steps.

    One panel is as wide as a column of a page, two are as wide as a page. If all courses have the same label, each
    seed has a colour. Else each label has a colour; its seeds are thin lines, and their mean is a thick line if all
    were validated after the same steps.
    """
    from matplotlib.figure import Figure

    width = FULL if len(metrics) > 1 else COLUMN
    titles = lines_of([title], width - 0.08, TITLE, True) if title else []
    lines = lines_of(notes, width - 0.08, SMALL)
    names = list(dict.fromkeys(_name(course, courses) for course in courses))
    per_row = min(len(names), 6 if width == FULL else 3)
    head, foot = _height(titles, TITLE), _height(lines, SMALL)
    legend = 1.7 * math.ceil(len(names) / per_row) * SMALL / POINTS + 0.05
    height = head + legend + _ABOVE + _AXIS + _BELOW + foot
    with paper_style():
        figure = Figure(figsize=(width, height), dpi=MINIMUM_DPI, facecolor="white")
        panel = width / len(metrics)
        for i, (name, metric) in enumerate(metrics.items()):
            box = (i * panel + _LEFT, foot + _BELOW, panel - _LEFT - 0.15, _AXIS)
            axes = figure.add_axes((box[0] / width, box[1] / height, box[2] / width, box[3] / height))
            _draw(axes, name, courses)
            axes.set_title(f"{metric.title}, %", loc="left", pad=3)
        for i, line in enumerate(titles):
            y = 1 - (0.04 + i * _LEADING * TITLE / POINTS) / height
            figure.text(0.04 / width, y, line, fontsize=TITLE, color=INK, weight="bold", va="top")
        for i, line in enumerate(lines):
            y = (foot - 0.04 - i * _LEADING * SMALL / POINTS) / height
            figure.text(0.04 / width, y, line, fontsize=SMALL, color=FAINT, va="top")
        drawn = {str(line.get_label()): line for line in figure.axes[0].get_lines()}
        figure.legend(
            [drawn[name] for name in names],
            names,
            loc="upper left",
            bbox_to_anchor=(0, 1 - head / height),
            ncols=per_row,
            fontsize=SMALL,
            borderaxespad=0.3,
            handlelength=1.6,
            columnspacing=1.2,
        )
        return figure


def _height(lines: Sequence[str], size: float) -> float:
    return (_LEADING * size * len(lines) / POINTS + 0.06) if lines else 0.0


def _name(course: Course, courses: Sequence[Course]) -> str:
    several = len({other.label for other in courses}) > 1
    return course.label if several else f"seed {course.seed}"


def _draw(axes: Axes, metric: str, courses: Sequence[Course]) -> None:
    from matplotlib.ticker import EngFormatter

    seeds_of: dict[str, list[Course]] = {}
    for course in courses:
        seeds_of.setdefault(course.label, []).append(course)
    if len(seeds_of) == 1:
        for i, course in enumerate(courses):
            style = _style(i) | _dots(course)
            axes.plot(course.steps, _percent(course, metric), label=_name(course, courses), **style)
    else:
        for i, seeds in enumerate(seeds_of.values()):
            _method(axes, metric, seeds, _style(i))
    found = [value for course in courses for value in _percent(course, metric) if not math.isnan(value)]
    axes.set_ylim(min([0.0, *found]) - 2, 102)
    axes.set_xlim(0, max(course.steps[-1] for course in courses))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlabel("training step", labelpad=2)


def _method(axes: Axes, metric: str, seeds: Sequence[Course], style: dict[str, Any]) -> None:
    """Draw the seeds of one method among several; the line that the legend shows comes last."""
    label, values = seeds[0].label, [_percent(course, metric) for course in seeds]
    same = len(seeds) > 1 and all(course.steps == seeds[0].steps for course in seeds)
    thin: dict[str, Any] = {"linewidth": 0.5, "alpha": 0.6} if same else {}
    for course, percent in zip(seeds, values, strict=True):
        axes.plot(course.steps, percent, label=label, **style, **thin, **_dots(course))
    if same:
        means = [math.fsum(column) / len(seeds) for column in zip(*values, strict=True)]
        axes.plot(seeds[0].steps, means, label=label, linewidth=1.2, **style)


def _percent(course: Course, metric: str) -> list[float]:
    return [100 * value for value in course.values[metric]]


def _dots(course: Course) -> dict[str, Any]:
    """Draw a dot per validation if there are few: a single one makes no line."""
    return {"marker": "o", "markersize": 1.8, "clip_on": False} if len(course.steps) <= _FEW else {}


def _style(i: int) -> dict[str, Any]:
    """Vary colours, then dashes: no two of the first thirty lines look the same."""
    return {
        "color": _COLOURS[i % len(_COLOURS)],
        "linestyle": _DASHES[i // len(_COLOURS) % len(_DASHES)],
    }
