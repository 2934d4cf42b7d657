"""What loggers were told, read back from what they left on this machine."""

from __future__ import annotations

import json
import os
import sqlite3
import struct
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple


class Told(NamedTuple):
    """A run in a logger.

    Attributes:
        name: Of the run.
        group: Of the run.
        config: Of the run.
        values: (step, name) -> the values that came, in order.
        pictures: (step, name) of every picture that came.
    """

    name: str
    group: str
    config: dict[str, Any]
    values: dict[tuple[int, str], list[float]]
    pictures: list[tuple[int, str]]


def from_tensorboard(folder: Path) -> Told:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    values: dict[tuple[int, str], list[float]] = {}
    for name in events.Tags()["scalars"]:
        for event in events.Scalars(name):
            values.setdefault((event.step, name), []).append(event.value)
    pictures = [(event.step, name) for name in events.Tags()["images"] for event in events.Images(name)]
    (text,) = events.Tensors("configuration/text_summary")
    name, _, rest = text.tensor_proto.string_val[0].decode().partition("\n```json\n")
    return Told(name, name.rpartition(" ")[0], json.loads(rest.removesuffix("\n```")), values, pictures)


def from_trackio(folder: Path) -> Told:
    """From the database in the folder that TRACKIO_DIR names, which must hold a single run."""
    with closing(sqlite3.connect(Path(os.environ["TRACKIO_DIR"]) / "objbench.db")) as database:
        ((name, config),) = database.execute("SELECT DISTINCT run_name, config FROM configs").fetchall()
        rows = database.execute("SELECT step, metrics FROM metrics ORDER BY id").fetchall()
        ((runs,),) = database.execute("SELECT COUNT(DISTINCT run_id) FROM metrics").fetchall()
    assert runs == 1
    config = json.loads(config)
    return _told(name, config["_Group"], config, [(step, json.loads(row)) for step, row in rows])


def from_wandb(folder: Path) -> Told:
    """From the files of `WANDB_MODE=offline`, oldest first, all of which must be of one run."""
    from wandb.proto.wandb_internal_pb2 import Record

    rows, about = [], []
    for path in sorted(folder.glob("wandb/offline-run-*/run-*.wandb")):
        for content in _entries(path.read_bytes()):
            record = Record.FromString(content)
            if record.WhichOneof("record_type") == "run":
                about.append(record.run)
            elif record.WhichOneof("record_type") == "history":
                row: dict[str, Any] = {}
                for item in record.history.item:
                    first, *rest = item.nested_key or [item.key]
                    value = json.loads(item.value_json)
                    if rest:
                        row.setdefault(first, {})[rest[0]] = value
                    else:
                        row[first] = value
                rows.append((record.history.step.num, row))
    assert len({run.run_id for run in about}) == 1
    run = about[-1]
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    return _told(run.display_name, run.run_group, config, rows)


def _told(name: str, group: str, config: dict[str, Any], rows: list[tuple[int, dict[str, Any]]]) -> Told:
    values: dict[tuple[int, str], list[float]] = {}
    pictures = []
    for step, row in rows:
        for key, value in row.items():
            if isinstance(value, dict) and str(value.get("_type", "")).startswith(
                ("image-file", "trackio.im")
            ):
                pictures.append((step, key))
            elif "/" in key:
                values.setdefault((step, key), []).append(value)
    return Told(name, group, config, values, pictures)


def _entries(content: bytes) -> list[bytes]:
    """The entries of a file in LevelDB's log format, behind a header of seven bytes: blocks of 32 KiB of fragments."""
    found, begun, at = [], b"", 7
    while at + 7 <= len(content):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        length, kind = struct.unpack("<HB", content[at + 4 : at + 7])
        if kind == 0:
            at += left
            continue
        begun += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            found.append(begun)
            begun = b""
    return found


READERS = {"tensorboard": from_tensorboard, "trackio": from_trackio, "wandb": from_wandb}
