"""The folder of one run (method, dataset, seed): its configuration, and the lock of the process that uses it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from objbench.errors import ObjbenchError, RequestError, first_few
from objbench.files import replacing, sync, write_atomically
from objbench.json_text import parse_json
from objbench.methods.plain_file import COPY, MethodFile, changed_since, is_copy, loaded_file
from objbench.os_errors import explain_os_errors
from objbench.paths import refuse_special, resolved
from objbench.records import RECORD, Run, read_record
from objbench.spec.nested import differences
from objbench.spec.resolve import hash_of
from objbench.train.checkpoint import CHECKPOINT
from objbench.train.lock import sole_owner

CONFIG = "config.json"
_OF_A_RUN = ("dataset", "protocol", "source", "method", "variant", "seed")  # in a record and in config.json


def seed_folder(runs: Path, dataset: str, source: str, label: str, seed: int) -> Path:
    """`<runs>/<dataset>[@protocol]/<source>/<label>/seed-<n>`, with the label of the run's method; see `run_label`."""
    return runs / dataset / source / label / f"seed-{seed}"


@contextmanager
def lock_run(folder: Path, on_loss: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Lock the folder of a run, creating it if needed, and remove what a killed process left half done there.

    Args:
        folder: Of the run.
        on_loss: Called, in another thread, when another host took the run over because this process stood still.

    Raises:
        LockedError: Another process has the lock.
    """
    with (
        explain_os_errors(folder.parent, "--runs"),
        sole_owner(folder, on_loss),
    ):  # the lock lies beside the folder
        folder.mkdir(exist_ok=True)
        shutil.rmtree(_thrown_away(folder), ignore_errors=True)
        for partial in folder.glob("*.partial"):
            partial.unlink()
        yield


def claim(folder: Path, config: dict[str, Any], fresh: bool) -> bool:
    """Make `folder` a run of `config`. Returns whether such a run is already finished there.

    With `fresh`, the folder is emptied first, whatever it holds. A method from a plain file is copied there.

    Raises:
        RequestError: The folder holds results of another configuration, or files that are no run.
        ObjbenchError: Its record is damaged, or that of another run.
    """
    if fresh:
        empty(folder)
    other = other_configuration(folder, config)
    if other is not None:
        raise RequestError(other)
    known = _is_of(folder, config)
    if not known:
        write_atomically(folder / CONFIG, json.dumps(config, indent=1) + "\n")
    if (file := _file_without_copy(folder, config)) is not None:
        with replacing(folder / COPY) as partial:
            partial.write_bytes(file.source)
    return known and is_finished(folder, config)


def is_finished(folder: Path, config: dict[str, Any]) -> bool:
    """Whether a run of `config` is finished in `folder`, and all of it is there. Writes nothing.

    Raises:
        ObjbenchError: Its record is damaged, or that of another run.
    """
    if not ((folder / RECORD).exists() and _is_of(folder, config)) or _file_without_copy(folder, config):
        return False
    refuse_other_record(folder)
    return True


def _file_without_copy(folder: Path, config: dict[str, Any]) -> MethodFile | None:
    """The plain file that the method of `config` is of, unless its copy is in `folder`; None for one of a package."""
    file = loaded_file(str(config.get("implementation")))
    return None if file is None or is_copy(folder / COPY, file) else file


def _is_of(folder: Path, config: dict[str, Any]) -> bool:
    return (folder / CONFIG).exists() and read_config(folder) == config


def refuse_other_record(folder: Path) -> None:
    """Refuse a record in the folder of a run that is not of its configuration.

    Raises:
        ObjbenchError: It is another one's, or a file is damaged.
    """
    record, config = read_record(folder), read_config(folder)
    there: dict[str, Any] = {key: getattr(record, key) for key in _OF_A_RUN}
    here = {key: config.get(key) for key in _OF_A_RUN}
    if isinstance(record, Run):
        there |= {"fingerprint": record.fingerprint, "config_hash": record.config_hash}
        here |= {"fingerprint": config["fingerprints"]["train"], "config_hash": hash_of(config)}
    if different := differences(there, here):
        raise ObjbenchError(
            f"{folder / RECORD}: the record of another run ({different[0].replace('asked', 'in ' + CONFIG)}); "
            "--fresh runs this seed again"
        )


def other_configuration(folder: Path, config: dict[str, Any]) -> str | None:
    """Why `folder` cannot become or go on as a run of `config`; None if it can.

    Raises:
        ObjbenchError: Its config.json is damaged.
    """
    if (folder / CONFIG).exists():
        found = read_config(folder)
        if found == config or not ((folder / CHECKPOINT).exists() or (folder / RECORD).exists()):
            return None
        changed = changed_since(str(found.get("implementation")), str(config.get("implementation")))
        if changed is not None:
            return (
                f"{folder} holds a run of another version of this method: {changed}; {folder / COPY} is that version, "
                "--fresh deletes that run"
            )
        different = differences(found, config)
        return (
            f"{folder} holds a run of another configuration: {first_few(different, '; ')}; "
            "--fresh deletes that run"
        )
    if folder.is_dir() and any(not path.name.endswith(".partial") for path in folder.iterdir()):
        return f"{folder} holds files but no {CONFIG}, so it is not a run that could be resumed; --fresh deletes them"
    return None


def find_run(path: Path) -> Path | None:
    """The folder of the run that `path` names, None if it names none.

    Args:
        path: The folder of a seed, a result.json or config.json in it, or the folder of a method with one seed inside.

    Raises:
        RequestError: It is the folder of a method with several seeds.
    """
    path = resolved(path)
    folder = path.parent if path.name in (RECORD, CONFIG) else path
    if _is_run(folder):
        return folder
    seeds = [seed for seed in sorted(folder.glob("seed-*")) if _is_run(seed)]
    if len(seeds) > 1:
        raise RequestError(
            f"{path} holds the runs {first_few([seed.name for seed in seeds])}: name the folder of one of them, such as "
            f"{seeds[0]}"
        )
    return seeds[0] if seeds else None


def _is_run(folder: Path) -> bool:
    if (folder / RECORD).is_file():
        return True
    try:
        return "method" in read_config(folder)
    except (ObjbenchError, NotADirectoryError):
        return False


def read_config(folder: Path) -> dict[str, Any]:
    """The config.json of a run.

    Raises:
        ObjbenchError: The folder is not that of a run, or the file is damaged or none.
        OSError: It cannot be read; it is the filename.
    """
    path = folder / CONFIG
    if os.path.lexists(path):
        refuse_special(path)
    try:
        content = parse_json(path.read_bytes())
    except FileNotFoundError:
        raise ObjbenchError(f"{folder}: not the folder of a run (no {CONFIG})") from None
    except ValueError as error:
        raise ObjbenchError(f"{path}: damaged ({error}); --fresh starts this seed again") from None
    if not isinstance(content, dict):
        raise ObjbenchError(f"{path}: damaged (not a JSON object); --fresh starts this seed again")
    return content


def empty(folder: Path) -> None:
    """Empty `folder`, whose lock is held. If the process is killed, nothing in it passes for a run that can go on.

    A link to a folder elsewhere stays.
    """
    aside = _thrown_away(folder)
    (folder / RECORD).unlink(missing_ok=True)
    if folder.is_symlink():
        (folder / CHECKPOINT).unlink(missing_ok=True)
        for path in sorted(folder.iterdir(), key=lambda path: path.name == CONFIG):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        return
    folder.replace(aside)
    folder.mkdir()
    sync(folder.parent)
    shutil.rmtree(aside, ignore_errors=True)  # what cannot be removed now is removed under the next lock


def _thrown_away(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.thrown-away")
