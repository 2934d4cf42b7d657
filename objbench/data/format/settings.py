"""The settings of a prepare: everything in the blocks of a dataset that can change which scenes a prepared folder holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from objbench import registry
from objbench.errors import RequestError
from objbench.spec.datasets import DatasetRef, Select, SplitRule, Transform
from objbench.spec.nested import differences
from objbench.stored import Strict
from objbench.stores import Place


class SourceSettings(Strict):
    """What the source's block says of the scenes: `options` and `order` of `objbench.spec.datasets.SourceSpec`."""

    options: dict[str, int | float | str]
    order: list[str]


class Settings(Strict):
    """The settings of a prepare. Another prepare into the same folder must have the same.

    Attributes:
        sizes: Sizes that were asked for, of splits for which the protocol says another one.
        seed: Of a generator.
        source: Of the source's block.
    """

    sizes: dict[str, int]
    seed: int | None
    height: int
    width: int
    scenes_per_shard: int
    rules: dict[str, SplitRule]
    select: Select | None
    transform: Transform | None
    options: dict[str, int | float | str]
    source: SourceSettings

    def differences(self, asked: Settings) -> list[str]:
        """Every setting in which `asked` differs, in words."""
        return differences(self.model_dump(), asked.model_dump())


def settings_of(
    dataset: DatasetRef, source: str, sizes: Mapping[str, int], seed: int | None, native: bool
) -> Settings:
    """The settings of a prepare of `dataset`, as the layers of benchmarks.yaml give them now.

    Args:
        native: Whether the source's scenes have the release's resolution, so that the protocol's transform is applied.
    """
    rule, block = dataset.rule, dataset.spec.sources[source]
    rules = rule.sources[source]
    return Settings(
        sizes={
            split: size
            for split, size in sorted(sizes.items())
            if split not in rules or size != rules[split].size
        },
        seed=seed,
        height=dataset.spec.height,
        width=dataset.spec.width,
        scenes_per_shard=dataset.spec.scenes_per_shard,
        rules=rules,
        select=rule.select.get(source),
        transform=rule.transform if native else None,
        options=rule.options,
        source=SourceSettings(options=block.options, order=block.order),
    )


def refuse_changed_settings(folder: Place, here: Settings, dataset: DatasetRef, source: str) -> None:
    """Raise RequestError if the layers of benchmarks.yaml describe another dataset than the one in `folder`.

    Its sizes and its seed are its own; how many scenes a shard has, and the size that is only estimated in advance,
    change no scene.
    """
    dataset.source(source)
    native = here.transform is not None
    if not native and dataset.rule.transform is not None:
        native = registry.get("sources", source).native
    now = settings_of(dataset, source, here.sizes, here.seed, native)
    same: dict[str, Any] = {
        "sizes": here.sizes,
        "scenes_per_shard": here.scenes_per_shard,
        "rules": {split: _with_estimate_of(here, split, rule) for split, rule in now.rules.items()},
    }
    found = here.differences(now.model_copy(update=same))
    if found:
        raise RequestError(
            f"{folder}: prepared with other settings than benchmarks.yaml and the layers over it give now: "
            f"{'; '.join(found)}. Take them back (--config), or prepare it again with --force"
        )


def _with_estimate_of(here: Settings, split: str, rule: SplitRule) -> SplitRule:
    about = here.rules[split].about if split in here.rules else rule.about
    return rule.model_copy(update={"about": about})
