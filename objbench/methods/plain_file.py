"""A method from a plain Python file: `FILE.py[:CLASS[:VARIANT]]` where others have METHOD[:VARIANT].

The file is the whole method. Its sha256 is part of the name of the class (`mine.py@SHA256:Mine`), and so of the
configuration of a run and of its hash: two versions of a file are two methods to every mean. Its text goes wherever the
run goes, to workers, to jobs and into the folder of the run.
"""

from __future__ import annotations

import hashlib
import linecache
import os
import re
import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from objbench.error_line import own_line
from objbench.errors import ObjbenchError, RequestError, brief, first_few, is_out_of_memory, unknown_name
from objbench.methods.base import Method
from objbench.spec.names import EXPECTED, is_name

COPY = "method.py"  # in the folder of a run: the file that was run, whatever its name was
_ALONE = threading.RLock()  # a second thread waits until a file is executed; the file may read another one
_IMPLEMENTATION = re.compile(r"(?P<file>.+\.py)@(?P<sha256>[0-9a-f]{64}):(?P<class>\w+)")


@dataclass(frozen=True)
class MethodFile:
    """A file as it was read, and the class in it that is the method.

    Attributes:
        path: Where it was read: errors name it.
        file: The name that it was given, such as `mine.py`; `path` may be a copy of another name.
        source: Its content.
        kind: The name of the class.
    """

    path: Path
    file: str
    source: bytes
    kind: str

    @property
    def sha256(self) -> str:
        """The sha256 of the file."""
        return hashlib.sha256(self.source).hexdigest()

    @property
    def method(self) -> str:
        """The name of the method, `mine.Mine` for the class `Mine` of `mine.py`: that of its runs' folder."""
        return method_name(self.file, self.kind)

    @property
    def implementation(self) -> str:
        """What a configuration has for `module:Class`. The module of this name exists once `load` was called."""
        return f"{self.file}@{self.sha256}:{self.kind}"

    def load(self) -> type[Method]:
        """Execute the file unless that was done in this process before, and give its class.

        Raises:
            RequestError: The file raises an error, has no such class, or the class is no method. The message names the
                file and the line.
        """
        module = _executed(self)
        found = vars(module).get(self.kind)
        known = [kind.__name__ for kind in methods_in(module)]
        if found is None:
            raise RequestError(f"{self.path}: {unknown_name('class', self.kind, known)}")
        if not (isinstance(found, type) and issubclass(found, Method) and found is not Method):
            has = f"; the methods in it: {first_few(known)}" if known else ""
            raise RequestError(
                f"{self.path}: {self.kind} is no subclass of objbench.methods.base.Method, as a method has to be{has}"
            )
        if not (isinstance(found.Settings, type) and issubclass(found.Settings, Method.Settings)):
            raise RequestError(f"{self.path}: {self.kind}.Settings: expected a subclass of Method.Settings")
        return found


def method_name(file: str, kind: str) -> str:
    """The name of the method that is the class `kind` of `file`.

    >>> method_name("mine.py", "Mine")
    'mine.Mine'

    Raises:
        RequestError: It cannot name a folder.
    """
    name = f"{file.removesuffix('.py')}.{kind}"
    if not is_name(name):
        raise RequestError(
            f"{file}:{kind}: the method would be called '{name}', but its name is that of a folder: {EXPECTED}; rename "
            "the file or the class"
        )
    return name


def read_file(path: Path, kind: str | None = None) -> MethodFile:
    """Read and execute a file.

    Args:
        path: The file.
        kind: The name of the class; None for its only method.

    Raises:
        RequestError: There is no such file; and as `MethodFile.load` says.
    """
    path = Path(os.path.abspath(path))
    if not path.is_file():
        found = "found a folder" if path.is_dir() else "no such file"
        raise RequestError(f"{path}: {found}; a method from a file is FILE.py or FILE.py:CLASS")
    try:
        source = path.read_bytes()
    except OSError as error:
        raise RequestError(f"{path}: cannot be read ({error.strerror})") from None
    read = MethodFile(path, path.name, source, kind or "")
    if kind is None:
        read = replace(read, kind=_only_method(path, methods_in(_executed(read))))
    method_name(read.file, read.kind)
    read.load()
    return read


