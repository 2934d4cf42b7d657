"""Disentanglement and completeness, against formulas written out with loops, and importances of known probes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from objbench.probe.dci import dci, importances
from objbench.probe.estimators import fit
from objbench.probe.targets import Target


def reference(importance: np.ndarray) -> tuple[float, float]:
    """Eastwood and Williams (2018), sections 2 and 3, term by term."""
    codes, factors = importance.shape
    shares = [[importance[d, f] / importance[:, f].sum() for f in range(factors)] for d in range(codes)]
    total = sum(map(sum, shares))
    disentanglement = 0.0
    for row in shares:
        entropy = -sum(p * math.log(p, factors) for value in row if (p := value / max(sum(row), 1e-300)) > 0)
        disentanglement += sum(row) / total * (1 - entropy)
    completeness = 0.0
    for f in range(factors):
        column = [row[f] for row in shares]
        completeness += 1 + sum(p * math.log(p, codes) for p in column if p > 0)
    return disentanglement, completeness / factors


@pytest.mark.parametrize("seed", range(5))
def test_equal_to_a_reference_computation(seed):
    random = np.random.default_rng(seed)
    importance = random.random((7, 4)) * (random.random((7, 4)) < 0.6)
    importance[0] += 0.1
    assert dci(importance) == pytest.approx(reference(importance), abs=1e-10)


def test_one_number_for_two_factors_is_complete_but_not_disentangled():
    found = dci(np.array([[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]))
    assert found == (0.0, 1.0)


def test_two_numbers_for_one_factor_each_are_disentangled_but_not_complete():
    found = dci(np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]))
    assert found == pytest.approx((1.0, 0.5))


def test_the_scale_of_a_factor_does_not_matter():
    importance = np.random.default_rng(0).random((5, 3))
    assert dci(importance * [1, 10, 100]) == pytest.approx(dci(importance))


def test_a_factor_that_nothing_speaks_of_is_left_out():
    assert dci(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])) == (1.0, 1.0)


def test_undefined_for_one_factor_or_one_number():
    assert math.isnan(dci(np.ones((3, 1))).disentanglement)
    assert math.isnan(dci(np.ones((1, 3))).completeness)
    assert all(map(math.isnan, dci(np.zeros((3, 2)))))


@pytest.mark.parametrize("probe", ["linear", "mlp", "gradient_boosting"])
@pytest.mark.parametrize("kind", ["categorical", "numeric"])
def test_the_number_that_says_it_all_is_important(probe, kind):
    random = np.random.default_rng(0)
    inputs = random.normal(size=(300, 4)).astype(np.float32)
    values = (inputs[:, 2] > 0).astype(int) if kind == "categorical" else inputs[:, 2:3].astype(np.float64)
    target = Target("it", kind, values[None])
    found = importances(fit(probe, target, inputs, values, 0), inputs, values, 0)
    assert found.shape == (4,)
    assert found.min() >= 0
    assert found.argmax() == 2
    assert found[2] > 5 * np.delete(found, 2).max()


def test_the_importances_of_linear_probes_are_the_weights_of_their_standardised_inputs():
    random = np.random.default_rng(0)
    inputs = random.normal([0, 5, -2], [1, 10, 0.1], (200, 3)).astype(np.float32)
    values = inputs @ [[3.0, 0.0], [0.2, -0.1], [0.0, 4.0]] + random.normal(size=(200, 2))
    z, y = ((x - x.mean(0)) / x.std(0) for x in (inputs.astype(np.float64), values))
    weights = np.linalg.solve(z.T @ z + np.eye(3), z.T @ y)  # of ridge regression with a penalty of 1
    fitted = fit("linear", Target("it", "numeric", values[None]), inputs, values, 0)
    assert importances(fitted, inputs, values, 0) == pytest.approx(np.abs(weights).mean(1), abs=1e-4)


@pytest.mark.parametrize("probe", ["mlp", "gradient_boosting"])
def test_a_number_that_is_shuffled_costs_twice_the_variance_that_it_explains(probe):
    inputs = np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32)
    values = 100 + 3 * inputs[:, 1:2].astype(np.float64)
    fitted = fit(probe, Target("it", "numeric", values[None]), inputs, values, 0)
    assert importances(fitted, inputs, values, 0) == pytest.approx([0, 2, 0], abs=0.2)
