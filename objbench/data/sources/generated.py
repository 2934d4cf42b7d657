"""Scenes made on the spot, for those datasets that have a generator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from objbench.data.generate.generator import generator_of
from objbench.data.scene import Block
from objbench.data.sources.base import Source, SourceRequest, SplitPlan
from objbench.errors import RequestError
from objbench.spec.datasets import SPLITS, SplitRule


class GeneratedSource(Source):
    """Train, val and test as separate random streams of one seed, always made by the CPU path."""

    native = False

    def __init__(self, request: SourceRequest) -> None:
        super().__init__(request)
        if request.raw is not None:
            raise RequestError(
                f"--raw {request.raw}: the source 'generated' reads no files; leave out --raw, or choose another --source"
            )
        self.scenes = generator_of(request.dataset)

    @property
    def generator(self) -> dict[str, int]:
        """The generator's version and the seed, and stand_in 1 where its scenes only stand in for the release."""
        made = {"version": self.scenes.version, "seed": self.request.seed}
        return {**made, "stand_in": 1} if self.scenes.stand_in else made

    def plan(self) -> list[SplitPlan]:
        """The protocol's sizes, or smaller ones, or a larger train split."""
        plans = []
        dataset = self.request.dataset
        rules = dataset.rule.sources[self.request.source]
        for split, rule in rules.items():
            if rule.stop is None or not 0 <= rule.start < rule.stop:
                raise RequestError(
                    f"datasets.{dataset.name}.protocols.{dataset.protocol}.sources.{self.request.source}.{split}: expected "
                    f"0 <= start < stop, as a stream has no end; found start {rule.start} and stop "
                    f"{'null' if rule.stop is None else rule.stop}"
                )
        for split in SPLITS:
            rule = rules.get(split, SplitRule(stop=0))
            standard = rule.size or 0
            size = self.request.sizes.get(split, standard)
            if size > standard and split != "train":
                raise RequestError(
                    f"--{split} {size}: {dataset} (generated) has {standard:,} {split} scenes; "
                    "only train can be made larger"
                )
            if size:
                stop = rule.start + size
                plans.append(SplitPlan(split, "data", rule.start, stop, size == standard, rule.in_train))
        return plans

    def read(self, plans: list[SplitPlan], done: Mapping[str, int]) -> Iterator[tuple[str, Block]]:
        """The scenes, from the first one that is not done: made here, or by the workers if that takes long."""
        for plan in plans:
            start, stop = max(plan.start, done.get(plan.split, 0)), plan.start + len(plan)
            for block in self.scenes.blocks(plan.split, start, stop, self.request.seed):
                yield plan.split, block.decode() if self.scenes.block is None else block
