"""Disentanglement and completeness of a code, from how much each of its numbers says of each factor."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from objbench.data.scene import Array
from objbench.probe.estimators import Fitted

_MOST_OBJECTS = 2000  # for importances by permutation


class Dci(NamedTuple):
    """Both in [0,1].

    Attributes:
        disentanglement: Whether each number of the code speaks of one factor.
        completeness: Whether each factor is spoken of by one number of the code.
    """

    disentanglement: float
    completeness: float


def dci(importance: Array) -> Dci:
    """Disentanglement and completeness of importances, Eastwood and Williams (2018).

    The importances of each factor are scaled to a sum of one. With P the shares of a row, number d of the code has the
    disentanglement 1 - H_F(P_d), the entropy to the base F; their mean is weighted by the row sums. With P the shares of a
    column, factor f has the completeness 1 - H_D(P_f); the mean is over the factors.

    Args:
        importance: float (D,F), not negative: D numbers of the code, F factors. A factor that nothing speaks of is left
            out.

    Returns:
        NaN for disentanglement if there is one factor, and for completeness if the code has one number.

    Example:
        >>> dci(np.eye(3))
        Dci(disentanglement=1.0, completeness=1.0)
        >>> dci(np.ones((4, 3)))
        Dci(disentanglement=0.0, completeness=0.0)
    """
    importance = importance[:, importance.sum(0) > 0]
    codes, factors = importance.shape
    if factors == 0:
        return Dci(float("nan"), float("nan"))
    shares = importance / importance.sum(0)
    weights = shares.sum(1) / factors
    rows = shares / np.where(weights > 0, weights * factors, 1)[:, None]
    disentanglement = 1 - _entropy(rows, 1, factors)
    completeness = 1 - _entropy(shares, 0, codes)
    return Dci(_rounded((weights * disentanglement).sum()), _rounded(completeness.mean()))


def _entropy(shares: Array, axis: int, base: int) -> Array:
    if base < 2:
        return np.full(shares.shape[1 - axis], np.nan)
    logs = np.log(np.where(shares > 0, shares, 1))
    return np.asarray(-(shares * logs).sum(axis) / np.log(base))


def _rounded(value: Any) -> float:
    """Without the -1e-16 of a uniform distribution."""
    return float(np.round(value, 12)) + 0.0


def importances(fitted: Fitted, inputs: Array, values: Array, seed: int) -> Array:
    """How much each number of the code says of a factor: float64 (D,), not negative.

    For linear probes the absolute weights of the standardised inputs, mean over classes or components; for the others
    how much the score (accuracy or R2) falls when that number is shuffled among at most 2,000 objects (Breiman 2001).

    Args:
        fitted: The probe.
        inputs: float32 (P,D).
        values: Of the factor, (P,) or (P,C).
        seed: Of the shuffling.
    """
    from sklearn.inspection import permutation_importance
    from sklearn.linear_model import LogisticRegression, Ridge

    last = fitted.model[-1] if hasattr(fitted.model, "steps") else None
    if isinstance(last, LogisticRegression | Ridge):
        return np.asarray(np.abs(np.atleast_2d(last.coef_)).mean(0))
    some = np.random.default_rng(seed).permutation(len(inputs))[:_MOST_OBJECTS]
    truth = values[some]
    if fitted.centre is not None:
        truth = (truth - fitted.centre) / fitted.scale
    found = permutation_importance(fitted.model, inputs[some], truth, n_repeats=3, random_state=seed)
    return np.asarray(found.importances_mean.clip(min=0))
