"""Every record under a folder of runs; what is no record is named and left out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from objbench.errors import ObjbenchError
from objbench.records import RECORD, Record, read_record


@dataclass(frozen=True)
class FoundRecord:
    """A record and the file that it was read from."""

    path: Path
    record: Record


@dataclass(frozen=True)
class FoundRecords:
    """The readable records under a folder, in the order of their paths, and one line per file left out."""

    records: list[FoundRecord]
    skipped: list[str]


def find_records(runs: Path) -> FoundRecords:
    """Read every result.json under `runs`; a damaged or foreign one is skipped."""
    records: list[FoundRecord] = []
    skipped: list[str] = []
    for path in sorted(_record_files(runs)):
        try:
            record = read_record(path)
            _check(path, record)
        except ObjbenchError as error:
            skipped.append(str(error))
            continue
        except OSError as error:
            skipped.append(f"{path}: {error.strerror or error}")
            continue
        records.append(FoundRecord(path, record))
    return FoundRecords(records, skipped)


def _record_files(runs: Path) -> Iterator[Path]:
    for folder, _, files in os.walk(runs):
        if RECORD in files:
            yield Path(folder) / RECORD


def _check(path: Path, record: Record) -> None:
    """A record must have scores and must say of each what it was measured on."""
    unknown = sorted(set(record.metrics) ^ set(record.scored))
    if unknown or not record.metrics:
        what = (
            f"scores and their provenance disagree about {', '.join(unknown)}"
            if unknown
            else "no scores in it"
        )
        raise ObjbenchError(f"{path}: {what}")
