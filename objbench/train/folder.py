"""The folder of one run: method x dataset x seed. Which configuration it belongs to, and who may work in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from objbench.config import MethodConfig
from objbench.errors import ObjbenchError, RequestError
from objbench.records import RECORD
from objbench.spec import dotted

CONFIG = "config.json"


def seed_folder(runs: Path, dataset: str, source: str, method: MethodConfig, seed: int) -> Path:
    """`<runs>/<dataset>[@protocol]/<source>/<method>[-variant][+hash6]/seed-<n>`."""
    return runs / dataset / source / method.label / f"seed-{seed}"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep every other process out of a seed's folder, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ObjbenchError(
            f"{folder}: another process is at work on this seed; wait for it or stop it"
        ) from None
    try:
        yield
    finally:
        lock.release()


def claim(folder: Path, config: dict[str, Any], fresh: bool) -> bool:
    """Make `folder` a run of `config`; True if such a run is finished there already.

    A folder of another configuration is refused; `fresh` empties it first, whatever it holds.
    """
    path = folder / CONFIG
    if fresh and folder.exists():
        shutil.rmtree(folder)
        folder.mkdir(parents=True)
    if path.exists():
        found = read_config(folder)
        if found != config:
            raise RequestError(
                f"{folder} holds a run of another configuration: {_difference(found, config)}; "
                "--fresh throws that run away"
            )
    else:
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        partial.replace(path)
    return (folder / RECORD).exists()


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a run; ObjbenchError if the folder is none or the file is damaged."""
    path = folder / CONFIG
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ObjbenchError(f"{folder}: not the folder of a run (no {CONFIG})") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ObjbenchError(f"{path}: damaged ({error}); --fresh starts this seed anew") from None
    if not isinstance(content, dict):
        raise ObjbenchError(f"{path}: damaged (not a JSON object); --fresh starts this seed anew")
    return content


def _difference(found: dict[str, Any], asked: dict[str, Any]) -> str:
    there, here = dotted(found), dotted(asked)
    keys = [key for key in sorted({*there, *here}) if there.get(key) != here.get(key)]
    shown = [f"{key} is {there.get(key)!r} there and {here.get(key)!r} here" for key in keys[:3]]
    return ", ".join(shown) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
