"""The two kinds of errors of objbench, with the exit code of each."""

from __future__ import annotations

import difflib
import errno
import operator
import re
from collections.abc import Iterable, Sequence
from typing import Any

_BRIEF = 200  # letters
# Colours of a terminal, which torch puts into messages; objects in the memory, which Pillow names instead of files.
_NOISE = re.compile(r"\x1b\[[0-9;]*m| <\S+ object at 0x[0-9a-f]+>")
_NO_MEMORY = (  # what torch, threading, zlib and the loader of shared libraries say
    "Cannot allocate memory",
    "DefaultCPUAllocator",
    "can't start new thread",
    "Error -4 while",
    "failed to map segment from shared object",
)
_OF_THE_CONTENT = (
    None,
    errno.EINVAL,
    errno.EOVERFLOW,
)  # of an OSError: parsers give no number; a damaged address


class ObjbenchError(Exception):
    """The work failed: damaged or missing input, a failed training, a difference found. Exit code 1.

    The message tells the user which file and record, what was expected, what was found and what to do.

    Example:
        >>> import objbench
        >>> try:
        ...     objbench.generate("tetrominos", 1)
        ... except objbench.ObjbenchError as error:
        ...     print(str(error).partition("?")[0])
        unknown dataset 'tetrominos': did you mean 'tetrominoes'
    """

    exit_code = 1


class RequestError(ObjbenchError):
    """The request was wrong: an unknown name, key or option, or settings that differ from earlier ones. Exit code 2."""

    exit_code = 2


def brief(error: BaseException) -> str:
    """What an error of a library says of damaged bytes, in one line, and the same in every process.

    It may quote kilobytes of them, be in colours, or name the place of an object in the memory.

    >>> brief(ValueError("bad\\n\\x1b[1mheader\\x1b[0m"))
    'bad header'
    >>> brief(OSError(f"cannot identify image file {object()!r}"))
    'cannot identify image file'
    >>> brief(KeyError())
    'KeyError'
    """
    words = " ".join(_NOISE.sub("", str(error)[: 2 * _BRIEF]).split()) or type(error).__name__
    return shortened(words)


def lines_of(error: BaseException) -> list[str]:
    """The lines of what an error says, the name of its type if it says nothing.

    >>> lines_of(RuntimeError("no room\\nframe 0")), lines_of(AssertionError())
    (['no room', 'frame 0'], ['AssertionError'])
    """
    return str(error).strip().splitlines() or [type(error).__name__]


def shortened(text: str) -> str:
    """The text, or its first 200 letters and an ellipsis."""
    return text if len(text) <= _BRIEF else f"{text[:_BRIEF]}..."


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the memory of the machine or of a device was not enough, or a limit on it was reached.

    Libraries have types of their own for it, or none: torch's for a GPU is known by its name, for the CPU by its text.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(OSError(errno.ENOMEM, "Cannot allocate memory"))
    (True, True)
    """
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return any(sign in str(error) for sign in _NO_MEMORY)


def is_of_the_content(error: BaseException) -> bool:
    """Whether what reading a file raised tells of its bytes, and not of a missing permission, a failing disk or a lack
    of memory, which another try or another place may cure.

    >>> is_of_the_content(PermissionError(errno.EACCES, "Permission denied")), is_of_the_content(MemoryError())
    (False, False)
    >>> is_of_the_content(ValueError("bad header")), is_of_the_content(OSError("image file is truncated"))
    (True, True)
    """
    if isinstance(error, OSError):
        return error.errno in _OF_THE_CONTENT
    return not is_out_of_memory(error)


def first_few(names: Sequence[str], between: str = ", ") -> str:
    """The first three names, and how many more there are.

    >>> first_few(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return between.join(names[:3]) + more


def one_of(names: Sequence[str]) -> str:
    """The names, at least one, as alternatives in a sentence.

    >>> one_of(["clevrtex", "deepmind", "emorl"]), one_of(["emorl"])
    ('clevrtex, deepmind or emorl', 'emorl')
    """
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def whole_number(what: str, value: Any, least: int) -> int:
    """`value`, which may be of a type of numpy, as an int.

    >>> whole_number("seed", 7, least=0)
    7

    Raises:
        RequestError: It is no whole number, or below `least`. 1.0 and True are none: as seeds they would be others than 1.
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < least:
        raise RequestError(f"{what}: expected a whole number of at least {least}, found {value!r}")
    return number


def unknown_name(kind: str, name: Any, known: Iterable[str]) -> RequestError:
    """The error for an unknown `name`, with the closest match and a list of the known names.

    `name` may be of any type; another type than text is shown as Python writes it.

    >>> str(unknown_name("dataset", "tetrominos", ["clevr6", "tetrominoes"]))
    "unknown dataset 'tetrominos': did you mean 'tetrominoes'? Known: clevr6, tetrominoes"
    >>> str(unknown_name("launcher", "pbs", ["local", "slurm"]))
    "unknown launcher 'pbs'. Known: local, slurm"
    """
    known, name = sorted(known), str(name)
    ends = [key for key in known if kind == "key" and key.rpartition(".")[2] == name.rpartition(".")[2]]
    close = ends if len(ends) == 1 else []  # a key that lacks its block, or has another one
    if not close:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f": did you mean '{close[0]}'?" if close else "."
    listing = ", ".join(known) if known else "none"
    return RequestError(f"unknown {kind} '{name}'{hint} Known: {listing}")
