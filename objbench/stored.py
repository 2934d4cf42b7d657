"""Small JSON files that objbench writes and reads back: typed, and written completely or not at all."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from objbench.errors import ObjbenchError
from objbench.json_text import parse_json
from objbench.stores import Place, write_whole

Content = TypeVar("Content")


class Strict(BaseModel):
    """A typed block of data. Unknown keys are refused; values cannot be changed; infinity in JSON is `Infinity`."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")


class Stored(Strict):
    """The content of a JSON file.

    Attributes:
        kind: What messages call the file, with its article.
        remedy: What to do about a damaged file.
        indent: Spaces per level in a file that people read; None for a compact one.
    """

    kind: ClassVar[str] = "a file"
    remedy: ClassVar[str] = "delete it"
    indent: ClassVar[int | None] = None

    @classmethod
    def read(cls, path: Place) -> Self | None:
        """The content of `path`, None if there is no such file.

        Raises:
            ObjbenchError: The file is damaged, or was written by another version.
        """
        return read_typed(path, cls.model_validate_json, cls.kind, cls.remedy)

    @classmethod
    def read_if_valid(cls, path: Place) -> Self | None:
        """The content of `path`, None if there is no such file or it is damaged."""
        try:
            return cls.read(path)
        except ObjbenchError:
            return None

    def save(self, path: Place) -> None:
        """Write the file completely or not at all."""
        end = "" if self.indent is None else "\n"
        write_whole(path, self.model_dump_json(indent=self.indent, by_alias=True) + end)


def read_typed(
    path: Place, parse: Callable[[bytes], Content], kind: str, remedy: str, ignored: int = 0
) -> Content | None:
    """What `parse` makes of the JSON file `path`, None if there is no such file.

    Args:
        path: The file.
        parse: Of pydantic.
        kind: What messages call the file, with its article.
        remedy: What to do about a damaged file.
        ignored: Number of first parts of a fault's location that name no key of the file.

    Raises:
        ObjbenchError: The file is damaged, or was written by another version.
    """
    try:
        content = path.read_bytes()
        found = parse(content)
        parse_json(content)
        return found
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise ObjbenchError(f"{path}: {first_fault(error, kind, ignored)}; {remedy}") from None
    except ValueError as error:
        raise ObjbenchError(f"{path}: damaged ({error}); {remedy}") from None


def utc_now() -> str:
    """The time now, as files hold it: in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def first_fault(error: ValidationError, kind: str, ignored: int = 0) -> str:
    """What is wrong with a JSON file, in words.

    Args:
        kind: What the file should be, with its article.
        ignored: Number of first parts of a fault's location that name no key of the file.
    """
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][ignored:])
    found = f"{where}: {first['msg']}" if where else first["msg"]
    damaged = first["type"] == "json_invalid"
    return f"{'damaged' if damaged else f'not {kind} of this version of objbench'} ({found})"
