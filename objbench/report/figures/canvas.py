"""Matplotlib figures for a paper: sizes, fonts that stay text, and the same bytes every time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from objbench.errors import RequestError
from objbench.files import replacing_output

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FULL, COLUMN = 5.5, 3.25  # inches: the width of the text, and of one of two columns
POINTS = 72  # per inch
TITLE, LABEL, SMALL = 7.0, 6.0, 5.0  # sizes of text in points
INK, FAINT = "#141414", "#5a5a5a"
MINIMUM_DPI = 300
FORMATS = (".png", ".pdf")
FONT = "DejaVu Sans"  # comes with Matplotlib
_SETTINGS: dict[str, Any] = {
    "pdf.fonttype": 42,  # TrueType: text can be searched and edited; many publishers refuse the default, type 3
    "image.composite_image": False,
    "font.family": FONT,
    "text.parse_math": False,
    "font.size": LABEL,
    "axes.titlesize": TITLE,
    "axes.labelsize": LABEL,
    "axes.linewidth": 0.5,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.linewidth": 0.4,
    "grid.color": "#e0e0e0",
    "xtick.labelsize": LABEL,
    "ytick.labelsize": LABEL,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 0.8,
    "legend.fontsize": LABEL,
    "legend.frameon": False,
}
_METADATA: dict[str, dict[str, Any]] = {
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Producer": None, "Creator": "objbench"},
}


@contextmanager
def paper_style() -> Iterator[None]:
    """Use this module's settings for drawing and saving, regardless of the user's matplotlibrc."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        settings: Any = matplotlib.rcParams
        settings.update(_SETTINGS)
        yield


def outputs(output: Path) -> list[Path]:
    """The files to write for `--output`: by its suffix; without a suffix both a PNG and a PDF.

    Raises:
        RequestError: The suffix is another one.
    """
    if output.suffix.lower() in FORMATS:
        return [output]
    if output.suffix:
        raise RequestError(
            f"--output {output}: a figure is written as .png or .pdf, or as both where no suffix is given"
        )
    return [output.with_suffix(suffix) for suffix in FORMATS]


def save(figure: Figure, path: Path) -> None:
    """Write `figure` in the format of the suffix, completely or not at all; equal figures give equal bytes."""
    suffix = path.suffix.lower()
    with paper_style(), replacing_output(path) as partial:
        figure.savefig(partial, format=suffix[1:], dpi=figure.get_dpi(), metadata=_METADATA[suffix])


def lines_of(paragraphs: Sequence[str], inches: float, size: float, bold: bool = False) -> list[str]:
    """Break paragraphs into lines.

    Args:
        paragraphs: Each starts on a new line.
        inches: The width available.
        size: Of the text, in points.
        bold: Whether the text is bold.
    """
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=FONT, size=size, weight="bold" if bold else "normal")
    lines: list[str] = []
    for paragraph in paragraphs:
        line = ""
        for word in paragraph.split(" "):
            longer = f"{line} {word}" if line else word
            width, _, _ = text_to_path.get_text_width_height_descent(longer, font, ismath=False)
            if line and width > inches * POINTS:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return lines
