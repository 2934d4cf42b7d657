"""The folder with the scores of predictions made outside objbench: its name, and what may be added to it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from objbench.data.read.scenes import Scenes
from objbench.errors import RequestError
from objbench.paths import resolved
from objbench.predictions.files import ARCHIVES
from objbench.progress import Say
from objbench.records import RECORD, External, Record, read_record, read_records
from objbench.scores import ScoreKey
from objbench.spec.nested import differences
from objbench.train.run_data import scored
from objbench.train.run_folder import CONFIG, read_config, seed_folder

EXTERNAL = "external"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")


def external_name(path: Path, name: str | None) -> str:
    """The name of the record: `name`, by default that of the file without its suffix.

    Raises:
        RequestError: The name cannot be the name of a folder.
    """
    chosen = name
    if chosen is None:
        chosen = resolved(path).name
        suffixes = [suffix for suffix in (*ARCHIVES, ".npz", ".npy") if chosen.lower().endswith(suffix)]
        if suffixes and not path.is_dir():
            chosen = chosen[: -max(map(len, suffixes))]
    if not _NAME.fullmatch(chosen):
        remedy = "" if name is not None else "; give another one with --name"
        raise RequestError(
            f"'{chosen}' cannot name a record: expected letters, digits and . _ + -, a letter or digit first{remedy}"
        )
    return chosen


def external_folder(runs: Path, scenes: Scenes, name: str, seed: int) -> Path:
    """The folder of the scores, all splits of a dataset together."""
    return seed_folder(runs, str(scenes.spec), scored(scenes).source, f"{EXTERNAL}/{name}", seed)


def external_config(scenes: Scenes, name: str, seed: int) -> dict[str, Any]:
    """What its config.json says but for the predictions."""
    on = scored(scenes)
    where = {"dataset": on.dataset, "protocol": on.protocol, "source": on.source}
    return {"kind": EXTERNAL, **where, "name": name, "seed": seed}


def read_external_config(folder: Path) -> dict[str, Any]:
    """The config.json of the folder, {} if the folder is empty; RequestError if it holds no scores of predictions."""
    if not any(folder.iterdir()):
        return {}
    config = read_config(folder) if (folder / CONFIG).exists() else {}
    if config.get("kind") != EXTERNAL or not isinstance(config.get("predictions"), dict):
        raise RequestError(f"{folder} holds files, but no scores of predictions; --fresh deletes them")
    return config


def read_external(folder: Path) -> External | None:
    """The record of predictions in the folder, None if there is none; RequestError if it is another one."""
    if not (folder / RECORD).exists():
        return None
    record = read_record(folder)
    if not isinstance(record, External):
        raise RequestError(f"{folder} holds a run, and no scores of predictions; --fresh deletes them")
    return record


def refuse_other_predictions(
    folder: Path, known: Record, config: dict[str, Any], split: ScoreKey, claimed: dict[str, Any]
) -> None:
    """Raise RequestError if the record holds scores of other predictions of this split, by any definition."""
    for key, held in config["predictions"].items():
        if ScoreKey.parse(key).reading == split.text and key in known.metrics:
            changed = differences(_identifying(held), _identifying(claimed))
            if changed:
                what = "on other data" if held.get("sha256") == claimed["sha256"] else "of other predictions"
                raise RequestError(
                    f"{folder} holds scores {what} under {key} ({'; '.join(changed)}): give these another --name or "
                    "--seed, or delete all scores in there with --fresh"
                )


def _identifying(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value)[:12] for name, value in entry.items() if name != "file"}


def kept_statement(folder: Path, said: str | None, trained_on: str | None) -> str | None:
    """What the record says of the training from now on; RequestError if it says something else than `trained_on`."""
    if None not in (said, trained_on) and said != trained_on:
        raise RequestError(
            f"{folder}: said to be trained on {said}, not on {trained_on}; --fresh takes the new statement and scores again"
        )
    return trained_on or said


def tell_other_statements(folder: Path, said: str | None, say: Say) -> None:
    """Name the other seeds of the model of which something else is said: a report makes rows of their own of them."""
    others: dict[str, str | None] = {}
    for found in read_records(sorted(folder.parent.glob(f"seed-*/{RECORD}"))).records:
        record, place = found.record, found.path.parent
        if isinstance(record, External) and record.trained_on != said and place != folder:
            others[place.name] = record.trained_on
    if others:
        told = ", ".join(f"{seed}: {place or 'not known'}" for seed, place in others.items())
        say(
            f"{folder.name} is trained on {said or 'what is not known'}, other seeds of {folder.parent.name} on something "
            f"else ({told}): a report takes them for two models; --trained-on says it of each seed"
        )
