import pytest
import torch

from objbench.errors import RequestError
from objbench.ranks.group import ALONE, Ranks
from objbench.ranks.share import Share, share_of


def test_shares_are_the_batch_in_order_and_differ_by_one():
    for whole, size in ((5, 2), (7, 3), (64, 5), (3, 3)):
        shares = [share_of(Ranks(rank, size), whole) for rank in range(size)]
        assert [image for share in shares for image in range(share.start, share.stop)] == list(range(whole))
        counts = [share.count for share in shares]
        assert max(counts) - min(counts) <= 1
        assert sum(share.weight for share in shares) == pytest.approx(1)


def test_one_process_has_no_share():
    assert share_of(ALONE, 4) is None


def test_more_processes_than_images_are_refused():
    with pytest.raises(RequestError, match="a batch of 2 images cannot be shared by 3 processes"):
        share_of(Ranks(0, 3), 2)


def test_images_have_the_random_numbers_of_one_process():
    def draw(rows):
        return torch.rand(rows, 3, generator=torch.Generator().manual_seed(1))

    shares = [Share(Ranks(rank, 2), *bounds, 5) for rank, bounds in enumerate(((0, 2), (2, 5)))]
    together = torch.cat([share.drawn(share.count, draw) for share in shares])
    assert torch.equal(together, draw(5))
    twice = torch.cat([share.drawn(2 * share.count, draw) for share in shares])  # two rows per image
    assert torch.equal(twice, draw(10))
    with pytest.raises(ValueError, match="3 rows for 2 images"):
        shares[0].drawn(3, draw)
