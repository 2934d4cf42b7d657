"""`--part K/N`: which share of the work is this process's, said by a person or by a scheduler's variables."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from objbench.errors import RequestError

Item = TypeVar("Item")
PARTS_VARIABLE = "OBJBENCH_PARTS"  # the number of parts, for schedulers that do not tell it


class Part(NamedTuple):
    """The `number`-th of `of` parts, counted from 1."""

    number: int
    of: int

    def share(self, items: Sequence[Item]) -> list[Item]:
        """Every `of`-th item, so that all parts have about as much to do.

        >>> Part(2, 3).share("abcdefg")
        ['b', 'e']
        """
        return list(items[self.number - 1 :: self.of])

    def stretch(self, items: Sequence[Item]) -> list[Item]:
        """Its share as neighbours, as many as `share` gives, where these are cheaper to make together.

        >>> Part(2, 3).stretch("abcdefg")
        ['c', 'd']
        """
        return list(items[(self.number - 1) * len(items) // self.of : self.number * len(items) // self.of])

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


WHOLE = Part(1, 1)


@dataclass(frozen=True)
class _Scheduler:
    """The variables of an array scheduler.

    Attributes:
        index: Of this task.
        first: The number of the first task, or the variable with it.
        count: The variable with the number of tasks, if there is one.
        last: The variable with the number of the last task, if there is one.
        step: The variable with the distance of two numbers, if there is one.
    """

    index: str
    first: int | str
    count: str | None = None
    last: str | None = None
    step: str | None = None


_SCHEDULERS = (
    _Scheduler(
        "SLURM_ARRAY_TASK_ID",
        "SLURM_ARRAY_TASK_MIN",
        "SLURM_ARRAY_TASK_COUNT",
        "SLURM_ARRAY_TASK_MAX",
        "SLURM_ARRAY_TASK_STEP",
    ),
    _Scheduler("JOB_COMPLETION_INDEX", 0),  # an indexed job of Kubernetes
    _Scheduler("AWS_BATCH_JOB_ARRAY_INDEX", 0, "AWS_BATCH_JOB_ARRAY_SIZE"),
    _Scheduler("PBS_ARRAY_INDEX", 1),
    _Scheduler("SGE_TASK_ID", "SGE_TASK_FIRST", None, "SGE_TASK_LAST", "SGE_TASK_STEPSIZE"),
)


def parse_part(text: str | None, environment: Mapping[str, str] = os.environ) -> Part:
    """The part that `--part` asks for: `K/N`, or `auto` and `auto/N` by the variables of an array scheduler.

    Kubernetes and PBS do not tell a task how many there are: there `auto/N`, or OBJBENCH_PARTS, says it.

    Raises:
        RequestError: Not such a text, a part that does not exist, or `auto` outside of an array.

    >>> parse_part("3/64")
    Part(number=3, of=64)
    >>> parse_part("auto", {"AWS_BATCH_JOB_ARRAY_INDEX": "0", "AWS_BATCH_JOB_ARRAY_SIZE": "8"})
    Part(number=1, of=8)
    """
    if text is None:
        return WHOLE
    number, _, of = text.partition("/")
    if number == "auto":
        return _by_scheduler(text, of, environment)
    try:
        part = Part(int(number), int(of))
    except ValueError:
        raise RequestError(f"--part {text}: expected K/N such as 3/64, auto or auto/N") from None
    return _existing(part, f"--part {text}")


def _by_scheduler(text: str, of: str, environment: Mapping[str, str]) -> Part:
    found = next((one for one in _SCHEDULERS if one.index in environment), None)
    if found is None:
        names = ", ".join(one.index for one in _SCHEDULERS)
        raise RequestError(f"--part {text}: not within an array of jobs (none of {names} is set)")
    said = f"--part {text} ({found.index}={environment[found.index]})"
    numbers = _Numbers(environment, said)
    first = numbers.read(found.first, 0) if isinstance(found.first, str) else found.first
    step = numbers.read(found.step, 1) or 1
    position, rest = divmod(numbers.read(found.index) - first, step)
    if rest:
        raise RequestError(f"{said}: not a number of this array (from {first} in steps of {step})")
    if of:
        count = numbers.parse(of, "the number after auto/")
    elif PARTS_VARIABLE in environment:
        count = numbers.read(PARTS_VARIABLE)
    elif found.count is not None and found.count in environment:
        count = numbers.read(found.count)
    elif found.last is not None and found.last in environment:
        count = (numbers.read(found.last) - first) // step + 1
    else:
        raise RequestError(
            f"{said}: this scheduler does not tell how many tasks there are; say it with --part auto/N or in "
            f"{PARTS_VARIABLE}"
        )
    return _existing(Part(position + 1, count), said)


class _Numbers:
    """The numbers in the variables of an environment."""

    def __init__(self, environment: Mapping[str, str], said: str) -> None:
        self._environment, self._said = environment, said

    def read(self, name: str | None, default: int | None = None) -> int:
        """The value of a variable."""
        if default is not None and (name is None or name not in self._environment):
            return default
        assert name is not None
        return self.parse(self._environment[name], name)

    def parse(self, text: str, name: str) -> int:
        """The number in a text."""
        try:
            return int(text)
        except ValueError:
            raise RequestError(f"{self._said}: {name} is '{text}', not a number") from None


def _existing(part: Part, said: str) -> Part:
    if part.of < 1 or not 1 <= part.number <= part.of:
        raise RequestError(
            f"{said}: there is no part {part.number} of {part.of}; parts are counted from 1 to their number"
        )
    return part
