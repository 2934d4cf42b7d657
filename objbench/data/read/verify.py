"""Comparing a prepared dataset with its manifest: what `objbench verify` does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from objbench import progress
from objbench.data.format.manifest import MANIFEST, Manifest
from objbench.data.format.sample import fingerprint, repeated_images
from objbench.data.read.cache import CacheKey, cache_of
from objbench.data.read.located import Located
from objbench.data.read.verify_worker import CacheCheck, Findings, ShardCheck
from objbench.data.scene import SCENES_PER_JOB
from objbench.data.workers import available, run
from objbench.stores import Place


def verify(
    folder: Place,
    manifest: Manifest,
    deep: bool = False,
    workers: int | None = None,
    advance: progress.Advance = progress.silent,
) -> list[str]:
    """Every difference between the files in `folder` and its manifest, in words; [] if there is none.

    Hashes each shard (one of a store is fetched for it, whatever copies there are), counts its samples, and compares the cache if it was decoded from these shards. Changes
    nothing.

    Args:
        deep: Also decode every sample, and recompute fingerprints and object counts.
        advance: Counts scenes.
    """
    workers = workers or available()
    problems = _unknown_files(folder, manifest)
    shape = (manifest.height, manifest.width)
    jobs = [
        ShardCheck(folder / shard.name, shard.bytes, shard.sha256, shard.count, shape, deep)
        for split in manifest.splits.values()
        for shard in split.shards
    ]
    processes = (
        min(workers, len(jobs)) if deep and sum(job.samples for job in jobs) > 2 * SCENES_PER_JOB else 1
    )
    found: list[Findings] = []
    for job, findings in zip(
        jobs, run("objbench.data.read.verify_worker:check_shard", jobs, processes), strict=True
    ):
        found.append(findings)
        advance(job.samples)
    images: dict[str, list[bytes]] = {}
    for name, split in manifest.splits.items():
        of_split, found = found[: len(split.shards)], found[len(split.shards) :]
        if split.fault is not None:
            problems.append(f"{folder / MANIFEST}: split '{name}' {split.fault}")
        problems += [problem for findings in of_split for problem in findings.problems]
        images[name] = [image for findings in of_split for image in findings.images]
        problems += _compare(folder, manifest, name, of_split) if deep else []
        problems += _check_cache(folder, manifest, name, workers) if split.fault is None else []
    return problems + (_compare_images(folder, manifest, images) if deep else [])


def _unknown_files(folder: Place, manifest: Manifest) -> list[str]:
    known = {shard.name for split in manifest.splits.values() for shard in split.shards}
    there = [path for pattern in ("*.partial", "*.tar") for path in folder.glob(pattern)]
    return [f"{path}: not in the manifest" for path in sorted(there, key=str) if path.name not in known]


def _compare(folder: Place, manifest: Manifest, name: str, found: list[Findings]) -> list[str]:
    """Differences between a split as decoded and as the manifest describes it."""
    split = manifest.splits[name]
    problems = []
    keys = [key for findings in found for key in findings.keys]
    for earlier, later in pairwise(keys):
        if later <= earlier:
            problems.append(f"{folder}: {name}: key {later} follows {earlier}, keys must ascend")
    forms = [findings.form for findings in found if findings.form is not None]
    if any(form != forms[0] for form in forms):
        problems.append(f"{folder}: {name}: the fields or types of the JSON are not the same in every shard")
    if len(keys) != split.count:
        problems.append(f"{folder}: {name}: {len(keys)} samples, the manifest says {split.count}")
    if fingerprint(value for findings in found for value in findings.digests) != split.fingerprint:
        problems.append(f"{folder}: {name}: its content does not have the fingerprint in the manifest")
    counts = Counter(number for findings in found for number in findings.n_objects)
    if dict(counts) != split.object_counts:
        problems.append(
            f"{folder}: {name}: numbers of objects {dict(sorted(counts.items()))}, "
            f"the manifest says {split.object_counts}"
        )
    return problems


def _compare_images(folder: Place, manifest: Manifest, images: dict[str, list[bytes]]) -> list[str]:
    """Differences between how many images of a split train has, too, and what the manifest says, if it says it."""
    told = {name: split.repeated for name, split in manifest.splits.items()}
    return [
        f"{folder}: {name}: {count} of its images are repeated from train, the manifest says {told[name]}"
        for name, count in repeated_images(images).items()
        if told[name] not in (None, count)
    ]


def _check_cache(where: Place, manifest: Manifest, name: str, workers: int) -> list[str]:
    """Differences between the cache of a split, if it was decoded from the shards that are there, and the manifest."""
    folder = Located.of(where, manifest).here
    cache = cache_of(folder, manifest, name)
    try:
        if not cache.is_of(CacheKey.now(folder, manifest, name)):
            return []
    except FileNotFoundError:
        return []  # a missing shard is reported with the shards
    damaged = [f"{cache.path}: the decoded cache differs from the shards; remove this folder"]
    if not cache.is_intact():
        return damaged
    keys = cache.keys.read_text(encoding="ascii").split()
    texts = cache.samples.read_bytes().splitlines()

    def jobs() -> Iterator[CacheCheck]:
        for row in range(0, cache.count, SCENES_PER_JOB):
            part = slice(row, row + SCENES_PER_JOB)
            yield CacheCheck(
                cache.images, cache.masks, row, (cache.height, cache.width), keys[part], texts[part]
            )

    workers = min(workers, cache.count // (20 * SCENES_PER_JOB) + 1)
    digests = run("objbench.data.read.verify_worker:digest_cache", jobs(), workers)
    same = fingerprint(value for part in digests for value in part) == manifest.splits[name].fingerprint
    return [] if same else damaged
