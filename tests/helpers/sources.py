"""What a source reads."""

from __future__ import annotations

from objbench.data.scene import SceneBatch
from objbench.data.sources.base import Source, SplitPlan


def scenes(source: Source, plans: list[SplitPlan] | None = None, **done: int) -> dict[str, SceneBatch]:
    """All scenes of a source by split, or those of `plans`; `done` counts the scenes of a split that are passed over."""
    batches: dict[str, list[SceneBatch]] = {}
    for split, block in source.read(plans or source.plan(), done):
        batches.setdefault(split, []).append(block.decode())
    return {split: SceneBatch.concatenate(parts) for split, parts in batches.items()}
