"""The paper's Figures 3 to 12, drawn from records: the images that a run saved, and its training curves."""

from __future__ import annotations

from objbench.report.figures.paper import FAILURES, PAPER_FIGURES, SUCCESS, FigureRequest, draw

__all__ = ["FAILURES", "PAPER_FIGURES", "SUCCESS", "FigureRequest", "draw"]
