import pytest
import torch
from helpers.ranks import work
from torch import nn

from objbench.ranks.functions import SharedFunctions
from objbench.ranks.group import ALONE
from objbench.ranks.share import Share


@pytest.mark.slow
def test_norms_and_dropout_of_shares_are_those_of_the_batch():
    for found in work(3, "norms"):
        assert set(found) == {
            "norm",
            "plain norm",
            "counted norm",
            "dropout",
            "attention",
            "causal attention",
        }
        assert all(gap < 1e-12 for gap in found.values()), found


def test_what_is_not_training_stays_as_it_is():
    share = Share(ALONE, 0, 2, 4)
    x, norm, dropout = torch.randn(2, 3, 5), nn.BatchNorm1d(3).eval(), nn.Dropout(0.5).eval()
    expected = norm(x), dropout(x)
    with SharedFunctions(share):
        found = norm(x), dropout(x)
    assert all(torch.equal(one, two) for one, two in zip(found, expected, strict=True))


@pytest.mark.parametrize("p", [0.5, 1.0])
def test_dropout_draws_as_that_of_the_device_does(monkeypatch, p):
    """On a GPU dropout has a way of its own to draw; a stand-in for it here."""
    if p < 1:

        def kept(x):
            return (torch.rand_like(x) > p) / (1 - p)

        monkeypatch.setattr(torch._VF, "dropout", lambda x, p, training: x * kept(x), raising=False)
    x, dropout = torch.randn(4, 3), nn.Dropout(p)
    torch.manual_seed(0)
    expected = dropout(x)
    torch.manual_seed(0)
    with SharedFunctions(Share(ALONE, 1, 3, 4)):
        found = dropout(x[1:3])
    assert torch.equal(found, expected[1:3])


@pytest.mark.parametrize(
    "layer",
    [
        nn.Dropout1d(0.5),
        nn.Dropout2d(0.5),
        nn.Dropout3d(0.5),
        nn.AlphaDropout(0.5),
        nn.FeatureAlphaDropout(0.5),
        nn.RReLU(),
        nn.MultiheadAttention(4, 2, dropout=0.5, batch_first=True),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_other_functions_that_draw_are_refused_where_they_do(layer):
    x = torch.randn(2, 3, 4, *[4] * {nn.Dropout2d: 1, nn.Dropout3d: 2}.get(type(layer), 0))
    inputs = (x, x, x) if isinstance(layer, nn.MultiheadAttention) else (x,)
    with SharedFunctions(Share(ALONE, 0, 2, 4)):
        with pytest.raises(NotImplementedError, match="with random numbers on several processes"):
            layer(*inputs)
        layer.eval()(*inputs)


def test_attention_that_was_not_thought_of_is_refused():
    x = torch.randn(3, 2, 1, 4, 4)
    with SharedFunctions(Share(ALONE, 0, 2, 4)), pytest.raises(NotImplementedError):
        nn.functional.scaled_dot_product_attention(*x, torch.zeros(4, 4), dropout_p=0.1)
