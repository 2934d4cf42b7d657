"""What `objbench prepare` was asked for, and the way from there to a preparation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from objbench import progress, registry
from objbench.data.download import Status
from objbench.data.download.copies import copy_of
from objbench.data.format.manifest import (
    MANIFEST,
    Manifest,
    folder_of,
    read_manifest,
)
from objbench.data.format.settings import Settings, settings_of
from objbench.data.prepare.earlier import refuse_other_files, remove_journal, same
from objbench.data.prepare.fetch import fetch_release, release_status
from objbench.data.prepare.preparation import Preparation
from objbench.data.sources.base import Source, SourceRequest
from objbench.data.workers import available
from objbench.errors import RequestError
from objbench.spec.datasets import SPLITS, DatasetRef
from objbench.stores import Place


@dataclass(frozen=True)
class PrepareRequest:
    """What is to be prepared, from what, and where; and the steps of doing it: `finished`, else `plan` and its `run`.

    Attributes:
        dataset: The dataset and its protocol.
        source: The name of the source's block.
        data: Folder of the prepared datasets, or their place in a store.
        raw: The downloaded release, its file or folder, on the disk or in a store; None: it is downloaded into `data`/.downloads if possible.
        sizes: Sizes of some splits, 0 to leave a split out. The others have the size that the protocol says.
        seed: Of a generator.

    Raises:
        RequestError: The protocol has no such source, there is no such split, or a size is below 0.
    """

    dataset: DatasetRef
    source: str
    data: Place
    raw: Place | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        self.dataset.source(self.source)
        for split, size in self.sizes.items():
            if split not in SPLITS:
                raise RequestError(f"sizes are given for {', '.join(SPLITS)}, not for '{split}'")
            if size < 0:
                raise RequestError(
                    f"--{split} {size}: a split cannot have fewer than 0 scenes (0 leaves it out)"
                )

    @property
    def folder(self) -> Place:
        """Where the prepared dataset lives."""
        return folder_of(self.data, self.dataset, self.source)

    def finished(self) -> Manifest | None:
        """The manifest of the same prepare, None if it has not finished.

        A release that was deleted since is not missed; what is at `raw`, on the disk, is compared.

        Raises:
            RequestError: The settings were others, or the files of `raw` are not those that it was made from.
        """
        if not (self.folder / MANIFEST).is_file():
            return None
        remove_journal(self.folder)
        if read_manifest(self.folder).generator is None:
            self._refuse_seed()
            manifest = same(self.folder, self._settings(None), None)
        else:
            generator = self._opened(None).generator
            manifest = same(self.folder, self._settings(self.seed), generator)
        if isinstance(self.raw, Path) and self.raw.exists():
            refuse_other_files(self.folder, manifest, self.raw, self.plan().source)
        return manifest

    def downloads(self) -> Status | None:
        """What `plan` would download without `raw`; None for a source without downloads. Writes nothing."""
        return release_status(self._of_source(None), self.data)

    def plan(self, say: progress.Say = lambda line: None) -> Preparation:
        """Get the release, open the source and plan its splits. Of the dataset nothing is written.

        Args:
            say: Is told what is downloaded.

        Raises:
            RequestError: The request cannot be met.
            ObjbenchError: The release cannot be had, or is damaged.
        """
        rules = self.dataset.rule.sources[self.source]
        if rules and all(self.sizes.get(split) == 0 for split in rules):
            raise self._nothing()  # before a file is missed that nothing needs
        refuse_selection(self.dataset, self.source)
        here = copy_of("raw", self.raw) if self.raw else fetch_release(self._of_source(None), self.data, say)
        opened = self._opened(here)
        draws = opened.generator is not None
        if not draws:
            self._refuse_seed()
        plans = opened.plan()
        if not plans:
            raise self._nothing()
        settings = self._settings(self.seed if draws else None)
        return Preparation(self.dataset, self.source, self.folder, opened, plans, settings)

    def _of_source(self, release: Path | None) -> SourceRequest:
        return SourceRequest(self.dataset, self.source, release, dict(self.sizes), self.seed)

    def _opened(self, release: Path | None) -> Source:
        opened: Source = registry.get("sources", self.source)(self._of_source(release))
        return opened

    def _settings(self, seed: int | None) -> Settings:
        native = registry.get("sources", self.source).native
        return settings_of(self.dataset, self.source, self.sizes, seed, native)

    def _refuse_seed(self) -> None:
        """Raise RequestError if a seed is given to a source that is no generator."""
        if self.seed:
            raise RequestError(
                f"--seed {self.seed}: the source '{self.source}' draws nothing, its scenes are those of the release; "
                "leave out --seed"
            )

    def _nothing(self) -> RequestError:
        return RequestError(
            f"{self.dataset} ({self.source}): all splits are of size 0, there is nothing to prepare"
        )


def prepare(
    dataset: DatasetRef,
    source: str,
    data: Place,
    raw: Place | None = None,
    sizes: Mapping[str, int] | None = None,
    *,
    seed: int = 0,
    workers: int | None = None,
    force: bool = False,
    advance: progress.Advance = progress.silent,
    skip_bad: bool = False,
    say: progress.Say = lambda line: None,
) -> Manifest:
    """Carry out a PrepareRequest, with its attributes as arguments. Returns at once if that is done already.

    Args:
        workers: Encoding processes; None: one per core.
        force: Replace what is there, whatever its settings.
        skip_bad: Leave damaged scenes out and list them in the manifest, instead of stopping at the first.
        say: Is told what is downloaded.

    Raises:
        RequestError: The request cannot be met.
        ObjbenchError: The work failed.
    """
    request = PrepareRequest(dataset, source, data, raw, sizes or {}, seed)
    if not force and (manifest := request.finished()) is not None:
        return manifest
    return request.plan(say).run(workers or available(), advance, force=force, skip_bad=skip_bad)


def refuse_selection(dataset: DatasetRef, source: str) -> None:
    """Raise RequestError if the protocol selects or transforms scenes of a source that cannot do that."""
    if dataset.rule.transform is not None and not any(
        registry.get("sources", name).native for name in dataset.rule.sources
    ):
        raise RequestError(
            f"datasets.{dataset.name}.protocols.{dataset.protocol}.transform: the source '{source}' makes scenes of their "
            "final size, and follows none; leave it out"
        )
    select = dataset.rule.select.get(source)
    asked = select.model_dump(exclude_none=True) if select is not None else {}
    for key in asked:
        if key not in registry.get("sources", source).selects:
            raise RequestError(
                f"datasets.{dataset.name}.protocols.{dataset.protocol}.select: the source '{source}' cannot select by {key}; "
                "leave that out, and give it only the scenes that qualify"
            )
