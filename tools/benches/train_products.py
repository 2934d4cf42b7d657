"""The matrix products of a training step, alone: what the step would take if it did nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from benches.timing import Candidate, Timing, interleave
from benches.train_paths import FixedPoint
from benches.train_race import Work, averaged
from objbench.train.plain import PlainStepper

_OPERANDS = {  # which arguments are multiplied, and the product of two of them
    torch.ops.aten.mm.default: (0, torch.mm),
    torch.ops.aten.bmm.default: (0, torch.bmm),
    torch.ops.aten.addmm.default: (1, torch.mm),
    torch.ops.aten.baddbmm.default: (1, torch.bmm),
}


class Product(NamedTuple):
    """A product of two matrices, or of two batches of them: function, shapes and strides."""

    function: Callable[[Tensor, Tensor], Tensor]
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    strides: tuple[tuple[int, ...], tuple[int, ...]]

    def random(self, dtype: torch.dtype, device: torch.device) -> Callable[[], Tensor]:
        """The product of random matrices that lie in memory as those of the step."""
        operands = []
        for shape, stride in zip(self.shapes, self.strides, strict=True):
            expanded = 0 in stride  # several elements in one place
            empty = torch.empty(shape) if expanded else torch.empty_strided(shape, stride)
            operands.append(empty.normal_().to(device, dtype))
        return partial(self.function, *operands)


class ProductCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the products that are computed while the context is active, in `found`."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: Counter[Product] = Counter()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func in _OPERANDS:
            first, function = _OPERANDS[func]
            a, b = args[first : first + 2]
            self.found[Product(function, (tuple(a.shape), tuple(b.shape)), (a.stride(), b.stride()))] += 1
        return func(*args, **(kwargs or {}))


def products_of_a_step(work: Work, point: float) -> Counter[Product]:
    """The products of the plain step at a point of the training, those within the attention included."""
    method, scenes = work.begin()
    stepper = PlainStepper(method, FixedPoint(scenes, point), scenes.stage)
    counter = ProductCounter()
    with sdpa_kernel(SDPBackend.MATH), counter:
        stepper.advance(1)
    return counter.found


def again(products: Counter[Product], dtype: torch.dtype, device: torch.device) -> Callable[[], None]:
    """A function that computes all of them once, in `dtype`, on random matrices."""
    calls = [call for product, times in products.items() for call in [product.random(dtype, device)] * times]

    def compute() -> None:
        for call in calls:
            call()

    return compute


def by_themselves(work: Work, points: Sequence[float], dtype: torch.dtype, repeats: int) -> Timing:
    """The time that the products of a step take by themselves, averaged over the points."""
    found = []
    for point in points:
        candidate = Candidate("products", again(products_of_a_step(work, point), dtype, work.device))
        found.append(interleave([candidate], repeats, 0.1, work.device)[candidate])
    return averaged(found)
