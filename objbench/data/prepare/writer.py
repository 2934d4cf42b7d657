"""Writing the shards of a split, each whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from pathlib import Path
from typing import IO

from objbench.data.format import tar
from objbench.data.format.manifest import Records, Shard, Skipped
from objbench.data.format.sample import IMAGE_DIGEST
from objbench.data.prepare.encode import EncodedScene
from objbench.data.prepare.journal import Closed, Finished, Journal, shard_name
from objbench.files import check_space, sync_open
from objbench.os_errors import naming
from objbench.stores import Place, move_whole

_SPARE = 1.05


class ShardWriter:
    """Writes the scenes of one split, in order, into shards of `per_shard`; continues after the finished shards.

    Args:
        folder: Of the dataset.
        scratch: The folder of this disk where a shard grows until it is whole.
        begin: The number of the first shard to write, whatever is finished; None: after the finished ones.
    """

    def __init__(
        self,
        folder: Place,
        scratch: Path,
        split: str,
        per_shard: int,
        journal: Journal,
        begin: int | None = None,
    ) -> None:
        self.folder, self.scratch, self.split, self.per_shard = folder, scratch, split, per_shard
        self.journal, self._begin = journal, begin or 0
        self.finished = journal.finished(split) if begin is None else []
        self.closed = journal.closed(split, len(self.finished)) if begin is None else None
        self._file: IO[bytes] | None = None
        self._indices: list[int] = []
        self._skipped: list[Skipped] = []

    @property
    def written(self) -> int:
        """Number of samples so far, those of the unfinished shard included."""
        return sum(entry.shard.count for entry in self.finished) + len(self._indices)

    @property
    def skipped(self) -> list[Skipped]:
        """The damaged scenes so far."""
        last = self._skipped if self.closed is None else self.closed.skipped
        return [scene for entry in self.finished for scene in entry.skipped] + last

    @property
    def images(self) -> list[bytes]:
        """The digests of the images in finished shards, in order."""
        joined = b"".join(bytes.fromhex(entry.images) for entry in self.finished)
        return [joined[at : at + IMAGE_DIGEST] for at in range(0, len(joined), IMAGE_DIGEST)]

    @property
    def first(self) -> int | None:
        """The source's index of the first sample, None if there is none."""
        indices = [self.finished[0].first] if self.finished else self._indices[:1]
        return indices[0] if indices else None

    @property
    def resume(self) -> int:
        """All scenes of the source with a smaller index are in finished shards."""
        if self.closed is not None:
            return self.closed.records.stop
        return self.finished[-1].last + 1 if self.finished else 0

    def add(self, scene: EncodedScene) -> None:
        """Add a sample, and finish the shard if it is full. A skipped scene is only listed."""
        if scene.reason:
            self._skipped.append(Skipped(index=scene.index, reason=scene.reason))
            return
        if self._file is None:
            self._open()
        self._write(scene.content)
        self._indices.append(scene.index)
        self._digests.append(scene.digest)
        self._images.append(scene.image)
        self._objects[scene.n_objects] += 1
        if len(self._indices) == self.per_shard:
            self._finish()

    def check_space(self, samples: list[int], remaining: int) -> None:
        """ObjbenchError unless the disk has room for what is to come. Of a store's shards one at a time is on this disk.

        Args:
            samples: The sizes of some samples, in bytes.
            remaining: The number of samples still to be written.
        """
        remedy = "free some space, choose another place with --data, or make smaller splits"
        if not isinstance(self.folder, Path):
            remaining = min(remaining, self.per_shard)
            remedy = "free some space, or name a folder on another disk in TMPDIR"
        needed = int(remaining * sum(samples) / len(samples) * _SPARE)
        check_space(self.scratch, needed, "the shards still need about", remedy)

    def end(self) -> None:
        """Finish the shard that is not full."""
        if self._file is not None:
            self._finish()

    def close(self, records: Records) -> None:
        """Declare the split complete."""
        self.end()
        self.closed = Closed(records=records, shards=len(self.finished), skipped=self._skipped)
        self.journal.end(self.split, self.closed)

    def abandon(self) -> None:
        """Remove the unfinished shard."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # a full disk refuses what is still buffered
                self._file.close()
            self._partial.unlink(missing_ok=True)
            self._file = None

    def _open(self) -> None:
        self._name = shard_name(self.split, self._begin + len(self.finished))
        self._partial = self.scratch / f"{self._name}.partial"
        self._file = self._partial.open("wb")
        self._sha, self._bytes = hashlib.sha256(), 0
        self._digests: list[bytes] = []
        self._images: list[bytes] = []
        self._objects: Counter[int] = Counter()

    def _write(self, content: bytes) -> None:
        assert self._file is not None
        with naming(self._partial):
            self._file.write(content)
        self._sha.update(content)
        self._bytes += len(content)

    def _finish(self) -> None:
        assert self._file is not None
        self._write(tar.END)
        with naming(self._partial):
            self._file.flush()
            sync_open(self._file.fileno())
            self._file.close()
        move_whole(self._partial, self.folder / self._name)
        self._file = None
        shard = Shard(
            name=self._name, bytes=self._bytes, sha256=self._sha.hexdigest(), count=len(self._indices)
        )
        entry = Finished(
            shard=shard,
            first=self._indices[0],
            last=self._indices[-1],
            digests=b"".join(self._digests).hex(),
            images=b"".join(self._images).hex(),
            object_counts=self._objects,
            skipped=self._skipped,
        )
        self.journal.add(entry)
        self.finished.append(entry)
        self._indices, self._skipped = [], []
