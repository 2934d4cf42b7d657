"""Any error in one line, with what to do about it as far as that is known."""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from objbench.error_line import line_of, own_line
from objbench.errors import ObjbenchError, brief, is_out_of_memory
from objbench.os_errors import remedy_of

LESS_MEMORY_OF_A_RUN = (
    "a smaller recipe.batch_size or recipe.evaluation_batch_size needs less, fewer scenes too; or "
)


@contextmanager
def no_exit() -> Iterator[None]:
    """Around hooks of a method: sys.exit in one is an error like any other, and ends no program.

    Raises:
        ObjbenchError: It was called.
    """
    try:
        yield
    except SystemExit as error:
        raise ObjbenchError(f"sys.exit({error.code!r}) was called (at {line_of(error)})") from error


def in_a_line(error: Exception, less_memory: str = "") -> str:
    """One line about an error, or one for each mistake of an ObjbenchError; what has no remedy is told with its place in somebody's own code, if it passed any.

    Args:
        error: The error.
        less_memory: What makes the work need less memory.

    >>> in_a_line(ObjbenchError("config.json: damaged"))
    'config.json: damaged'
    """
    if isinstance(error, ObjbenchError):
        return str(error)
    if is_out_of_memory(error):
        traceback.clear_frames(error.__traceback__)  # gives back what they hold
        return (
            f"out of memory ({brief(error)}); {less_memory}end other programs, or raise the limit of this one "
            "(ulimit -v, the memory of a job or container)"
        )
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        remedy = remedy_of(error.errno, Path(os.fsdecode(error.filename or "")))
        own = own_line(error)
        more = f"; {remedy}" if remedy else f" (at {own})" if own else ""
        return f"{where}{error.strerror or error}{more}"
    logging.getLogger("objbench").debug("unexpected", exc_info=error)
    where = f"unexpected, at {line_of(error)}; --debug shows the traceback"
    return f"{type(error).__name__}: {' '.join(str(error).split())} ({where})"
