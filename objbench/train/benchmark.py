"""The prepared data of a run: what it trains on, and all that it is scored on."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from objbench.data.load import load
from objbench.data.manifest import find, prepared, refuse_incomplete
from objbench.data.scenes import Scenes
from objbench.device import choose_device
from objbench.errors import RequestError
from objbench.layers import load_spec
from objbench.records import Scored
from objbench.registry import DEFAULT_DEFINITION
from objbench.spec import DatasetRef


class Benchmark:
    """The prepared data that the runs of one command share, loaded onto the device when first needed."""

    def __init__(
        self, dataset: DatasetRef, source: str | None, data: Path, config: Path | None, device: str
    ) -> None:
        self.dataset, self.device = dataset, choose_device(device)
        folder, self.manifest = find(data, dataset, source)
        self.source = self.manifest.source
        self._data, self._config = data, config
        self.also_test = []
        for name in dataset.spec.also_test:
            reference = load_spec(config).dataset(name)
            if self.source in prepared(data, reference):
                refuse_incomplete(*find(data, reference, self.source))
                self.also_test.append(name)
        refuse_incomplete(folder, self.manifest)
        missing = [split for split in ("train", "test") if split not in self.manifest.splits]
        if "train" not in dataset.rule.sources[self.source]:
            parents = [
                name for name, spec in load_spec(config).datasets.items() if dataset.name in spec.also_test
            ]
            also = (
                f"; a run on {' or '.join(parents)} is scored on it too, once it is prepared"
                if parents
                else ""
            )
            raise RequestError(
                f"{dataset} ({self.source}) is a test set, there is nothing in it to train on{also}"
            )
        if missing:
            raise RequestError(
                f"{dataset} ({self.source}) was prepared without {' and '.join(missing)}, a run needs train and test: "
                f"objbench prepare {dataset} --source {self.source} --force makes all splits"
            )

    @property
    def fingerprints(self) -> dict[str, str]:
        """Split -> fingerprint."""
        return {name: split.fingerprint for name, split in self.manifest.splits.items()}

    @cached_property
    def train(self) -> Scenes:
        """The train split."""
        return self._load(str(self.dataset), "train")

    @cached_property
    def val(self) -> Scenes | None:
        """The val split, None if it was left out."""
        return self._load(str(self.dataset), "val") if "val" in self.manifest.splits else None

    @cached_property
    def tests(self) -> dict[str, Scenes]:
        """ "test", and by their ids those also_test sets that are prepared from the same source."""
        return {"test": self._load(str(self.dataset), "test")} | {
            name: self._load(name, "test") for name in self.also_test
        }

    def _load(self, dataset: str, split: str) -> Scenes:
        return load(dataset, split, self.source, self._data, self.device, self._config)


def by_definition(definition: str) -> str:
    """What the key of scores ends with that were made by another definition than the default one."""
    return "" if definition == DEFAULT_DEFINITION else f"#{definition}"


def scored(scenes: Scenes, definition: str = DEFAULT_DEFINITION) -> Scored:
    """On which `scenes` an evaluation was made, and by which definition of the metrics, for its record."""
    manifest = scenes.manifest
    assert manifest is not None
    split = manifest.splits[scenes.split]
    return Scored(
        dataset=manifest.dataset,
        protocol=manifest.protocol,
        source=manifest.source,
        split=scenes.split,
        fingerprint=split.fingerprint,
        standard=split.standard,
        generator=manifest.generator,
        height=manifest.height,
        width=manifest.width,
        definition=definition,
    )
