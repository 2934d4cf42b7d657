"""One Adam: on everything, with the rate of its schedule."""

from __future__ import annotations

from torch import nn
from torch.optim import Adam

from objbench.methods.base import Progress
from objbench.methods.parts.one_adam import one_adam
from objbench.methods.parts.schedule import ExponentialDecay


def test_one_adam_has_all_parameters_and_the_rate_of_the_schedule():
    schedule = ExponentialDecay(learning_rate=4e-4, warmup_steps=10, decay_factor=1.0, decay_steps=1)
    network = nn.Linear(2, 3)
    ((adam, rate),) = one_adam(network.parameters(), schedule)
    assert type(adam) is Adam
    assert (adam.defaults["lr"], adam.defaults["betas"], adam.defaults["eps"]) == (4e-4, (0.9, 0.999), 1e-8)
    (group,) = adam.param_groups
    assert [id(parameter) for parameter in group["params"]] == [*map(id, network.parameters())]
    assert rate(Progress("train", 5, 100, 0, 330)) == 2e-4
