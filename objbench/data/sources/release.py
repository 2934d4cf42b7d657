"""What the sources of downloaded releases share: finding the files, and cutting the splits."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from objbench.data.sources.base import SourceRequest, SplitPlan
from objbench.errors import ObjbenchError, RequestError, unknown_name
from objbench.spec.datasets import SplitRule
from objbench.spec.sources import SourceSpec


def source_spec(request: SourceRequest) -> SourceSpec:
    """What benchmarks.yaml says of the requested source."""
    return request.dataset.spec.sources[request.source]


def label(request: SourceRequest) -> str:
    """The dataset and source as messages call them."""
    return f"{request.dataset} ({request.source})"


def option(request: SourceRequest, name: str, known: Iterable[str]) -> str:
    """The value of the only option `name` of the requested source, one of `known`.

    Raises:
        RequestError: The dataset's block does not give it, or gives another option or an unknown value.
    """
    options = source_spec(request).options
    where = f"datasets.{request.dataset.name}.sources.{request.source}.options"
    for key in options:
        if key != name:
            raise unknown_name(f"key in {where}", key, [name])
    if name not in options:
        raise RequestError(f"{where}: '{name}' is missing; it is one of: {', '.join(known)}")
    value = str(options[name])
    if value not in known:
        raise unknown_name(f"{name} in {where}", value, known)
    return value


def no_options(request: SourceRequest) -> None:
    """RequestError if the dataset's block gives options to a source that has none."""
    for key in source_spec(request).options:
        raise RequestError(
            f"datasets.{request.dataset.name}.sources.{request.source}.options: '{key}' is given, but the source has none"
        )


def raw_path(request: SourceRequest) -> Path:
    """The path given with --raw; ObjbenchError that says what to do if there is none."""
    if request.raw is None:
        url = source_spec(request).url
        get = f"Download it from {url} and give" if url else "Give"
        raise ObjbenchError(
            f"{label(request)}: no files are given. {get} the file or "
            f"its folder with --raw PATH{', or use --source generated' if 'generated' in request.dataset.sources else ''}"
        )
    if not request.raw.exists():
        raise ObjbenchError(f"--raw {request.raw}: no such file or folder")
    if not (request.raw.is_file() or request.raw.is_dir()):
        raise ObjbenchError(
            f"--raw {request.raw}: a pipe or device, expected a file or folder: it is read twice"
        )
    return request.raw


def find_file(request: SourceRequest, folder: Path, role: str) -> Path | None:
    """The file of `role` in `folder`, under the first of its accepted names that is there."""
    paths = (folder / name for name in source_spec(request).files[role])
    return next((path for path in paths if path.is_file()), None)


def wanted_files(request: SourceRequest) -> set[str]:
    """All accepted names of the files that the wanted splits are made of."""
    needed = {rule.file for split, rule in rules(request).items() if wanted(request, split)}
    return {name for role in needed for name in source_spec(request).files.get(role, [])}


def missing_file(request: SourceRequest, folder: Path, role: str) -> ObjbenchError:
    """The error for a missing file of `role` in `folder`."""
    names = " or ".join(source_spec(request).files[role])
    splits = sorted(
        split for split, rule in rules(request).items() if rule.file == role and wanted(request, split)
    )
    others = any(wanted(request, split) for split in set(rules(request)) - {*splits})
    without = ", or leave it out with " + " ".join(f"--{split} 0" for split in splits) if others else ""
    return ObjbenchError(
        f"{folder}: holds no {names}, which {', '.join(splits)} of {label(request)} is made of. "
        f"Download it from {source_spec(request).url}{without}"
    )


def rules(request: SourceRequest) -> Mapping[str, SplitRule]:
    """The protocol's splits of the requested source."""
    return request.dataset.rule.sources[request.source]


def wanted(request: SourceRequest, split: str) -> bool:
    """Whether any scene of `split` is asked for."""
    return split in rules(request) and request.sizes.get(split) != 0


def all_sizes_given(request: SourceRequest) -> bool:
    """Whether the user gave the size of every split: the condition for cutting an incomplete release."""
    return set(rules(request)) <= set(request.sizes)


def needs_count(request: SourceRequest, role: str) -> bool:
    """Whether only the file of `role` can say where a wanted split ends."""
    if source_spec(request).records[role] is not None:
        return False
    counted = (rule for split, rule in rules(request).items() if rule.file == role and wanted(request, split))
    return any(bound is None or bound < 0 for rule in counted for bound in (rule.start, rule.stop))