def _only_method(path: Path, found: list[type[Method]]) -> str:
    kinds = [kind.__name__ for kind in found]
    if not kinds:
        raise RequestError(f"{path} has no class that is a subclass of objbench.methods.base.Method")
    if len(kinds) > 1:
        raise RequestError(
            f"{path} has the methods {', '.join(kinds)}: name one of them, such as {path.name}:{kinds[0]}"
        )
    return kinds[0]


def methods_in(module: ModuleType) -> list[type[Method]]:
    """The methods that a module defines, not those that it imports, in their order."""
    kinds = (kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, Method))
    return list(dict.fromkeys(kind for kind in kinds if kind.__module__ == module.__name__))


def is_from_file(implementation: str) -> bool:
    """Whether the class of a configuration is that of a file."""
    return _IMPLEMENTATION.fullmatch(implementation) is not None


def loaded_file(implementation: str) -> MethodFile | None:
    """The file of a class that was loaded in this process; None for a class of a package."""
    module = sys.modules.get(implementation.partition(":")[0])
    known: dict[str, MethodFile] = getattr(module, "__method_files__", {})
    return known.get(implementation)


def copy_of_run(folder: Path, implementation: str) -> MethodFile | None:
    """The file of a run, from the copy in its folder; None if its method is of a package.

    Args:
        folder: Of the run.
        implementation: As its config.json has it.

    Raises:
        ObjbenchError: The copy is missing, or is not the file that was run.
    """
    found = _IMPLEMENTATION.fullmatch(implementation)
    if found is None:
        return None
    path = folder / COPY
    try:
        source = path.read_bytes()
    except FileNotFoundError:
        raise ObjbenchError(
            f"{path}: missing, the copy of {found['file']} that this run is of; put the file back under this name"
        ) from None
    if hashlib.sha256(source).hexdigest() != found["sha256"]:
        raise ObjbenchError(
            f"{path}: not the {found['file']} that this run is of (its sha256 is not {found['sha256'][:12]}...); put that "
            "file back under this name"
        )
    return MethodFile(path.absolute(), found["file"], source, found["class"])


def is_copy(path: Path, file: MethodFile) -> bool:
    """Whether `path` holds what was read from `file`."""
    try:
        return path.read_bytes() == file.source
    except OSError:
        return False


def changed_since(there: str, now: str) -> str | None:
    """In words, that two implementations are the same class of two versions of a file; None if they are not."""
    before, after = _IMPLEMENTATION.fullmatch(there), _IMPLEMENTATION.fullmatch(now)
    if before is None or after is None or before["sha256"] == after["sha256"]:
        return None
    return f"{after['file']} has changed (its sha256 is {before['sha256'][:12]}... there, {after['sha256'][:12]}... now)"


def _executed(file: MethodFile) -> ModuleType:
    """The module of a file, which is executed once per process and content."""
    with _ALONE:
        name = f"{file.file}@{file.sha256}"
        module = sys.modules.get(name)
        if module is None:
            module = ModuleType(name)
            module.__file__ = str(file.path)
            vars(module)["__method_files__"] = {}
            text = file.source.decode("utf-8", "replace")
            linecache.cache[str(file.path)] = (
                len(text),
                None,
                text.splitlines(keepends=True),
                str(file.path),
            )
            sys.modules[name] = module  # where dataclasses and types look for the names that annotations use
            try:
                exec(compile(file.source, str(file.path), "exec", dont_inherit=True), vars(module))
            except BaseException as error:
                del sys.modules[name]
                if not isinstance(error, Exception | SystemExit) or is_out_of_memory(error):
                    raise
                raise RequestError(_told(file.path, error)) from error
        vars(module)["__method_files__"].setdefault(file.implementation, file)
        return module


def _told(path: Path, error: BaseException) -> str:
    """One line about an error in a file that is being executed."""
    text = error.msg if isinstance(error, SyntaxError) else brief(error)
    return f"{own_line(error) or path}: {type(error).__name__}: {text}{_hint(path, error)}"


def _hint(path: Path, error: BaseException) -> str:
    top = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if top and any((path.parent / place).exists() for place in (f"{top}.py", top)):
        return (
            f"; {top} lies beside the file, but a method from a file is that file alone: put it all into one file, or "
            "make a package of it"
        )
    return ""
