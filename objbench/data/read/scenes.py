"""A split in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from objbench.data.format.manifest import Manifest
from objbench.data.format.sample import key_of
from objbench.data.scene import Array, SceneBatch
from objbench.labels import count_visible
from objbench.spec.datasets import DatasetRef

_CHUNK = 256


class Scenes(Dataset[dict[str, Any]]):
    """N scenes of one split, all on one device: a dataset as torch's DataLoader takes it.

    `scenes[3]` is a sample as `objbench.stream` gives it; `scenes[:10]` and `scenes[[0, 7]]` are Scenes.

    Attributes:
        images: uint8 (N,3,H,W).
        masks: uint8 (N,H,W), 0 = background.
        keys: One per scene, ascending.
        spec: The dataset and protocol.
        factors: Name -> numbers or strings (N,E,...), where row e of the entity axis E belongs to mask value e; or
            (N,), one per scene. Made on first use.
        manifest: Of the dataset that they are a split of; None for scenes straight from a source.

    Example:
        >>> import objbench
        >>> scenes = objbench.generate("tetrominoes", 20)
        >>> scenes
        Scenes(tetrominoes train, 20 of (3, 35, 35), cpu)
        >>> scenes[3]["image"].shape, scenes[3]["n_objects"], len(scenes[:10])
        (torch.Size([3, 35, 35]), 3, 10)
        >>> batch = next(iter(torch.utils.data.DataLoader(scenes, batch_size=4)))
        >>> batch["mask"].shape, batch["factors"]["shape"].shape
        (torch.Size([4, 35, 35]), torch.Size([4, 4]))
    """

    def __init__(
        self,
        images: Tensor,
        masks: Tensor,
        keys: list[str],
        spec: DatasetRef,
        split: str,
        factors: Mapping[str, Array] | Callable[[], Mapping[str, Array]],
        manifest: Manifest | None = None,
    ) -> None:
        self.images, self.masks, self.keys, self.spec = images, masks, keys, spec
        self.split, self.manifest, self._factors = split, manifest, factors

    @staticmethod
    def of(
        batch: SceneBatch, spec: DatasetRef, device: torch.device | str | None = None, split: str = "train"
    ) -> Scenes:
        """The scenes of a batch, straight from a source, on `device`."""
        images = torch.from_numpy(np.ascontiguousarray(batch.images.transpose(0, 3, 1, 2)))
        keys = [key_of(index) for index in batch.index.tolist()]
        return Scenes(
            images.to(device), torch.from_numpy(batch.masks).to(device), keys, spec, split, batch.factors
        )

    def __len__(self) -> int:
        return len(self.keys)

    def __getstate__(self) -> dict[str, Any]:
        return {
            **vars(self),
            "_factors": dict(self.factors),
        }  # to a process that is not forked no function can go

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice | Sequence[int] | Array | Tensor) -> Scenes: ...
    def __getitem__(self, index: int | slice | Sequence[int] | Array | Tensor) -> dict[str, Any] | Scenes:
        """A sample, or the scenes of a slice, of positions, or where a mask of bools is set."""
        rows = self._rows(index)
        return self._sample(int(rows)) if rows.ndim == 0 else self._at(rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self._sample(row) for row in range(len(self)))

    def _sample(self, row: int) -> dict[str, Any]:
        """A scene as `objbench.stream` gives it."""
        return {
            "__key__": self.keys[row],
            "index": int(self.keys[row]),
            "n_objects": int(self.n_objects[row]),
            "image": self.images[row],
            "mask": self.masks[row],
            "factors": {name: _as_tensor(values[row]) for name, values in self.factors.items()},
        }

    def __repr__(self) -> str:
        return f"Scenes({self.spec} {self.split}, {len(self):,} of {tuple(self.images.shape[1:])}, {self.images.device})"

    @cached_property
    def factors(self) -> Mapping[str, Array]:
        """The factors of all scenes, as the source gives them: name -> (N,E,...)."""
        return self._factors() if callable(self._factors) else self._factors

    @cached_property
    def n_objects(self) -> Array:
        """The number of objects of each scene, int64 (N,): by the factor `visibility`, else by the visible ids."""
        if "visibility" in self.factors:
            objects = self.factors["visibility"][:, 1:]
            counts: Array = np.rint(objects.sum(axis=tuple(range(1, objects.ndim)))).astype(np.int64)
            return counts
        return torch.cat([count_visible(part) for part in torch.split(self.masks, _CHUNK)]).cpu().numpy()

    def to(self, device: torch.device | str) -> Scenes:
        """The same scenes with images and masks on `device`."""
        return self._with(images=self.images.to(device), masks=self.masks.to(device))

    def with_manifest(self, manifest: Manifest) -> Scenes:
        """The same scenes as a split of the dataset that `manifest` describes."""
        return self._with(manifest=manifest)

    def select(self, indices: slice | Sequence[int] | Array | Tensor) -> Scenes:
        """The scenes of a slice, of positions, or where a mask of bools is set: `scenes[indices]`."""
        rows = self._rows(indices)
        if rows.ndim == 0:
            raise TypeError(
                f"select takes several scenes, as a list or a slice; scenes[{indices}] is a sample"
            )
        return self._at(rows)

    def _rows(self, index: int | slice | Sequence[int] | Array | Tensor) -> Array:
        """What is indexed, as rows in [0, N): () for one scene, (n,) for several.

        Raises:
            TypeError: It is no whole number, slice, list of positions or mask of N bools.
            IndexError: A position is outside.
        """
        if isinstance(index, slice):
            return np.arange(len(self))[index]
        positions = np.asarray(index.cpu() if isinstance(index, Tensor) else index)
        if positions.dtype == bool and positions.shape == (len(self),):
            return positions.nonzero()[0]
        if positions.ndim > 1 or (positions.size and positions.dtype.kind not in "iu"):
            raise TypeError(
                f"Scenes are indexed by whole numbers, slices and lists of these, not by {index!r}"
            )
        outside = positions[(positions < -len(self)) | (positions >= len(self))]
        if outside.size:
            raise IndexError(f"scene {outside.flat[0]} of {len(self)}")
        return np.asarray(positions.astype(np.int64) % len(self))

    def _at(self, rows: Array) -> Scenes:
        """The scenes of these rows, int64 (n,)."""
        at = torch.from_numpy(np.ascontiguousarray(rows)).to(
            self.images.device
        )  # torch takes no negative strides
        return self._with(
            images=self.images[at],
            masks=self.masks[at],
            keys=[self.keys[row] for row in rows],
            factors=lambda: {name: values[rows] for name, values in self.factors.items()},
        )

    def _with(self, **changes: Any) -> Scenes:
        """The same scenes, with other values for these arguments of `Scenes`."""
        same: dict[str, Any] = {
            "images": self.images,
            "masks": self.masks,
            "keys": self.keys,
            "spec": self.spec,
            "split": self.split,
            "factors": lambda: self.factors,
            "manifest": self.manifest,
        }
        return Scenes(**same | changes)


def _as_tensor(values: Any) -> Any:
    """A factor of one scene: a tensor, or strings as they are."""
    array = np.asarray(values)
    return array.tolist() if array.dtype.kind == "U" else torch.from_numpy(array.copy())
