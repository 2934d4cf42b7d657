"""Numbers as tables print them: mean and std, one seed, intervals, shares."""

from __future__ import annotations

from objbench.report.rows.row import Statistic
from objbench.report.rows.success import Share
from objbench.spec.metrics import MetricSpec


def printed(value: Statistic, places: int, intervals: bool = False) -> str:
    """`mean ± std`, a single seed as it is; a published value with the decimals that its paper gives."""
    places = value.decimals or places
    if len(value.seeds) == 1:
        return of_seed(value, next(iter(value.seeds)), places, intervals)
    mean = value.metric.format(value.mean, places)
    return mean if value.std is None else f"{mean} ± {value.metric.format(value.std, places)}"


def of_seed(value: Statistic, seed: int, places: int, intervals: bool = False) -> str:
    """The value of one seed, with its interval over images where that is asked for and known."""
    mean = value.metric.format(value.seeds[seed], places)
    if not intervals or seed not in value.intervals:
        return mean
    return f"{mean} {bounds(value.metric, value.intervals[seed], places)}"


def bounds(metric: MetricSpec, interval: tuple[float, float], places: int = 1) -> str:
    """`[low, high]`."""
    low, high = (metric.format(bound, places) for bound in interval)
    return f"[{low}, {high}]"


def share(found: Share) -> str:
    """`count/n [low, high]`, the bounds in percent."""
    return f"{found.count}/{found.n} [{100 * found.low:.0f}, {100 * found.high:.0f}]"
