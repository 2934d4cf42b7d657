"""The numbers in blocks of a yaml: no yes or no, which pydantic would read as 1 and 0, no words, no NaN."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Whole = Annotated[int, Field(strict=True)]
Counted = Annotated[int, Field(strict=True, gt=0)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
