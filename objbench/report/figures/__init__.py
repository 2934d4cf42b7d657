"""The paper's Figures 3 to 12 remade from records: what a run kept of its images, and the course of its training."""

from __future__ import annotations

from objbench.report.figures.paper import FAILURES, PAPER_FIGURES, SUCCESS, draw

__all__ = ["FAILURES", "PAPER_FIGURES", "SUCCESS", "draw"]
