"""The memory of a training step on devices without a counting allocator: each storage is counted while it is alive."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class TensorMemory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Measures `peak`: the largest number of bytes, at one time, of tensors made while the context is active.

    The backward pass counts too if it runs in this thread, as it does on the CPU. What a kernel allocates and frees
    internally does not count.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak: int = 0
        self._held: int = 0
        self._seen: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        known = {
            leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)
        }
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._count(leaf, known)
        return result

    def _count(self, tensor: Tensor, known: set[int]) -> None:
        storage = tensor.untyped_storage()
        address = storage._cdata
        if address in known or address in self._seen:  # a view, or written in place
            return
        self._held += storage.nbytes()
        self.peak = max(self.peak, self._held)
        self._seen[address] = weakref.ref(storage, self._forget(address, storage.nbytes()))

    def _forget(self, address: int, size: int) -> Any:
        def forget(_: object) -> None:
            self._held -= size
            self._seen.pop(address, None)

        return forget
