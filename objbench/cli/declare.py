"""The dataset of one's own that `objbench prepare NAME --source folder --slots N --size N` declares."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from objbench.cli.common import Context
from objbench.errors import RequestError


def declared_block(
    context: Context,
    name: str,
    source: str | None,
    slots: int | None,
    size: str | None,
    options: list[str],
    force: bool,
) -> dict[str, Any] | None:
    """The block of the dataset that these options declare; None if they declare none."""
    from objbench.spec.own import DECLARATION, SOURCES, declare, declared_reference, refuse_other_declaration

    known = context.spec.datasets
    is_known = name.partition("@")[0] in known
    if slots is None and size is None and not options and (is_known or source not in SOURCES):
        return None
    if not isinstance(context.data, Path):
        raise RequestError(
            f"--data {context.data}: a dataset is declared in a folder of the disk; for a store, write its block into a "
            "yaml of your own and give that with --config"
        )
    path = context.data / name / DECLARATION
    if is_known and not path.is_file():
        raise RequestError(
            f"--slots, --size and --option declare a new dataset; there is a dataset '{name}' already: leave them out, or "
            "choose another name"
        )
    block = declare(name, source or "folder", slots, size, options)
    if not is_known and (name in context.spec.methods or name in context.spec.all_metrics()):
        raise RequestError(f"'{name}' is the name of a method or metric; choose another one for the dataset")
    if is_known and not force and _is_made(context.data, name):  # else nothing was made of that declaration
        refuse_other_declaration(path, known[name], declared_reference(name, block).spec)
    return block


def _is_made(data: Path, name: str) -> bool:
    """Whether anything was made of what is declared, under any protocol."""
    return any(shard for folder in (name, f"{name}@*") for shard in data.glob(f"{folder}/*/*.tar"))


def write_declaration(context: Context, name: str, block: Mapping[str, Any]) -> None:
    """Write the declaration to where every command that uses the data folder finds it, unless it is there.

    Raises:
        LockedError: Another one is there, and a prepare is making that.
    """
    from objbench.files import write_atomically
    from objbench.locks import exclusive_lock
    from objbench.os_errors import explain_os_errors
    from objbench.spec.own import DECLARATION, declaration_text

    assert isinstance(context.data, Path)
    folder = context.data / name
    path, text = folder / DECLARATION, declaration_text(name, block)
    lock = exclusive_lock(folder / ".declaration.lock")  # parts start at once
    with explain_os_errors(folder, "--data"), lock:
        if path.is_file() and path.read_bytes() == text.encode():
            return
        made = folder / str(block["default_source"])
        at_work = exclusive_lock(made / ".lock", f"{made}: another prepare is running here")
        with at_work if made.is_dir() else nullcontext():
            write_atomically(path, text)
