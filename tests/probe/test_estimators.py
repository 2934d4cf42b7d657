"""Each probe on factors that it can, or cannot, predict; linear ones against formulas of their own."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor

from objbench.probe.estimators import fit, varies
from objbench.probe.targets import Target
from objbench.scores import PROBES

KIND = Target("kind", "categorical", np.empty((0, 0)))
PLACE = Target("place", "numeric", np.empty((0, 0, 0)))
NAMES = np.array(["ball", "cone", "cube"])


def inputs(count: int = 400, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 5)).astype(np.float32)


def classes(values: np.ndarray) -> np.ndarray:
    return NAMES[(values[:, 0] > 0).astype(int) + (values[:, 1] > 0)]


def places(values: np.ndarray) -> np.ndarray:
    return np.stack([100 + 3 * values[:, 0], values[:, 1] - values[:, 2]], 1).astype(np.float64)


@pytest.mark.parametrize("probe", PROBES)
def test_learns_and_is_the_same_each_time(probe):
    x, new = inputs(1000), inputs(300, seed=1)
    kind, place = fit(probe, KIND, x, classes(x), seed=3), fit(probe, PLACE, x, places(x), seed=3)
    assert (kind.predict(new) == classes(new)).mean() > 0.7
    residual = ((place.predict(new) - places(new)) ** 2).sum(0) / places(new).var(0) / 300
    assert residual.max() < 0.15
    assert (fit(probe, KIND, x, classes(x), seed=3).predict(new) == kind.predict(new)).all()
    assert kind.usual == "cone"
    assert place.usual == pytest.approx(places(x).mean(0))


def test_mlp_and_boosting_are_scikit_learn_s_with_the_settings_that_the_documentation_names():
    x = inputs(60)
    for target, values, mlp, boosting in (
        (KIND, classes(x), MLPClassifier, HistGradientBoostingClassifier),
        (PLACE, places(x), MLPRegressor, HistGradientBoostingRegressor),
    ):
        network = fit("mlp", target, x, values, 3).model[-1]
        assert isinstance(network, mlp)
        assert (network.hidden_layer_sizes, network.max_iter, network.random_state) == ((256,), 50, 3)
        forest = fit("gradient_boosting", target, x, values, 3).model
        forest = forest.estimator if target is PLACE else forest
        assert isinstance(forest, boosting)
        assert (forest.max_iter, forest.early_stopping, forest.random_state) == (100, False, 3)


def test_products_are_for_mlp_and_boosting_only():
    x, new = inputs(1500), inputs(400, seed=1)
    found = {
        probe: (
            fit(probe, KIND, x, x[:, 0] * x[:, 1] > 0, 0).predict(new) == (new[:, 0] * new[:, 1] > 0)
        ).mean()
        for probe in PROBES
    }
    assert found["linear"] < 0.65 < 0.85 < min(found["mlp"], found["gradient_boosting"])


def test_linear_numbers_are_ridge_regression():
    x = inputs()
    values = places(x)
    z = (x - x.mean(0)) / x.std(0)
    y = (values - values.mean(0)) / values.std(0)
    weights = np.linalg.solve(z.T @ z + np.eye(5), z.T @ y)
    expected = z @ weights * values.std(0) + values.mean(0)
    np.testing.assert_allclose(fit("linear", PLACE, x, values, 0).predict(x), expected, atol=1e-3)


def test_linear_classes_minimise_the_penalised_loss():
    x = inputs(200)
    labels = (x[:, 0] + x[:, 1] > 0.3).astype(int)
    model = fit("linear", KIND, x, labels, 0).model[-1]
    assert isinstance(model, LogisticRegression)
    z = (x - x.mean(0)) / x.std(0)

    def objective(weights: np.ndarray) -> float:
        margin = (2 * labels - 1) * (z @ weights[:5] + weights[5])
        return float(np.logaddexp(0, -margin).sum() + 0.5 * (weights[:5] ** 2).sum())

    at = np.append(model.coef_[0], model.intercept_)
    slopes = [(objective(at + 1e-4 * d) - objective(at - 1e-4 * d)) / 2e-4 for d in np.eye(6)]
    assert np.abs(slopes).max() < 0.05 < objective(np.zeros(6)) - objective(at)


def test_losses_are_those_of_the_true_values():
    x = inputs()
    kind, place = fit("linear", KIND, x, classes(x), 0), fit("linear", PLACE, x, places(x), 0)
    rows = np.array([[3, 3], [8, 9]])
    probabilities = dict(zip(kind.model.classes_, kind.model.predict_proba(x[3:4])[0], strict=True))
    true = np.array([["ball", "cube"], ["cone", "pyramid"]])
    found = kind.losses(x).of(rows, true)
    assert found[0] == pytest.approx([-np.log(probabilities["ball"]), -np.log(probabilities["cube"])])
    assert found[1, 1] == pytest.approx(-np.log(1e-12))  # a class that was never seen
    wanted = places(x)[rows] + 1
    errors = ((place.predict(x)[rows] - wanted) / places(x).std(0)) ** 2
    np.testing.assert_allclose(place.losses(x).of(rows, wanted), errors.mean(-1))


def test_a_component_without_variation_is_predicted_as_it_is():
    x = inputs()
    values = np.concatenate([places(x), np.full((len(x), 1), 7.0)], 1)
    assert fit("linear", PLACE, x, values, 0).predict(x)[:, 2] == pytest.approx(7)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["a", "a"], False),
        (["a", "b"], True),
        ([[1.0, 2.0], [1.0, 2.0]], False),
        ([[1.0, 2.0], [1.0, 3.0]], True),
        ([], False),
    ],
)
def test_whether_there_is_anything_to_learn(values, expected):
    assert varies(np.array(values)) == expected
