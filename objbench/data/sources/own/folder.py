"""The source `folder`: images beside their label maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import combinations
from pathlib import Path

from objbench.data.sources import release
from objbench.data.sources.base import Source, SourceRequest, SourceTree, SplitPlan
from objbench.data.sources.own.pairs import Pairs, scan
from objbench.data.sources.own.scenes import OwnBlock, OwnScene, blocks
from objbench.data.sources.own.splits import ALIKE, HASHED, plans, split_by_hash
from objbench.errors import RequestError, first_few
from objbench.spec.datasets import SPLITS

_NAMED = "by sub-folders train, val and test"


class FolderSource(Source):
    """A folder in one of the layouts of `pairs`; or with sub-folders train, val, test that each are one.

    Scenes are in the order of their names, and have the factor `name`.
    """

    def __init__(self, request: SourceRequest) -> None:
        super().__init__(request)
        release.no_options(request)
        root = release.raw_path(request)
        if not root.is_dir():
            raise RequestError(f"--raw {root}: a file, expected the folder that holds images and label maps")
        self._root = root
        self._named = any((root / split).is_dir() for split in SPLITS)
        if self._named and (root / "images").is_dir():
            raise RequestError(f"{root}: holds images and folders of splits beside it; move one of them away")
        folders = [split for split in SPLITS if release.wanted(request, split) and (root / split).is_dir()]
        for one, other in combinations(folders, 2):
            if (root / one).samefile(root / other):
                raise RequestError(
                    f"{root}: {one} and {other} are links to one folder; --{other} 0 leaves a split out"
                )
        self._pairs = {split: scan(root / split) for split in folders} if self._named else {"": scan(root)}

    @property
    def tree(self) -> SourceTree:
        """The images and the label files."""
        files = [
            f"{split}/{path}" if split else path
            for split, pairs in self._pairs.items()
            for path in pairs.files
        ]
        return SourceTree(self._root, tuple(sorted(files)))

    def plan(self) -> list[SplitPlan]:
        """Every scene of each split."""
        counts = {split: len(scenes) for split, scenes in self._scenes.items()}
        return plans(self.request, counts, self._split[1])

    def read(self, plans: list[SplitPlan], done: Mapping[str, int]) -> Iterator[tuple[str, OwnBlock]]:
        """The scenes; only the headers of images are read here, the files where they are decoded."""
        slots = self.request.dataset.spec.slots
        for plan in plans:
            for block in blocks(
                self._of(plan.split, max(plan.start, done.get(plan.split, 0)), plan.stop), slots
            ):
                yield plan.split, block

    def _of(self, split: str, start: int, stop: int) -> Iterator[OwnScene]:
        pairs: Pairs = self._pairs[split if self._named else ""]
        for index in range(start, stop):
            name = self._scenes[split][index]
            full = f"{split}/{name}" if self._named else name
            yield OwnScene(index, full, pairs.image(name), pairs.label(name))

    @property
    def _scenes(self) -> dict[str, list[str]]:
        return self._split[0]

    @cached_property
    def _split(self) -> tuple[dict[str, list[str]], str]:
        """Split -> the names of its scenes; and what they were assigned by."""
        if self._named:
            return {split: pairs.names for split, pairs in self._pairs.items()}, _NAMED
        names = self._pairs[""].names
        first = [name.partition("/")[0] for name in names]
        inside = set(first) <= set(SPLITS)
        if not inside:
            _refuse_split_names(self._root, names)
        found: dict[str, list[str]] = {split: [] for split in SPLITS}
        for name, split in zip(names, first if inside else map(split_by_hash, names), strict=True):
            found[split].append(name)
        return found, _NAMED if inside else HASHED


def _refuse_split_names(root: Path, names: list[str]) -> None:
    """Raise RequestError if a folder is named much like a split: a hash of the names would mix its scenes with others."""
    folders = sorted({name.partition("/")[0] for name in names if "/" in name})
    alike = [folder for folder in folders if folder in SPLITS or ALIKE.match(folder)]
    if alike:
        others = [folder for folder in folders if folder not in SPLITS] or ["scenes in no folder"]
        raise RequestError(
            f"{root}: {alike[0]} is named after a split, and {first_few(others)} would be mixed with it; name all folders "
            f"{', '.join(SPLITS)}, or none of them like a split"
        )
