"""Masks (and reconstructions) predicted by any model, read from files and matched to the images of a split."""

from objbench.predictions.read import Batch, Predictions, open_predictions
from objbench.predictions.target import Target

__all__ = ["Batch", "Predictions", "Target", "open_predictions"]