def protocol_plan(request: SourceRequest, rows: Mapping[str, int] | None = None) -> list[SplitPlan]:
    """The records that the protocol names, in file order; the first ones of a split if a smaller size is asked for.

    Args:
        request: What the user asked for.
        rows: Role -> number of records, for the files whose number benchmarks.yaml does not give and that `needs_count`.

    Raises:
        RequestError: A size is larger than the protocol's, or train shares scenes with another split that does not say so.
    """
    for split, size in request.sizes.items():
        if split not in rules(request) and size:
            raise RequestError(f"--{split} {size}: {label(request)} has no split '{split}'")
    make = _selected if request.source in request.dataset.rule.select else _plain
    plans = [
        make(
            request,
            split,
            rule,
            source_spec(request).records[rule.file] or (rows or {}).get(rule.file, sys.maxsize),
        )
        for split, rule in rules(request).items()
        if wanted(request, split)
    ]
    _refuse_overlap(request, plans)
    roles = list(source_spec(request).records)
    return sorted(plans, key=lambda plan: (roles.index(plan.file), plan.start, _place(plan)))


def _plain(request: SourceRequest, split: str, rule: SplitRule, records: int) -> SplitPlan:
    """Records of a file that holds `records` of them."""
    start, stop, _ = slice(rule.start, rule.stop).indices(records)
    size = request.sizes.get(split, stop - start)
    _refuse_more(request, split, stop - start)
    return SplitPlan(split, rule.file, start, start + size, size == stop - start, rule.in_train)


def _selected(request: SourceRequest, split: str, rule: SplitRule, records: int) -> SplitPlan:
    """The scenes that the rule takes of all that qualify; their number may be known only after reading."""
    first, last, _ = slice(*rule.records).indices(records)
    _refuse_more(request, split, last - first if rule.size is None else rule.size)
    size = request.sizes.get(split)
    if size is None or size == rule.size:
        cut, expected = (rule.start, rule.stop), rule.size or rule.about
        return SplitPlan(split, rule.file, first, last, True, rule.in_train, cut, expected)
    cut = (rule.start, rule.start + size or None)
    return SplitPlan(split, rule.file, first, last, False, rule.in_train, cut, size)


def _refuse_overlap(request: SourceRequest, plans: list[SplitPlan]) -> None:
    """Raise RequestError for scenes that are in train and in another split, unless the protocol says so."""
    train = [plan for plan in plans if plan.split == "train"]
    for plan in plans:
        if plan.split != "train" and not plan.in_train and any(plan.shares(other) for other in train):
            raise RequestError(
                f"datasets.{request.dataset.name}.protocols.{request.dataset.protocol}.sources.{request.source}.{plan.split}: "
                "has records of train; give it others, or say in_train: true"
            )


def _refuse_more(request: SourceRequest, split: str, most: int) -> None:
    size = request.sizes.get(split, 0)
    if size > most:
        raise RequestError(
            f"--{split} {size}: {label(request)} has {most:,} {split} scenes by its protocol "
            f"'{request.dataset.protocol}'"
        )


def _place(plan: SplitPlan) -> tuple[bool, int]:
    """The sort key of plans of the same records: cuts from the start before those from the end."""
    start = plan.cut[0] if plan.cut else 0
    return start < 0, start


def consecutive_plan(
    request: SourceRequest, found: Mapping[str, int], files: Mapping[str, Path]
) -> list[SplitPlan]:
    """An incomplete release cut by the given sizes: in the source's order, each file from its first record on.

    Args:
        request: What the user asked for, with the sizes of all splits.
        found: Role -> records in the file; counting may have stopped at the number that the sizes need.
        files: Role -> the file, for messages.

    Raises:
        ObjbenchError: A file holds fewer records than the sizes need.
    """
    plans: list[SplitPlan] = []
    position = dict.fromkeys(found, 0)
    for split in source_spec(request).order:
        if not wanted(request, split):
            continue
        file, size = rules(request)[split].file, request.sizes[split]
        start = position[file]
        stop = position[file] = start + size
        if request.source in request.dataset.rule.select:
            cut = (start, stop)
            plans.append(SplitPlan(split, file, 0, found[file], standard=False, cut=cut, expected=size))
        else:
            plans.append(SplitPlan(split, file, start, stop, standard=False))
    for file, needed in position.items():
        if needed > found[file]:
            sizes = " + ".join(f"{len(plan):,} {plan.split}" for plan in plans if plan.file == file)
            raise ObjbenchError(f"{files[file]}: holds {found[file]:,} records, but {sizes} are asked for")
    return plans


def incomplete(request: SourceRequest, path: Path, found: int, expected: str) -> ObjbenchError:
    """The error for a file that has another length than the protocol needs."""
    options = ", ".join(f"--{split}" for split in source_spec(request).order if split in rules(request))
    return ObjbenchError(
        f"{path}: holds {found:,} records; {label(request)} {expected}. To prepare a non-standard set from what is "
        f"there, give all of {options} (0 leaves a split out): it is then cut one split after the other"
    )
