"""objbench list: datasets, methods, metrics, runs and shipped weights."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer

from objbench.cli.common import Context, over_images, print_json, say, verb
from objbench.cli.options import completes_to
from objbench.errors import unknown_name
from objbench.files import megabytes
from objbench.printable import printable

if TYPE_CHECKING:
    from objbench.spec.datasets import DatasetRef
    from objbench.spec.metrics import MetricSpec

Entries = tuple[dict[str, Any], ...]


@verb
def list_things(
    context: Context,
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="KIND",
            help="What to list: datasets, methods, metrics, runs or weights. Default: all of them.",
            autocompletion=completes_to("datasets", "methods", "metrics", "runs", "weights"),
        ),
    ] = None,
) -> None:
    """List datasets (and which of their sources are prepared), methods, metrics, finished runs and shipped weights.

    Methods are listed by how they represent objects: trivial, slots, boxes, layers, other.

    Example:
        objbench list
        objbench list datasets
        objbench list runs --json
    """
    finders = {
        "datasets": _datasets,
        "methods": _methods,
        "metrics": _metrics,
        "runs": _runs,
        "weights": _weights,
    }
    if kind is not None and kind not in finders:
        raise unknown_name("listing", kind, finders)
    kinds = (kind,) if kind else tuple(finders)
    found = {name: finders[name](context) for name in kinds}
    if context.json:
        print_json([entry for entries in found.values() for entry in entries])
        return
    for name, entries in found.items():
        print(f"{name}:" if entries else f"{name}: none")
        width = max((len(entry["name"]) for entry in entries), default=0)
        for group, members in groupby(entries, lambda entry: entry.get("group")):
            if group is not None:
                print(f"  {group}:")
            indent = "  " if group is None else "    "
            for entry in members:
                print(
                    _fitted(printable(f"{indent}{entry['name']:{width}}  {_line(entry, context)}".rstrip()))
                )


def _datasets(context: Context) -> Entries:
    from objbench.data.format.manifest import prepared_sources

    entries = []
    for name, dataset in context.spec.datasets.items():
        for protocol in dataset.protocols:
            reference = context.spec.dataset(f"{name}@{protocol}")
            found = prepared_sources(context.data, reference)
            entries.append(
                {
                    "kind": "dataset",
                    "name": str(reference),
                    "title": dataset.title,
                    "slots": dataset.slots,
                    "height": reference.spec.height,
                    "width": reference.spec.width,
                    "protocol": protocol,
                    "sources": reference.sources,
                    "prepared": found,
                    "reduced": _reduced(context, reference, found),
                }
            )
    return tuple(entries)


def _reduced(context: Context, reference: DatasetRef, prepared: list[str]) -> dict[str, dict[str, int]]:
    """The prepared sources with other than the standard sizes: split -> number of scenes."""
    from objbench.cli.overview import reduced_sizes
    from objbench.data.format.manifest import manifest_of
    from objbench.errors import ObjbenchError

    reduced = {}
    for source in prepared:
        try:
            sizes = reduced_sizes(manifest_of(context.data, reference, source))
        except ObjbenchError as error:
            say(f"objbench: {error}")
            continue
        if sizes is not None:
            reduced[source] = sizes
    return reduced


def _methods(context: Context) -> Entries:
    from objbench.spec.schema import GROUPS

    _tell_faulty_plugins(context)
    return tuple(
        {
            "kind": "method",
            "name": name,
            "title": method.title,
            "summary": method.summary,
            "group": method.group,
            "trivial": method.trivial,
            "datasets": sorted(method.datasets),
            "variants": sorted(method.variants),
        }
        for group in GROUPS
        for name, method in sorted(context.spec.methods.items())
        if method.group == group
    )


def _tell_faulty_plugins(context: Context) -> None:
    """Say which methods of plugins cannot be run, and why; only these are imported, those of objbench are tested."""
    from objbench import registry
    from objbench.one_line import in_a_line

    for name in registry.foreign("methods"):
        if name in context.spec.methods:
            from objbench.methods.describe import settings_of

            try:
                settings_of(context.spec, name)
            except Exception as error:  # whatever somebody's module does
                for line in in_a_line(error).splitlines():
                    say(f"objbench: {name} cannot be run: {line}")


def _metrics(context: Context) -> Entries:
    return tuple(
        {"kind": "metric", "name": name, **metric.model_dump()}
        for name, metric in context.spec.all_metrics().items()
    )


def _runs(context: Context) -> Entries:
    from objbench.records import Run, find_records

    found = find_records(context.runs_to_read)
    _tell_skipped(found.skipped)
    entries = []
    for item in found.records:
        record = item.record
        entries.append(
            {
                "kind": "run",
                "name": str(item.path.parent.relative_to(context.runs_to_read)),
                "dataset": record.dataset_ref,
                "source": record.source,
                "method": record.method_label,
                "seed": record.seed,
                "external": record.kind == "external",
                "trained_on": record.place if isinstance(record, Run) else record.trained_on,
                "steps": record.steps if isinstance(record, Run) else None,
                "overrides": record.overrides if isinstance(record, Run) else {},
                "state": "finished",
                "metrics": {key: scores.model_dump() for key, scores in record.metrics.items()},
            }
        )
    return (*entries, *_unfinished(context))


def _unfinished(context: Context) -> Iterator[dict[str, Any]]:
    """Runs that have begun and have no record yet; folders that cannot be read are told where records are sought."""
    from objbench.errors import ObjbenchError
    from objbench.paths import walk
    from objbench.records import RECORD
    from objbench.train.run_folder import CONFIG, read_config
    from objbench.train.run_state import run_state

    begun = (folder for folder, _, files in walk(context.runs_to_read) if CONFIG in files)
    for folder in sorted(begun):
        try:
            if not folder.name.startswith("seed-") or (folder / RECORD).exists():
                continue
            config, state = read_config(folder), run_state(folder)
        except ObjbenchError as error:
            _tell_skipped([str(error)])
            continue
        except OSError as error:
            _tell_skipped([f"{error.filename or folder}: {error.strerror or error}"])
            continue
        yield {
            "kind": "run",
            "name": str(folder.relative_to(context.runs_to_read)),
            "method": config.get("method"),
            "seed": config.get("seed"),
            "overrides": config.get("overrides", {}),
            "state": str(state),
            "metrics": {},
        }


def _weights(context: Context) -> Entries:
    from objbench.records import RECORD, read_records
    from objbench.train.checkpoint import WEIGHTS
    from objbench.use.weights import shipped_weights

    names = {folder / RECORD: name for name, folder in shipped_weights().items()}
    found = read_records(names)
    _tell_skipped(found.skipped)
    entries = []
    for item in found.records:
        record, folder = item.record, item.path.parent
        try:
            size = (folder / WEIGHTS).stat().st_size
        except OSError as error:
            _tell_skipped([f"{folder / WEIGHTS}: {error.strerror or error}"])
            continue
        entries.append(
            {
                "kind": "weights",
                "name": names[item.path],
                "folder": str(folder),
                "dataset": record.dataset_ref,
                "source": record.source,
                "method": record.method_label,
                "seed": record.seed,
                "bytes": size,
                "metrics": {key: scores.model_dump() for key, scores in record.metrics.items()},
            }
        )
    return tuple(entries)


def _tell_skipped(lines: Iterable[str]) -> None:
    for line in lines:
        say(f"objbench: skipped {line}")


def _line(entry: dict[str, Any], context: Context) -> str:
    from objbench.cli.overview import marked

    if entry["kind"] == "dataset":
        prepared = (
            ", ".join(f"{source}{marked(entry['reduced'].get(source))}" for source in entry["prepared"])
            or "none"
        )
        size = f"{entry['height']}x{entry['width']}"
        return f"{size}, {entry['slots']} slots; sources: {', '.join(entry['sources'])}; prepared: {prepared}"
    if entry["kind"] == "method":
        variants = f"; variants: {', '.join(entry['variants'])}" if entry["variants"] else ""
        return f"{entry['title']}: {entry['summary']}{variants}"
    if entry["kind"] in ("run", "weights"):
        scores = entry["metrics"].get("test", {})
        shown = (
            f"{name} {metric.format(scores[name]['mean'])}{'%' * metric.percent}"
            f"{over_images(scores[name].get('n'), scores['n_images'])}"
            for name, metric in context.spec.columns().items()
            if name in scores
        )
        if entry["kind"] == "weights":
            made = f"{entry['method']} seed {entry['seed']} on {entry['dataset']}/{entry['source']}"
            return ", ".join((f"{made}, {megabytes(entry['bytes'])}", *shown))
        changed = (f"{key}={value}" for key, value in entry["overrides"].items())
        if entry["state"] != "finished":
            return ", ".join((f"not finished: {entry['state']}", *changed))
        made = "predictions made outside objbench" if entry["external"] else f"{entry['steps']} steps"
        if entry["external"] and entry["trained_on"]:
            made += f", said to be trained on {entry['trained_on']}"
        return ", ".join((made, *shown, *changed))
    return _metric_line(context.spec.metric(entry["name"]))


def _fitted(line: str) -> str:
    """The line, on a terminal broken between words; programs get it whole."""
    if not sys.stdout.isatty():
        return line
    width = max(shutil.get_terminal_size().columns, 20)
    return textwrap.fill(
        line,
        width,
        subsequent_indent="      ",
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
        replace_whitespace=False,
    )


def _metric_line(metric: MetricSpec) -> str:
    from objbench.spec.metrics import NOT_STATED

    what = ", ".join(text for text in (metric.summary, metric.meaning) if text not in ("", NOT_STATED))
    low, high = ("" if bound is None else f"{bound:g}" for bound in metric.range)
    facts = [
        metric.unit,
        f"{metric.better} is better" if metric.better else "",
        f"range {low}..{high}" if low or high else "",
        "a column by default" if metric.column else "",
    ]
    return f"{metric.title}: {what} ({', '.join(fact for fact in facts if fact)})"
