"""Success rates: the share of seeds above a stated threshold, for methods that either work or collapse."""

from __future__ import annotations

import math
from dataclasses import dataclass

from objbench.errors import RequestError
from objbench.report.rows.row import Statistic
from objbench.scores import LEVEL
from objbench.spec.metrics import MetricSpec
from objbench.spec.schema import Spec


@dataclass(frozen=True)
class SuccessRate:
    """`count` of `n` seeds succeeded; `low` and `high` bound the share that all seeds would have."""

    count: int
    n: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """The share of the seeds, in [0,1]."""
        return self.count / self.n


@dataclass(frozen=True)
class Success:
    """A seed succeeds if its `metric` is above `threshold`, or below it if lower values are better (sign -1)."""

    metric: str
    threshold: float
    sign: int = 1

    @classmethod
    def parse(cls, text: str, spec: Spec) -> Success:
        """Parse METRIC:THRESHOLD.

        Raises:
            RequestError: For anything else.
        """
        metric, _, number = text.partition(":")
        try:
            threshold = float(number)
        except ValueError:
            threshold = math.nan
        if not math.isfinite(threshold):
            raise RequestError(f"--success {text}: expected METRIC:THRESHOLD, such as ari_fg:0.9")
        found = spec.directed_metric(metric)
        if found.percent and not -1 <= threshold <= 1:
            raise RequestError(f"--success {text}: {metric} is a fraction, so is its threshold, such as 0.9")
        return cls(metric, threshold, found.sign)

    def __str__(self) -> str:
        return f"{self.metric} {'>' if self.sign > 0 else '<'} {self.threshold:g}"

    def text(self, metric: MetricSpec) -> str:
        """The condition as tables print it, in the unit of its metric: `ARI-FG > 50 %`."""
        bound = f"{100 * self.threshold:g} %" if metric.percent else f"{self.threshold:g}"
        return f"{metric.title} {'>' if self.sign > 0 else '<'} {bound}"

    def reached(self, value: float) -> bool:
        """Whether a seed of this value succeeded."""
        return self.sign * value > self.sign * self.threshold

    def of(self, value: Statistic | None) -> SuccessRate | None:
        """Compute the share of successful seeds; an undefined value (NaN) is no success. None if the seeds are not known."""
        if value is None or not value.seeds:
            return None
        count = sum(self.reached(seed) for seed in value.seeds.values())
        return SuccessRate(count, len(value.seeds), *wilson(count, len(value.seeds)))


def wilson(count: int, n: int) -> tuple[float, float]:
    """95 % score interval (low, high) in [0,1] of a share, of which `count` of `n` were seen (Wilson, 1927).

    >>> [round(bound, 3) for bound in wilson(3, 5)]
    [0.231, 0.882]
    """
    from scipy.stats import binomtest  # takes half a second to import

    interval = binomtest(count, n).proportion_ci(LEVEL, method="wilson")
    return float(interval.low), float(interval.high)
