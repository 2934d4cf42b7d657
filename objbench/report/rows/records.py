"""Find and read all records under a folder of runs; files that cannot be used are named and skipped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from objbench.errors import ObjbenchError
from objbench.records import External, Record, Run, read_record, record_files
from objbench.spec.schema import Spec


@dataclass(frozen=True)
class FoundRecord:
    """A record, and the file it was read from.

    Attributes:
        elsewhere: Key of scores -> the folder that holds them, if it is a copy of that of `path`.
    """

    path: Path
    record: Run | External
    elsewhere: Mapping[str, Path] = field(default_factory=dict)

    def folder_of(self, key: str) -> Path:
        """The folder that holds the scores of `key`, with their values per image."""
        return self.elsewhere.get(key, self.path.parent)


@dataclass(frozen=True)
class FoundRecords:
    """The readable records under a folder, in the order of their paths, and one line per skipped file."""

    records: list[FoundRecord]
    skipped: list[str]


def title_of(record: Record, spec: Spec, masks: str | None = None) -> str:
    """The name that tables print for the method of a record, with what tells it apart, as in `label_of`."""
    return spec.method_title(record.method, record.variant, *_told_apart(record, spec, masks))


def label_of(record: Record, spec: Spec, masks: str | None = None) -> str:
    """The name that options take for the method of a record: `spair:demo (composited)`, `grid (predictions)`."""
    told = ", ".join(filter(None, _told_apart(record, spec, masks)))
    return record.method_label + (f" ({told})" if told else "")


def _told_apart(record: Record, spec: Spec, masks: str | None) -> tuple[str | None, str | None]:
    """The masks that were scored; and "predictions" for those that were given the name of a registered method."""
    return masks, "predictions" if record.kind == "external" and record.method in spec.methods else None


def find_records(runs: Path) -> FoundRecords:
    """Read every record under `runs`; skip files that are damaged, unreadable, or not records."""
    records: list[FoundRecord] = []
    skipped: list[str] = []

    def unreadable(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # no folder, no records
            skipped.append(f"{error.filename}: {error.strerror}")

    for path in sorted(record_files(runs, unreadable)):
        try:
            if path.exists() and not path.is_file():
                raise ObjbenchError(f"{path}: not a file")
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


def _check(path: Path, record: Record) -> None:
    """Refuse a record without scores, with scores of unknown origin, or with names that do not fit into a table."""
    unknown = sorted(set(record.metrics) ^ set(record.scored))
    if unknown or not record.metrics:
        what = (
            f"scores and their provenance disagree about {', '.join(unknown)}"
            if unknown
            else "no scores in it"
        )
        raise ObjbenchError(f"{path}: {what}")
    named = {name: getattr(record, name) for name in ("dataset", "protocol", "source", "method", "device")}
    named["variant"] = record.variant or "none"
    for key, scored in record.scored.items():
        named |= {f"scored.{key!r}.{name}": value for name, value in scored.names.items()}
    for name, value in named.items():
        if not value or not value.isprintable():
            raise ObjbenchError(f"{path}: {name} is {value!r}, expected a name")
        if name.rpartition(".")[2] in ("dataset", "protocol", "source") and set(value) & set("@/"):
            raise ObjbenchError(f"{path}: {name} is {value!r}, expected a name without @ and /")
