"""A prepare at work: shards from an open source, by one process or in parts, then card and manifest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

import objbench
from objbench import progress
from objbench.data.format.manifest import (
    MANIFEST,
    Manifest,
    SourceFile,
    Split,
    refuse_incomplete,
)
from objbench.data.format.sample import repeated_images
from objbench.data.format.settings import Settings
from objbench.data.prepare import card
from objbench.data.prepare.describe import Hashing, describe_written, file_state, tree_name, tree_state
from objbench.data.prepare.earlier import clear, refuse_other, same
from objbench.data.prepare.features import first_factors
from objbench.data.prepare.fetch import published_files
from objbench.data.prepare.journal import Journal, Started
from objbench.data.prepare.parts import Shards
from objbench.data.prepare.pipeline import write_splits
from objbench.data.prepare.writer import ShardWriter
from objbench.data.sources.base import Source, SplitPlan
from objbench.errors import ObjbenchError, RequestError
from objbench.locks import exclusive_lock
from objbench.os_errors import explain_os_errors
from objbench.parts import Part
from objbench.printable import printable
from objbench.spec.datasets import DatasetRef
from objbench.spec.nested import differences
from objbench.stores import Place, locked, write_whole

_SAMPLE_OVERHEAD = 6 * 1024  # headers, padding and JSON: the most bytes of a sample besides its pixels


@dataclass(frozen=True)
class Preparation:
    """A prepare that is ready to start: its source is open and its splits are planned. Nothing is written yet."""

    dataset: DatasetRef
    name: str
    folder: Place
    source: Source
    plans: list[SplitPlan]
    settings: Settings

    @property
    def scenes(self) -> int:
        """The number of scenes of all splits; an estimate if it depends on the end of the source."""
        return sum(len(plan) for plan in self.plans)

    @property
    def bytes_at_most(self) -> int:
        """An upper bound of the size of the shards: a PNG is hardly larger than its pixels."""
        return self.scenes * (4 * self.settings.height * self.settings.width + _SAMPLE_OVERHEAD)

    def run(
        self, workers: int, advance: progress.Advance, *, force: bool = False, skip_bad: bool = False
    ) -> Manifest:
        """Write the shards, the card and, last, the manifest. Continues where a killed prepare stopped."""
        with self._scratch() as scratch:
            return self._run(scratch, workers, force, advance, skip_bad)

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        """Where shards grow: in the folder, which is locked; for a store, which has no locks, in a temporary one."""
        if isinstance(self.folder, Path):
            occupied = f"{self.folder}: another prepare is running here"
            with self._disk_errors(), exclusive_lock(self.folder / ".lock", occupied):
                yield self.folder
        else:
            with self._disk_errors(), TemporaryDirectory(prefix="objbench-") as name:
                yield Path(name)

    def _disk_errors(self) -> AbstractContextManager[None]:
        """Errors of the disk where shards grow in words: that of the folder; for a store, that of temporary files."""
        if isinstance(self.folder, Path):
            return explain_os_errors(self.folder, "--data")
        return explain_os_errors(Path(gettempdir()), "TMPDIR")

    def _run(
        self, scratch: Path, workers: int, force: bool, advance: progress.Advance, skip_bad: bool
    ) -> Manifest:
        if not force and (self.folder / MANIFEST).is_file():  # another prepare was faster
            Journal(self.folder).close()
            return same(self.folder, self.settings, self.source.generator)
        states = self._file_states()
        journal = self._journal(force, states)
        shards = Shards(self.source, self.plans, self.settings, journal)
        if any(journal.has_gap(plan.split) for plan in self.plans):
            shards.make(shards.missing(shards.planned(workers)), scratch, workers, advance)
        writers = {
            plan.split: ShardWriter(self.folder, scratch, plan.split, self.settings.scenes_per_shard, journal)
            for plan in self.plans
        }
        for split, (count, records) in shards.complete().items():
            if writers[split].closed is None and writers[split].written == count:
                writers[split].close(records)
        advance(0, resumed=sum(writer.written for writer in writers.values()))
        with Hashing(
            self.source.files, published_files(self.dataset, self.name), self.source.tree
        ) as hashing:
            try:
                watched = hashing.watched(advance)
                write_splits(self.source, self.plans, self.settings, writers, workers, skip_bad, watched)
            finally:
                for writer in writers.values():
                    writer.abandon()
            files = hashing.result(advance)
        self._refuse_changed_files(states)
        repeated = repeated_images({split: writer.images for split, writer in writers.items()})
        splits = {
            plan.split: describe_written(plan, writers[plan.split], repeated[plan.split])
            for plan in self.plans
        }
        manifest = self.manifest(splits, files)
        refuse_incomplete(self.folder, manifest)
        text = card.render(self.dataset, manifest, first_factors(self.folder, manifest))
        write_whole(self.folder / "README.md", text)
        manifest.save(self.folder / MANIFEST)
        journal.close()
        return manifest

    def run_part(self, part: Part, workers: int, advance: progress.Advance) -> int | None:
        """Make the shards of one of several processes, those that are not there. `run` then writes the manifest.

        Returns:
            The number of shards of the part; None if the whole is finished.

        Raises:
            RequestError: A prepare with other settings has begun here.
            LockedError: Another process makes this part.
        """
        occupied = f"{self.folder}: another process makes part {part}"
        lock = Journal(self.folder).path / f"part-{part.number}-of-{part.of}.lock"
        with self._disk_errors():
            try:
                with locked(self.folder / ".lock"):
                    if (self.folder / MANIFEST).is_file():
                        return None
                    states = self._file_states()
                    journal = self._journal(False, states)
                with locked(lock, occupied):
                    shards = Shards(self.source, self.plans, self.settings, journal)
                    ours = part.stretch(shards.planned(workers))
                    missing = shards.missing(ours)
                    done = sum(shard.count for shard in ours) - sum(shard.count for shard in missing)
                    advance(0, resumed=done)
                    where = journal.path if isinstance(journal.path, Path) else None
                    with TemporaryDirectory(
                        prefix="objbench-", dir=where, ignore_cleanup_errors=True
                    ) as scratch:
                        shards.make(missing, Path(scratch), workers, advance)
            except FileNotFoundError:
                if not (self.folder / MANIFEST).is_file():  # a call without a part has finished the whole
                    raise
                return None
        self._refuse_changed_files(states)
        return len(ours)

    def _file_states(self) -> dict[str, str]:
        states = {printable(path.name): file_state(path) for path in self.source.files}
        tree = self.source.tree
        return states if tree is None else {**states, tree_name(tree): tree_state(tree)}

    def _refuse_changed_files(self, earlier: dict[str, str]) -> None:
        """ObjbenchError if a source file is no longer the one that the scenes were read from."""
        changed = [name for name, state in self._file_states().items() if state != earlier[name]]
        if changed:
            raise ObjbenchError(
                f"{self.folder}: {', '.join(changed)} changed while it was read; --force prepares the dataset anew"
            )

    def _journal(self, force: bool, states: dict[str, str]) -> Journal:
        """The journal of an unfinished prepare with the same settings, or a new one."""
        started, journal = self._started(states), Journal(self.folder)
        earlier = journal.started()
        if force or (self._is_without_shard and earlier != started):  # there is nothing to continue
            # A store has no locks: what was not there yet may be what a process beside this one begins.
            if force or earlier is not None or isinstance(self.folder, Path):
                clear(self.folder)
            journal.start(started)
            return journal
        self._refuse_other(earlier, started)
        return journal

    def refuse_unfinished(self) -> None:
        """Raise RequestError if an unfinished prepare with other settings is in the way, as `run` would. Writes nothing."""
        if not self._is_without_shard:
            self._refuse_other(Journal(self.folder).started(), self._started(self._file_states()))

    def _started(self, states: dict[str, str]) -> Started:
        return Started(settings=self.settings, generator=self.source.generator, files=states)

    @property
    def _is_without_shard(self) -> bool:
        return not any(self.folder.glob("*.tar"))

    def _refuse_other(self, earlier: Started | None, started: Started) -> None:
        if earlier is None:
            raise RequestError(
                f"{self.folder}: holds shards, but neither a manifest nor a sound journal of a prepare; "
                "--force replaces them"
            )
        found = earlier.settings.differences(started.settings)
        found += differences(*(entry.model_dump(exclude={"settings"}) for entry in (earlier, started)))
        refuse_other(self.folder, "an unfinished prepare", found)

    def manifest(self, splits: dict[str, Split], files: list[SourceFile]) -> Manifest:
        """The manifest of these splits, made from these files."""
        return Manifest(
            objbench=objbench.__version__,
            dataset=self.dataset.name,
            protocol=self.dataset.protocol,
            source=self.name,
            height=self.settings.height,
            width=self.settings.width,
            settings=self.settings,
            generator=self.source.generator,
            files=files,
            splits=splits,
        )
