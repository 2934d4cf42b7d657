"""What the manifest says of splits and of the files that they were made from."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from objbench.data.download import read_receipt
from objbench.data.format.manifest import Records, Shard, Skipped, SourceFile, Split
from objbench.data.format.sample import fingerprint
from objbench.data.prepare.writer import ShardWriter
from objbench.data.sources.base import SplitPlan
from objbench.files import sha256_of


def describe_split(
    plan: SplitPlan,
    count: int,
    records: Records,
    digests: Iterable[bytes],
    object_counts: Mapping[int, int],
    skipped: list[Skipped],
    shards: list[Shard],
) -> Split:
    """What the manifest says of a split of `count` scenes.

    Args:
        records: Those that were read for the split.
        digests: Of the samples, in order.
        object_counts: Number of objects -> number of scenes.
    """
    return Split(
        count=count,
        standard=plan.standard and not skipped,
        in_train=plan.in_train,
        records=records,
        fingerprint=fingerprint(digests),
        object_counts=dict(sorted(object_counts.items())),
        skipped=skipped,
        shards=shards,
    )


def describe_written(plan: SplitPlan, writer: ShardWriter) -> Split:
    """What the manifest says of a split that is complete on disk."""
    assert writer.closed is not None
    return describe_split(
        plan,
        count=writer.written,
        records=writer.closed.records,
        digests=(bytes.fromhex(entry.digests) for entry in writer.finished),
        object_counts=sum((Counter(entry.object_counts) for entry in writer.finished), Counter()),
        skipped=writer.skipped,
        shards=[entry.shard for entry in writer.finished],
    )


@contextlib.contextmanager
def hashing(paths: list[Path]) -> Iterator[Callable[[], list[SourceFile]]]:
    """Hash the source files in a thread; yields a function that waits for the result."""
    stopped = threading.Event()

    def step(_: int) -> None:
        if stopped.is_set():
            raise InterruptedError

    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(lambda: [_describe_file(path, step) for path in paths])
        try:
            yield future.result
        finally:
            stopped.set()


def file_state(path: Path) -> str:
    """What tells whether a source file was replaced: its sha256 if a receipt has it, else its size and time."""
    receipt, state = read_receipt(path), path.stat()
    if receipt is not None and receipt.is_valid(path):
        return f"sha256 {receipt.sha256}"
    changed = datetime.fromtimestamp(state.st_mtime_ns // 10**9, UTC).isoformat(timespec="seconds")
    return f"{state.st_size:,} bytes of {changed} ({state.st_mtime_ns} ns)"


def _describe_file(path: Path, step: Callable[[int], None]) -> SourceFile:
    """Name, size and hash of a source file. The receipt of a downloaded file has its hash."""
    receipt = read_receipt(path)
    known = receipt.sha256 if receipt is not None and receipt.is_valid(path) else None
    return SourceFile(name=path.name, bytes=path.stat().st_size, sha256=known or sha256_of(path, step))
