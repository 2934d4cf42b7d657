"""The data of a run: what it trains on and what it is scored on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from types import MappingProxyType

import torch

from objbench.data.format.manifest import Manifest, find, prepared, refuse_incomplete
from objbench.data.read.load import load_split
from objbench.data.read.scenes import Scenes
from objbench.device import choose_device
from objbench.errors import ObjbenchError, RequestError
from objbench.registry import DEFAULT_DEFINITION
from objbench.scores import Scored
from objbench.spec.datasets import GENERATED, TEST, DatasetRef
from objbench.spec.own import prepare_command
from objbench.spec.schema import Spec
from objbench.stores import Place


class RunData:
    """The data shared by the runs of one command. Each split is loaded when it is first used.

    Args:
        dataset: The dataset to train on.
        manifest: Its manifest.
        device: The device of all scenes.
        load: (DATASET[@PROTOCOL], split) -> scenes.
        also_test: The ids of further datasets that a run is scored on, with the fingerprints of their test splits.
    """

    def __init__(
        self,
        dataset: DatasetRef,
        manifest: Manifest,
        device: torch.device,
        load: Callable[[str, str], Scenes],
        also_test: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.dataset, self.manifest, self.device = dataset, manifest, device
        self.source, self.also_test, self._load = manifest.source, also_test, load

    @property
    def fingerprints(self) -> dict[str, str]:
        """Split -> fingerprint."""
        return {name: split.fingerprint for name, split in self.manifest.splits.items()}

    @cached_property
    def train(self) -> Scenes:
        """The train split."""
        return self._split("train")

    @cached_property
    def val(self) -> Scenes | None:
        """The val split, or None if it was left out."""
        return self._split("val") if "val" in self.manifest.splits else None

    @cached_property
    def tests(self) -> dict[str, Scenes]:
        """The test split under "test", and the also_test datasets that are prepared from the same source, by id."""
        return {TEST: self._split(TEST)} | {
            name: self._unchanged(name, TEST, fingerprint) for name, fingerprint in self.also_test.items()
        }

    def _split(self, split: str) -> Scenes:
        return self._unchanged(str(self.dataset), split, self.fingerprints[split])

    def _unchanged(self, dataset: str, split: str, fingerprint: str) -> Scenes:
        """Load a split; refuse one that was prepared anew, with other content, since the run began."""
        scenes = self._load(dataset, split)
        found = scored(scenes).fingerprint
        if found != fingerprint:
            raise ObjbenchError(
                f"{dataset} ({self.source}), {split}: the data was replaced while the run was at work (fingerprint "
                f"{fingerprint[:12]} at its beginning, {found[:12]} now); start the command again with --fresh, or "
                "prepare the earlier data again"
            )
        return scenes


def prepared_run_data(
    spec: Spec, dataset: DatasetRef, source: str | None, data: Place, device: str
) -> RunData:
    """The data of a run on a dataset that is prepared in `data`, a folder or a store.

    Raises:
        ObjbenchError: The dataset is not prepared, or incomplete.
        RequestError: It has no train or no test split.
    """
    where = choose_device(device)
    folder, manifest = find(data, dataset, source)
    also_test = {}
    for name in dataset.spec.also_test:
        reference = spec.dataset(name)
        if manifest.source in prepared(data, reference):
            other_folder, other = find(data, reference, manifest.source)
            refuse_incomplete(other_folder, other)
            also_test[name] = other.splits[TEST].fingerprint
    refuse_incomplete(folder, manifest)
    _refuse_test_set(spec, dataset, manifest.source)
    missing = [split for split in ("train", TEST) if split not in manifest.splits]
    if missing:
        raise RequestError(
            f"{dataset} ({manifest.source}) was prepared without {' and '.join(missing)}, a run needs train and test: "
            f"{prepare_command(dataset, manifest.source, data)} --force makes all splits"
        )
    return RunData(
        dataset,
        manifest,
        where,
        lambda name, split: load_split(spec.dataset(name), split, manifest.source, data, where),
        also_test,
    )


def generated_run_data(spec: Spec, dataset: DatasetRef, sizes: Mapping[str, int], device: str) -> RunData:
    """The data of a run on scenes generated in memory: those that `prepare --source generated` would write."""
    from objbench.data.prepare.in_memory import splits_in_memory

    where = choose_device(device)
    generated_source(spec, dataset, sizes)
    splits = splits_in_memory(dataset, sizes, where)
    manifest = next(iter(splits.values())).manifest
    assert manifest is not None
    return RunData(dataset, manifest, where, lambda _, split: splits[split])


def generated_source(spec: Spec, dataset: DatasetRef, sizes: Mapping[str, int]) -> str:
    """The source of generated scenes of a dataset that a run can train on.

    Raises:
        RequestError: There is none, or no training or test scenes are asked for.
    """
    dataset.source(GENERATED)
    _refuse_test_set(spec, dataset, GENERATED)
    for split in ("train", TEST):
        if sizes.get(split) == 0:
            raise RequestError(f"--{split} 0: a run needs train and test")
    return GENERATED


def _refuse_test_set(spec: Spec, dataset: DatasetRef, source: str) -> None:
    if "train" in dataset.rule.sources[source]:
        return
    parents = spec.tested_by(dataset.name)
    also = f"; a run on {' or '.join(parents)} is scored on it too, once it is prepared" if parents else ""
    raise RequestError(f"{dataset} ({source}) is a test set without training scenes{also}")


def repeated(scenes: Scenes, train: str) -> int | None:
    """How many images of a split the training split has, too; None if there are none, or nobody counted.

    Args:
        scenes: Of the split.
        train: Fingerprint of the training split; images were counted for the one that was prepared with the scenes.
    """
    splits = scenes.manifest.splits if scenes.manifest else {}
    if scenes.split == "train" or "train" not in splits or splits["train"].fingerprint != train:
        return None
    return splits[scenes.split].repeated or None


def scored(scenes: Scenes, definition: str = DEFAULT_DEFINITION) -> Scored:
    """What scores on `scenes` were measured on, for the record."""
    manifest = scenes.manifest
    assert manifest is not None
    known = {
        **dict(manifest),
        **dict(manifest.splits[scenes.split]),
        "split": scenes.split,
        "definition": definition,
    }
    return Scored(**{name: known[name] for name in Scored.model_fields})
