"""What the manifest says of splits and of the files that they were made from."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from objbench import progress
from objbench.data.download.receipts import Checksums, checksums, mismatches, read_receipt
from objbench.data.download.remote import Remote
from objbench.data.format.manifest import Records, Shard, Skipped, SourceFile, Split
from objbench.data.format.sample import fingerprint
from objbench.data.prepare.writer import ShardWriter
from objbench.data.sources.base import SourceTree, SplitPlan
from objbench.errors import ObjbenchError
from objbench.files import megabytes, sha256_of
from objbench.paths import resolved
from objbench.printable import printable

_SECONDS = 1.0  # between two signs of life while files are hashed
_READ_AGAIN = 2**28  # bytes


def describe_split(
    plan: SplitPlan,
    count: int,
    records: Records,
    digests: Iterable[bytes],
    repeated: int | None,
    object_counts: Mapping[int, int],
    skipped: list[Skipped],
    shards: list[Shard],
) -> Split:
    """What the manifest says of a split of `count` scenes.

    Args:
        records: Those that were read for the split.
        digests: Of the samples, in order.
        repeated: How many of its images train has, too; see `Split`.
        object_counts: Number of objects -> number of scenes.
    """
    return Split(
        count=count,
        standard=plan.standard and not skipped,
        in_train=plan.in_train,
        repeated=repeated,
        records=records,
        fingerprint=fingerprint(digests),
        object_counts=dict(sorted(object_counts.items())),
        skipped=skipped,
        shards=shards,
    )


def describe_written(plan: SplitPlan, writer: ShardWriter, repeated: int | None) -> Split:
    """What the manifest says of a split that is complete on disk."""
    assert writer.closed is not None
    return describe_split(
        plan,
        count=writer.written,
        records=writer.closed.records,
        digests=(bytes.fromhex(entry.digests) for entry in writer.finished),
        repeated=repeated,
        object_counts=sum((Counter(entry.object_counts) for entry in writer.finished), Counter()),
        skipped=writer.skipped,
        shards=[entry.shard for entry in writer.finished],
    )


class Hashing:
    """Hashes source files in a thread and compares them with what is published of them.

    Args:
        paths: The files.
        published: Name -> the published file; others are only hashed.
        tree: Many files, of which one digest is made.
    """

    def __init__(
        self, paths: list[Path], published: Mapping[str, Remote], tree: SourceTree | None = None
    ) -> None:
        self._stopped, self._done = threading.Event(), 0
        self._total = sum(path.stat().st_size for path in paths) + (tree_size(tree) if tree else 0)
        self._thread = ThreadPoolExecutor(1)
        self._future = self._thread.submit(
            lambda: [
                *(_describe_file(path, published.get(path.name), self._step) for path in paths),
                *([_describe_tree(tree, self._step)] if tree else []),
            ]
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.shutdown()

    def watched(self, advance: progress.Advance) -> progress.Advance:
        """The same `advance`; it also raises the error of a file that is not the published one, once that is known."""

        def watching(amount: int = 1, note: str | None = None, resumed: int = 0) -> None:
            if self._future.done():
                self._future.result()
            advance(amount, note, resumed)

        return watching

    def result(self, advance: progress.Advance) -> list[SourceFile]:
        """What the manifest says of the files; waits for it.

        Raises:
            ObjbenchError: A file is not the published one.
        """
        while not wait([self._future], timeout=_SECONDS).done:
            progressed = f"{megabytes(self._done)} of {megabytes(self._total)}"
            advance(0, note=f"hashing the source files: {progressed}")
        return self._future.result()

    def _step(self, size: int) -> None:
        self._done += size
        if self._stopped.is_set():
            raise InterruptedError


def file_state(path: Path) -> str:
    """What tells whether a source file was replaced: its sha256 if a receipt has it, else its size and time."""
    receipt, state = read_receipt(path), path.stat()
    if receipt is not None and receipt.is_valid(path):
        return f"sha256 {receipt.sha256}"
    changed = datetime.fromtimestamp(state.st_mtime_ns // 10**9, UTC).isoformat(timespec="seconds")
    return f"{state.st_size:,} bytes of {changed} ({state.st_mtime_ns} ns)"


def are_those(paths: list[Path], tree: SourceTree | None, described: list[SourceFile]) -> bool:
    """Whether source files are those that were described, whatever their names are now.

    That is by their sizes, and by their content if they have at most 256 MiB together: where a prepare is finished
    nobody is to wait until a large release is read again.
    """
    sizes = [path.stat().st_size for path in paths] + ([tree_size(tree)] if tree else [])
    if sorted(sizes) != sorted(file.bytes for file in described):
        return False
    if sum(sizes) > _READ_AGAIN:
        return True
    with Hashing(paths, {}, tree) as hashing:
        found = hashing.result(progress.silent)
    return sorted(file.sha256 for file in found) == sorted(file.sha256 for file in described)


def tree_name(tree: SourceTree) -> str:
    """The name of its folder, with /; bytes that are no UTF-8 are written as escapes."""
    return f"{printable(resolved(tree.root).name)}/"


def tree_size(tree: SourceTree) -> int:
    """The bytes of its files."""
    return sum((tree.root / member).stat().st_size for member in tree.members)


def tree_state(tree: SourceTree) -> str:
    """What tells whether a file of a tree was replaced: a digest of their names, sizes and times."""
    sha = hashlib.sha256()
    for member in tree.members:
        state = (tree.root / member).stat()
        sha.update(f"{state.st_size} {state.st_mtime_ns}  {member}\n".encode(errors="surrogateescape"))
    return f"{len(tree.members):,} files ({sha.hexdigest()})"


def _describe_tree(tree: SourceTree, step: Callable[[int], None]) -> SourceFile:
    """The sha256 of the lines `SHA256  PATH` of the files, as `sha256sum` prints them."""
    sha, size = hashlib.sha256(), 0
    for member in tree.members:
        path = tree.root / member
        size += path.stat().st_size
        sha.update(f"{sha256_of(path, step)}  {member}\n".encode(errors="surrogateescape"))
    return SourceFile(name=tree_name(tree), bytes=size, sha256=sha.hexdigest())


def _describe_file(path: Path, published: Remote | None, step: Callable[[int], None]) -> SourceFile:
    """Name, size and hash of a source file. The receipt of a downloaded file has its hash, and what was checked."""
    size, expected = path.stat().st_size, published.published if published else {}
    if published is not None and published.bytes not in (None, size):
        raise _other_file(path, f"it has {size:,} bytes, published are {published.bytes:,}")
    receipt = read_receipt(path)
    if receipt is not None and receipt.is_valid(path) and set(expected) - {"sha256"} <= set(receipt.checked):
        found: Checksums = {**expected, "sha256": receipt.sha256}
    else:
        found = checksums(path, {"sha256", *expected}, step)
    if wrong := mismatches(found, expected):
        raise _other_file(path, "; ".join(wrong))
    return SourceFile(name=printable(path.name), bytes=size, sha256=found["sha256"])


def _other_file(path: Path, what: str) -> ObjbenchError:
    return ObjbenchError(
        f"{path}: damaged, or not the file that was published: {what}. Get another copy of it. If you mean this file, "
        f"give its bytes, sha256 and md5 (or null) under download: files: {path.name}: of the source, in a yaml of your "
        "own with --config"
    )
