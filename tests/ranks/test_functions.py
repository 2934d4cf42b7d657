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
        assert set(found) == {"norm", "plain norm", "counted norm", "dropout", "attention"}
        assert all(gap < 1e-12 for gap in found.values()), found


def test_what_is_not_training_stays_as_it_is():
    share = Share(ALONE, 0, 2, 4)
    x, norm, dropout = torch.randn(2, 3, 5), nn.BatchNorm1d(3).eval(), nn.Dropout(0.5).eval()
    expected = norm(x), dropout(x)
    with SharedFunctions(share):
        found = norm(x), dropout(x)
    assert all(torch.equal(one, two) for one, two in zip(found, expected, strict=True))


def test_attention_that_was_not_thought_of_is_refused():
    x = torch.randn(3, 2, 1, 4, 4)
    with SharedFunctions(Share(ALONE, 0, 2, 4)), pytest.raises(NotImplementedError):
        nn.functional.scaled_dot_product_attention(*x, dropout_p=0.1, is_causal=True)
