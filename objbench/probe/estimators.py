"""Probes: what predicts one factor from the vector of a slot. All are scikit-learn's; inputs are standardised."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from objbench.data.scene import Array
from objbench.probe.targets import Target
from objbench.scores import ProbeName

_RIDGE = 1.0  # penalty of the linear probes, in units of standardised inputs
_HIDDEN = 256
_PASSES = 50


@dataclass(frozen=True)
class Fitted:
    """A probe of one factor.

    Attributes:
        model: Of scikit-learn; it predicts classes, or standardised numbers (P,C).
        usual: What is predicted where there is no slot: the most frequent class, or the mean (C,).
        centre: Mean of numeric training values (C,); None for a categorical factor.
        scale: Their standard deviation.
    """

    model: Any
    usual: Any
    centre: Array | None = None
    scale: Array | None = None

    def predict(self, inputs: Array) -> Array:
        """Classes (P,), or numbers (P,C) in the units of the factor."""
        if self.centre is None:
            return np.asarray(self.model.predict(inputs))
        found = np.asarray(self.model.predict(inputs)).reshape(len(inputs), -1)
        return np.asarray(found * self.scale + self.centre)

    def losses(self, inputs: Array) -> _Losses:
        """What each value of the factor would cost for each input."""
        if self.centre is not None:
            return _Losses(None, self.predict(inputs), self.scale)
        probabilities = np.asarray(self.model.predict_proba(inputs))
        return _Losses(self.model.classes_, -np.log(np.clip(probabilities, 1e-12, None)), None)


@dataclass(frozen=True)
class _Losses:
    """The loss of every input as a function of the true value."""

    classes: Array | None
    table: Array  # (P, classes), or predictions (P,C)
    scale: Array | None

    def of(self, rows: Array, values: Array) -> Array:
        """-log p of a class (a class that was never seen costs as much as p = 1e-12), or the squared error in units of
        the standard deviation, mean over components.

        Args:
            rows: Which inputs, int64 of any shape.
            values: The true values for them: of the same shape, with (C,) at the end if numeric.
        """
        if self.classes is None:
            errors = ((self.table[rows] - values) / self.scale) ** 2
            return np.asarray(errors.mean(-1))
        column = np.searchsorted(self.classes, values).clip(max=len(self.classes) - 1)
        cost = self.table[rows, column]
        return np.asarray(np.where(self.classes[column] == values, cost, -np.log(1e-12)))


def varies(values: Array) -> bool:
    """Whether there is anything to learn: two classes, or two values."""
    return len(np.unique(values, axis=0)) > 1 if len(values) else False


def fit(probe: ProbeName, target: Target, inputs: Array, values: Array, seed: int) -> Fitted:
    """Fit a probe of `target`.

    linear is logistic regression (categorical) or ridge regression, both with an L2 penalty of 1; mlp has one hidden
    layer of 256 (Adam, at most 50 passes); gradient_boosting is scikit-learn's histogram-based one of 100 rounds.

    Args:
        probe: Which one.
        target: The factor.
        inputs: float32 (P,D).
        values: Of the factor: (P,), or (P,C) if numeric.
        seed: Of the probe's own random draws.
    """
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "The number of unique classes")  # few objects of many kinds
        if target.kind == "categorical":
            classes, counts = np.unique(values, return_counts=True)
            return Fitted(_classifier(probe, seed).fit(inputs, values), classes[counts.argmax()])
        centre, scale = values.mean(0), values.std(0)
        scale = np.where(scale > 0, scale, 1)
        standardised = (values - centre) / scale
        single = probe == "mlp" and standardised.shape[1] == 1  # scikit-learn warns of a column there
        target_values = standardised[:, 0] if single else standardised
        return Fitted(_regressor(probe, seed).fit(inputs, target_values), centre, centre, scale)


def _classifier(probe: ProbeName, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if probe == "linear":
        return make_pipeline(StandardScaler(), LogisticRegression(C=1 / _RIDGE, max_iter=1000))
    if probe == "mlp":
        return make_pipeline(StandardScaler(), MLPClassifier(**_mlp(seed)))
    return HistGradientBoostingClassifier(early_stopping=False, random_state=seed)


def _regressor(probe: ProbeName, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.linear_model import Ridge
    from sklearn.multioutput import MultiOutputRegressor
    from sklearn.neural_network import MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if probe == "linear":
        return make_pipeline(StandardScaler(), Ridge(alpha=_RIDGE))
    if probe == "mlp":
        return make_pipeline(StandardScaler(), MLPRegressor(**_mlp(seed)))
    return MultiOutputRegressor(HistGradientBoostingRegressor(early_stopping=False, random_state=seed))


def _mlp(seed: int) -> dict[str, Any]:
    return {"hidden_layer_sizes": (_HIDDEN,), "max_iter": _PASSES, "random_state": seed}
