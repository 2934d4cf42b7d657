"""Where an error arose, as the person who sees it needs it: in their own code, not in a library that it called."""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Iterator
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

# The groups of entry points that plugins register.
GROUPS = tuple(f"objbench.{kind}" for kind in ("methods", "sources", "generators", "metrics", "definitions"))


class ElsewhereError(RuntimeError):
    """An error that nobody expected, of another process.

    Attributes:
        line: `FILE:LINE` where it arose there.
    """

    line: str

    @classmethod
    def of(cls, error: Exception, where: str) -> ElsewhereError:
        """The error as another process is told of it: those of libraries may not survive pickling."""
        told = cls(f"{where}: {type(error).__name__}: {error}")
        told.line = line_of(error)
        told.add_note("".join(traceback.format_exception(error)))
        return told


def own_line(error: BaseException) -> str | None:
    """`FILE:LINE` of the last line of somebody's own code that an error passed through; None if it passed none.

    Own is what is neither objbench nor a library: a method from a plain file, a plugin, wherever it is installed, and
    any file outside of the folders of libraries. A file that cannot be parsed is where a SyntaxError arose. What an
    error was raised from counts where the error itself says nothing.

    >>> own_line(ValueError("of nobody's code")) is None
    True
    """
    if isinstance(error, ElsewhereError):
        return error.line
    if isinstance(error, SyntaxError) and error.filename and not error.filename.startswith("<"):
        return f"{error.filename}:{error.lineno}"
    own = [f"{file}:{line}" for module, file, line in _lines(error) if _is_own(module, file)]
    if own:
        return own[-1]
    return own_line(error.__cause__) if error.__cause__ is not None else None


def line_of(error: BaseException) -> str:
    """`FILE:LINE` of the last line of somebody's own code, else of the last line of all."""
    return own_line(error) or [f"{file}:{line}" for _, file, line in _lines(error)][-1]


def _lines(error: BaseException) -> Iterator[tuple[str, str, int]]:
    """Module, file and line of each frame that an error passed through, the outermost first."""
    for frame, line in traceback.walk_tb(error.__traceback__):
        yield str(frame.f_globals.get("__name__", "")), frame.f_code.co_filename, line


def _is_own(module: str, file: str) -> bool:
    if ".py@" in module or module.partition(".")[0] in _plugins():
        return True
    return not file.startswith("<") and not any(Path(file).is_relative_to(folder) for folder in _libraries())


@cache
def _plugins() -> frozenset[str]:
    """The packages that have an entry point of objbench."""
    points = (point for group in GROUPS for point in entry_points(group=group))
    return frozenset(point.module.partition(".")[0] for point in points)


@cache
def _libraries() -> tuple[Path, ...]:
    """The folders of Python's own modules, of installed packages and of objbench."""
    named = sysconfig.get_paths()
    installed = (Path(named[kind]) for kind in ("stdlib", "platstdlib", "purelib", "platlib"))
    return (*installed, Path(__file__).parent)
