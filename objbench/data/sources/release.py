"""What the sources that read a downloaded release share: its files, how splits are cut, masks, other datasets' data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from objbench.data.scene import Array
from objbench.data.sources.base import SourceRequest, SplitPlan
from objbench.errors import ObjbenchError, RequestError
from objbench.spec import SourceSpec, SplitRule

# Height and width of the scenes as released, which a wrong file is recognised by.
NATIVE_SIZE = {"tetrominoes": (35, 35), "multi_dsprites": (64, 64), "clevr_with_masks": (240, 320)}


def source_spec(request: SourceRequest) -> SourceSpec:
    """What benchmarks.yaml says of the requested source."""
    return request.dataset.spec.sources[request.source]


def label(request: SourceRequest) -> str:
    """The dataset and source as messages call them."""
    return f"{request.dataset} ({request.source})"


def raw_path(request: SourceRequest) -> Path:
    """The path that --raw names; ObjbenchError that says what to do where there is none."""
    if request.raw is None:
        raise ObjbenchError(
            f"{label(request)}: there is no automatic download of this source yet. Download it from "
            f"{source_spec(request).url} and give the file or its folder with --raw PATH, "
            "or use --source generated"
        )
    if not request.raw.exists():
        raise ObjbenchError(f"--raw {request.raw}: no such file or folder")
    return request.raw


def find_file(request: SourceRequest, folder: Path, role: str) -> Path | None:
    """The file of `role` in `folder`, under the first of its accepted names that is there."""
    paths = (folder / name for name in source_spec(request).files[role])
    return next((path for path in paths if path.is_file()), None)


def missing_file(request: SourceRequest, folder: Path, role: str) -> ObjbenchError:
    """No file of `role` in `folder`."""
    names = " or ".join(source_spec(request).files[role])
    splits = sorted(
        split for split, rule in rules(request).items() if rule.file == role and wanted(request, split)
    )
    without = " ".join(f"--{split} 0" for split in splits)
    return ObjbenchError(
        f"{folder}: holds no {names}, which {', '.join(splits)} of {label(request)} is made of. "
        f"Download it from {source_spec(request).url}, or leave it out with {without}"
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


def protocol_plan(request: SourceRequest) -> list[SplitPlan]:
    """The records that the protocol names, the first ones of a split where a smaller size is asked for.

    In the order of their place in the files. RequestError for a size larger than the protocol's.
    """
    plans = []
    records = source_spec(request).records
    for split in request.sizes:
        if split not in rules(request) and request.sizes[split]:
            raise RequestError(f"--{split} {request.sizes[split]}: {label(request)} has no split '{split}'")
    for split, rule in rules(request).items():
        start, stop, _ = slice(rule.start, rule.stop).indices(records[rule.file])
        size = request.sizes.get(split, stop - start)
        if size > stop - start:
            raise RequestError(
                f"--{split} {size}: {label(request)} has {stop - start:,} {split} scenes by its protocol "
                f"'{request.dataset.protocol}'"
            )
        if size:
            standard = size == stop - start
            plans.append(SplitPlan(split, rule.file, start, start + size, standard, rule.in_train))
    roles = list(source_spec(request).files)
    return sorted(plans, key=lambda plan: (roles.index(plan.file), plan.start))


def consecutive_plan(
    request: SourceRequest, found: Mapping[str, int], files: Mapping[str, Path]
) -> list[SplitPlan]:
    """An incomplete release cut by the given sizes: in the source's order, each file from its first record on.

    found  records in each file (at most as many as the sizes need, where more were not counted)
    """
    plans: list[SplitPlan] = []
    position = dict.fromkeys(found, 0)
    for split in source_spec(request).order:
        if not wanted(request, split):
            continue
        file, size = rules(request)[split].file, request.sizes[split]
        start = position[file]
        position[file] += size
        plans.append(SplitPlan(split, file, start, start + size, standard=False))
    for file, needed in position.items():
        if needed > found[file]:
            sizes = " + ".join(f"{len(plan):,} {plan.split}" for plan in plans if plan.file == file)
            raise ObjbenchError(f"{files[file]}: holds {found[file]:,} records, but {sizes} are asked for")
    return plans


def incomplete(request: SourceRequest, path: Path, found: int, expected: str) -> ObjbenchError:
    """A file of another length than the protocol builds on."""
    options = ", ".join(f"--{split}" for split in source_spec(request).order if split in rules(request))
    return ObjbenchError(
        f"{path}: holds {found:,} records; {label(request)} {expected}. To prepare a non-standard set from what is "
        f"there, give all of {options} (0 leaves a split out): it is then cut one split after the other"
    )


def label_map(planes: Array, values: tuple[int, ...]) -> Array:
    """Label maps uint8 (N,H,W) from entity masks uint8 (N,E,H,W), the arg-max over entities.

    `values` are those that may stand for "inside". Raises SceneError unless each scene's planes hold 0 and one of
    these and every pixel lies in exactly one entity.
    """
    inside = planes.max(axis=(1, 2, 3), keepdims=True)
    exact = ((planes == 0) | (planes == inside)).all(axis=(1, 2, 3)) & np.isin(inside.ravel(), values)
    if not exact.all():
        row = int(np.argmin(exact))
        expected = " or ".join(f"0 and {value}" for value in values)
        raise SceneError(row, f"its masks hold {_some(np.unique(planes[row]))}, expected {expected}")
    covered = np.count_nonzero(planes, axis=1)
    if not (covered == 1).all():
        row = int(np.argmax((covered != 1).any(axis=(1, 2))))
        y, x = np.argwhere(covered[row] != 1)[0]
        raise SceneError(
            row,
            f"the pixel in row {y}, column {x} lies in {covered[row, y, x]} entity masks, expected exactly 1",
        )
    labels: Array = planes.argmax(axis=1).astype(np.uint8)
    return labels


class SceneError(Exception):
    """What is wrong with the scene in row `row` of a batch."""

    def __init__(self, row: int, what: str) -> None:
        super().__init__(what)
        self.row = row


def looks_like(values: int) -> str:
    """A hint for an image of `values` values that belongs to another dataset; empty if it belongs to none."""
    names = [name for name, (height, width) in NATIVE_SIZE.items() if height * width * 3 == values]
    return f": is this {names[0]}?" if names else ""


def _some(values: Array) -> str:
    shown = ", ".join(str(value) for value in values[:4])
    return f"{shown}, ..." if len(values) > 4 else shown
