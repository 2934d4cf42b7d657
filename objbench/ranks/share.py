"""A process's share of every batch: which images, how much they count, which of the batch's random numbers are theirs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from objbench.errors import RequestError
from objbench.ranks.group import Ranks


@dataclass(frozen=True)
class Share:
    """The images `start` to `stop` of a batch of `whole`; `ranks` are the processes that have the others."""

    ranks: Ranks
    start: int
    stop: int
    whole: int

    @property
    def count(self) -> int:
        """How many images these are."""
        return self.stop - self.start

    @property
    def weight(self) -> float:
        """The part of the batch, in (0,1]: what a mean over these images counts in the mean over all."""
        return self.count / self.whole

    def drawn(self, count: int, draw: Callable[[int], Tensor]) -> Tensor:
        """The random numbers of `count` rows, so many per image: those that one process would draw for them.

        Args:
            count: A multiple of the number of images.
            draw: Gives the numbers of so many rows, from a generator that is in the same state in all processes.
        """
        per_image, rest = divmod(count, self.count)
        if rest:
            raise ValueError(f"asked for random numbers of {count} rows for {self.count} images")
        return draw(self.whole * per_image)[self.start * per_image : self.stop * per_image]

    def over_batch(self, mean: Tensor) -> Tensor:
        """The mean over the whole batch, from the mean over these images; without gradient."""
        whole = mean.detach() * self.weight
        self.ranks.sum(whole)
        return whole


def share_of(ranks: Ranks, whole: int) -> Share | None:
    """The share of this process in batches of `whole` images; None if it is alone. Shares differ by one image at most.

    Raises:
        RequestError: There are more processes than images.
    """
    if not ranks.several:
        return None
    if whole < ranks.size:
        raise RequestError(
            f"a batch of {whole} images cannot be shared by {ranks.size} processes: start at most {whole}, or use a "
            "larger recipe.batch_size"
        )
    start, stop = (whole * rank // ranks.size for rank in (ranks.rank, ranks.rank + 1))
    return Share(ranks, start, stop, whole)
