"""The plateau against torch's own, and across a saved state."""

from __future__ import annotations

import pytest
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from objbench.errors import RequestError
from objbench.methods.base import Progress
from objbench.methods.parts.plateau import Plateau, PlateauDecay
from objbench.spec.settings import parse

SETTINGS = PlateauDecay(learning_rate=1e-4, factor=0.1, patience=3, lowest=5e-5)
ANY = Progress("train", 0, 10, 0, 330)


def scores():
    generator = torch.Generator().manual_seed(0)
    falling = 0.1 * 0.9 ** torch.arange(60) * (1 + 0.3 * torch.rand(60, generator=generator))
    return [*falling.tolist(), *(falling[-1] * (1 - 1e-5 * torch.arange(30))).tolist(), 1e-4, 2e-4]


@pytest.mark.parametrize("patience", [0, 3])
def test_the_rate_is_that_of_torch(patience):
    settings = PlateauDecay(learning_rate=1e-3, factor=0.5, patience=patience, lowest=2e-4)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    theirs = ReduceLROnPlateau(optimizer, factor=0.5, patience=patience, min_lr=2e-4)
    plateau, rates = Plateau(settings), set()
    for score in scores():
        plateau.observe(score)
        theirs.step(score)
        assert plateau.learning_rate(ANY) == pytest.approx(optimizer.param_groups[0]["lr"])
        rates.add(plateau.learning_rate(ANY))
    assert min(rates) == 2e-4
    assert len(rates) > 2


def test_the_fourth_evaluation_without_an_improvement_is_the_plateau():
    plateau = Plateau(SETTINGS)
    rates = []
    for _ in range(6):
        plateau.observe(0.5)
        rates.append(plateau.learning_rate(ANY))
    assert rates == [1e-4] * 4 + [5e-5] * 2  # the first one is an improvement


def test_a_saved_state_goes_on_where_it_stood():
    whole, first, second = (Plateau(SETTINGS) for _ in range(3))
    for score in [0.5] * 3:
        whole.observe(score)
        first.observe(score)
    second.load_state_dict(first.state_dict())
    for score in [0.5] * 2:
        whole.observe(score)
        second.observe(score)
    third = Plateau(SETTINGS)
    third.load_state_dict(second.state_dict())
    assert whole.learning_rate(ANY) == second.learning_rate(ANY) == third.learning_rate(ANY) == 5e-5
    assert all(value.isfinite() for value in third.state_dict().values())


def test_a_factor_of_one_is_refused():
    values = {"learning_rate": 1e-4, "factor": 1.0, "patience": 3, "lowest": 0.0}
    with pytest.raises(RequestError, match=r"factor: expected a number > 0 and < 1, found 1\.0"):
        parse(PlateauDecay, values)
