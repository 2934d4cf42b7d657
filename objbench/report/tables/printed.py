"""Numbers as tables print them: scores in percent, errors and costs as they are."""

from __future__ import annotations

from objbench.report.rows.row import Statistic, is_percent
from objbench.report.rows.success import Share


def number(metric: str, value: float, places: int = 1) -> str:
    """One value of `metric`; `places` are decimals of a percentage."""
    if is_percent(metric):
        return f"{100 * value:.{places}f}"
    return {"hours": f"{value:.3g}", "iterations": f"{value:,.0f}"}.get(metric, f"{value:.5f}")


def printed(metric: str, value: Statistic, places: int, intervals: bool = False) -> str:
    """`mean ± std`, a single seed as it is; a published value with the decimals that its paper gives."""
    places = value.decimals or places
    if len(value.seeds) == 1:
        return of_seed(metric, value, next(iter(value.seeds)), places, intervals)
    mean = number(metric, value.mean, places)
    return mean if value.std is None else f"{mean} ± {number(metric, value.std, places)}"


def of_seed(metric: str, value: Statistic, seed: int, places: int, intervals: bool = False) -> str:
    """The value of one seed, with its interval over images where that is asked for and known."""
    mean = number(metric, value.seeds[seed], places)
    if not intervals or seed not in value.intervals:
        return mean
    return f"{mean} {bounds(metric, value.intervals[seed], places)}"


def bounds(metric: str, interval: tuple[float, float], places: int = 1) -> str:
    """`[low, high]`."""
    low, high = (number(metric, bound, places) for bound in interval)
    return f"[{low}, {high}]"


def share(found: Share) -> str:
    """`count/n [low, high]`, the bounds in percent."""
    return f"{found.count}/{found.n} [{100 * found.low:.0f}, {100 * found.high:.0f}]"
