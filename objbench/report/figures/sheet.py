"""A sheet of pictures: the rows of one or more runs on a grid, every pixel a whole number of dots."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from objbench.data.scene import Array
from objbench.report.figures.canvas import (
    COLUMN,
    FAINT,
    FULL,
    INK,
    LABEL,
    MINIMUM_DPI,
    POINTS,
    SMALL,
    TITLE,
    lines_of,
    paper_style,
)
from objbench.report.figures.pictures import Section, Strip

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GAP = 0.03  # inches between pictures
NARROW = 7  # columns of pictures that fit into one column of a page
_LEADING = 1.35  # of a line of text, in its size
_FRAME = 0.9  # points
_EXCESS = 0.01  # of a dot, by which a sheet is larger than its dots


@dataclass(frozen=True)
class Grid:
    """The measures of a sheet.

    Attributes:
        tile: Side of a picture, in dots.
        gap: Between pictures, in dots.
        columns: Pictures in a row.
        dpi: Dots per inch.
    """

    tile: int
    gap: int
    columns: int
    dpi: int

    @classmethod
    def fit(cls, side: int, columns: int) -> Grid:
        """Fit pictures of `side` pixels, each a whole number of dots, into the width of a page or of one of its columns."""
        inches = COLUMN if columns <= NARROW else FULL
        of_pictures = inches - (columns + 1) * _GAP
        tile = side * math.ceil(MINIMUM_DPI * of_pictures / columns / side)
        gap = round(_GAP * columns * tile / of_pictures)
        return cls(tile, gap, columns, math.ceil((columns * tile + (columns + 1) * gap) / inches))

    @property
    def width(self) -> int:
        """Width of the sheet, in dots."""
        return self.columns * self.tile + (self.columns + 1) * self.gap

    def left(self, column: int) -> int:
        """The first dot of the pictures of a column."""
        return self.gap + column * (self.tile + self.gap)

    def line(self, points: float) -> int:
        """Height of a line of text, in dots."""
        return round(points * _LEADING * self.dpi / POINTS)


def sheet(title: str, notes: Sequence[str], sections: Sequence[Section]) -> Figure:
    """Draw the sections below each other, with the title above and the notes below.

    Without a title and notes, the heading of a single section is left out, too.
    """
    bare = not title and not notes and len(sections) == 1
    tiles = [tile for section in sections for strip in section.strips for tile in strip.tiles if tile]
    columns = max(len(strip.tiles) for section in sections for strip in section.strips)
    grid = Grid.fit(max(tiles[0].picture.shape[:2]), columns)
    with paper_style():
        pen = Pen(grid)
        pen.text([title] if title else [], TITLE, INK, bold=True)
        for section in sections:
            if not bare:
                pen.skip(SMALL / 2)
                pen.text([section.heading], LABEL, INK)
            for i, strip in enumerate(section.strips):
                pen.strip(strip, headings=section.repeat or i == 0)
        if notes:
            pen.skip(SMALL / 2)
            pen.text(notes, SMALL, FAINT)
        return pen.done()


class Pen:
    """Draws a sheet from top to bottom; `y` is the current position, in dots."""

    def __init__(self, grid: Grid) -> None:
        from matplotlib.figure import Figure

        self.grid, self.y = grid, grid.gap
        self.figure = Figure(dpi=grid.dpi, facecolor="white")
        self.axes: Axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set_axis_off()

    def skip(self, points: float) -> None:
        """Leave some space."""
        self.y += self.grid.line(points)

    def text(self, paragraphs: Sequence[str], size: float, colour: str, bold: bool = False) -> None:
        """Write lines of text from the left edge."""
        left, weight = self.grid.gap, "bold" if bold else "normal"
        for line in lines_of(paragraphs, (self.grid.width - 2 * left) / self.grid.dpi, size, bold):
            y = self.y + self.grid.line(size) / 2
            self.axes.text(left, y, line, fontsize=size, color=colour, weight=weight, va="center_baseline")
            self.y += self.grid.line(size)

    def strip(self, strip: Strip, headings: bool) -> None:
        """Draw a row of pictures, with headings above and the caption below."""
        size = self._heading_size(strip)
        if headings:
            middle = self.y + self.grid.line(size) / 2
            for column, tile in enumerate(strip.tiles):
                if tile is not None:
                    x = self.grid.left(column) + self.grid.tile / 2
                    self.axes.text(
                        x, middle, tile.heading, fontsize=size, color=INK, ha="center", va="center_baseline"
                    )
            self.y += self.grid.line(size)
        for column, tile in enumerate(strip.tiles):
            if tile is not None:
                self._picture(column, tile.picture, tile.frame)
        self.y += self.grid.tile + self.grid.gap
        if strip.caption:
            self.y -= self.grid.gap // 2
            self.text([strip.caption], size, FAINT)
            self.y += self.grid.gap // 2

    def done(self) -> Figure:
        """Return the figure, cut to the height of what was drawn."""
        width, height, dpi = self.grid.width, self.y + self.grid.gap, self.grid.dpi
        # A little more, since the size comes back from inches and is cut to whole dots.
        self.figure.set_size_inches((width + _EXCESS) / dpi, (height + _EXCESS) / dpi)
        self.axes.set_xlim(0, width)
        self.axes.set_ylim(height, 0)
        return self.figure

    def _heading_size(self, strip: Strip) -> float:
        longest = max(len(tile.heading) for tile in strip.tiles if tile is not None)
        return min(LABEL, max(SMALL, self.grid.tile / self.grid.dpi * POINTS / (0.6 * longest)))

    def _picture(self, column: int, picture: Array, frame: tuple[int, int, int] | None) -> None:
        from matplotlib.patches import Rectangle

        left, top, side = self.grid.left(column), self.y, self.grid.tile
        # matplotlib before 3.11 rounds up what reaches into one dot more, and samples anew.
        far = side - 2 * _EXCESS
        extent = (left, left + far, top + far, top)
        self.axes.imshow(
            scaled(picture, side), extent=extent, interpolation="none", aspect="auto", resample=False
        )
        if frame is not None:
            colour = tuple(value / 255 for value in frame)
            half = _FRAME * self.grid.dpi / POINTS / 2
            corner, length = (left - half, top - half), side + 2 * half
            self.axes.add_patch(
                Rectangle(corner, length, length, fill=False, edgecolor=colour, linewidth=_FRAME)
            )


def scaled(picture: Array, side: int) -> Array:
    """Scale a picture (h,w,3) to side x side dots; each dot has the colour of the pixel it lies in."""
    rows, columns = (np.arange(side) * length // side for length in picture.shape[:2])
    dots: Array = picture[rows[:, None], columns]
    return dots
