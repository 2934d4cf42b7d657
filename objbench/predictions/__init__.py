"""Masks (and reconstructions) that any model predicted, read from files and matched with the images of a split."""

from objbench.predictions.read import Batch, Predictions, open_predictions
from objbench.predictions.target import Target

__all__ = ["Batch", "Predictions", "Target", "open_predictions"]
