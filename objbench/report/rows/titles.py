"""The names that tables print and options take for the method of a record."""

from __future__ import annotations

from objbench.records import Record
from objbench.spec.schema import Spec


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
