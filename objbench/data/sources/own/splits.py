"""The splits of a dataset of anybody: as its folders or archives are named, else by a hash of the scenes' names."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from objbench.data.sources import release
from objbench.data.sources.base import SourceRequest, SplitPlan
from objbench.errors import RequestError
from objbench.spec.datasets import SPLITS

# Words in names that are those of splits or much like them.
ALIKE = re.compile(r"(?<![a-z])(train|valid|val|test|dev)(ing|ation)?(?![a-z])", re.IGNORECASE)
HASHED = "by a hash of the names, a tenth each to val and test"


def split_by_hash(name: str) -> str:
    """The split of the scene `name`: it does not depend on the other scenes, so further ones may be added.

    >>> [split_by_hash(f"{number:04}") for number in range(6)]
    ['train', 'train', 'train', 'train', 'train', 'test']
    """
    tenth = int.from_bytes(hashlib.sha256(name.encode(errors="surrogateescape")).digest()[:8], "big") % 10
    return {0: "val", 1: "test"}.get(tenth, "train")


def plans(request: SourceRequest, found: Mapping[str, int], how: str) -> list[SplitPlan]:
    """The splits of the protocol: its part of the scenes of each, or the first ones where a smaller size is asked for.

    Args:
        request: What the user asked for.
        found: Split -> the number of its scenes in the source.
        how: How the source assigns scenes to splits, in words.

    Raises:
        RequestError: A wanted split has no scenes, or fewer than asked for.
    """
    made = []
    for split in SPLITS:
        here = found.get(split, 0)
        if not release.wanted(request, split):
            continue
        if not here:
            raise RequestError(
                f"{release.label(request)}: no scene for {split} ({how}; found {_counts(found)}); --{split} 0 leaves "
                "that split out"
            )
        rule = release.rules(request)[split]
        start, stop, _ = slice(rule.start, rule.stop).indices(here)
        here = max(stop - start, 0)
        size = request.sizes.get(split, here)
        if size > here or not here:
            raise RequestError(
                f"--{split} {size}: {release.label(request)} has {here:,} {split} scenes ({how})"
            )
        made.append(SplitPlan(split, split, start, start + size, size == here))
    return made


def _counts(found: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {split}" for split, count in found.items() if count) or "none at all"
