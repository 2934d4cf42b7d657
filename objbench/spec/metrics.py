"""What a reader must know of a metric to read its numbers: said once, in the `metrics:` blocks of the yaml layers."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Literal

from pydantic import model_validator

from objbench.spec.numbers import Number
from objbench.stored import Strict

NOT_STATED = "not stated"


class MetricSpec(Strict):
    """How the values of a metric are read, compared and printed.

    The defaults hold for a metric that no layer says anything of: its numbers are printed as they are, none of them is
    called the best, and no table has a column for it until one is asked for.

    Attributes:
        title: The name that papers print, such as ARI-FG.
        summary: What the metric is.
        meaning: Which of several definitions of that name this one is. Published numbers of another are marked.
        unit: `percent`: fractions that are printed times 100; `plain`: printed as they are; decibel; hours; count.
        better: Which values are the better ones; None if that is not known, or if neither are.
        range: The lowest and the highest value, as computed (a fraction for percent); None where there is no bound.
        column: Whether tables have a column for it by default.
        computed_from: `masks`: the predicted masks, so that other masks of the same method change what it means;
            `reconstruction`; or `boxes`: counted beside the boxes of methods that have them, by no evaluator.
        cost: Whether it tells of the device that a run had rather than of the method.
    """

    title: str
    summary: str = ""
    meaning: str = NOT_STATED
    unit: Literal["percent", "plain", "decibel", "hours", "count"] = "plain"
    better: Literal["higher", "lower"] | None = None
    range: tuple[Number | None, Number | None] = (None, None)
    column: bool = False
    computed_from: Literal["masks", "reconstruction", "boxes"] = "masks"
    cost: bool = False

    @model_validator(mode="after")
    def _range_is_ordered(self) -> MetricSpec:
        low, high = self.range
        if low is not None and high is not None and low >= high:
            raise ValueError(f"range [{low:g}, {high:g}] of {self.title}: expected the lower bound first")
        return self

    @property
    def percent(self) -> bool:
        """Whether values are fractions that are printed in percent."""
        return self.unit == "percent"

    @property
    def sign(self) -> int:
        """-1 where lower values are better, else 1: values times sign, in falling order, have the best first."""
        return -1 if self.better == "lower" else 1

    def format(self, value: float, places: int = 1) -> str:
        """`value` as tables print it.

        Args:
            value: As computed: a fraction for percent.
            places: Decimals of a percentage.
        """
        match self.unit:
            case "percent":
                return _half_even(100 * value, places)
            case "hours" | "decibel":
                return f"{value:z.2f}"
            case "count":
                return f"{value:z,.0f}"
            case "plain":
                return f"{value:z.5f}"

    def is_outside(self, value: float, rounding: float = 0.0) -> bool:
        """Whether no mean of the metric can be `value`, a fraction for percent, by more than `rounding`."""
        low, high = self.range
        return (low is not None and value < low - rounding) or (high is not None and value > high + rounding)

    def rounded(self, value: float, places: int = 1) -> float:
        """`value` as exact as `format` prints it, to tell what looks equal in a table."""
        return float(self.format(value, places).replace(",", ""))


_EXACT = 1e15  # from here on floats have no decimal digits after the point


def _half_even(value: float, places: int) -> str:
    """A number as papers round it, by its decimal digits: 1.15 is 1.2 with one place, though its float is a little less."""
    if not abs(value) < _EXACT:
        return f"{value:.{places}f}"
    return f"{Decimal(f'{value:.9f}').quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN):zf}"
