"""MFU, model FLOP utilisation: the operations that a training does in a second, as a share of the device's peak.

Operations are those of matrix products and convolutions, forward and backward, two per multiplication (Chowdhery et al.
2022, PaLM, appendix B); what a kernel does again or besides does not count.
"""

from __future__ import annotations

import os
import re

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from objbench.errors import RequestError
from objbench.methods.base import Method, Precision, Progress
from objbench.train.batches import StageScenes

PEAK = "OBJBENCH_PEAK_TFLOPS"
_WARM_SECONDS = (
    5.0  # of steps that are not counted: libraries and kernels start; short trainings count nothing
)

# Words of the name -> dense TFLOP/s in float32 without TF32, and in bfloat16 with float32 sums; NVIDIA's data sheets.
# The first that fit count.
_PEAKS: dict[str, tuple[float, float | None]] = {
    "B200": (75, 2250),
    "H200 NVL": (60, 835.5),
    "H200": (66.9, 989.4),
    "GH200": (66.9, 989.4),
    "H100 PCIe": (51.2, 756.4),
    "H100 NVL": (60, 835.5),
    "H100": (66.9, 989.4),
    "A100": (19.5, 311.9),
    "A40": (37.4, 149.7),
    "A10G": (31.5, 70),
    "A10": (31.2, 125),
    "L40S": (91.6, 362.1),
    "L40": (90.5, 181.1),
    "L4": (30.3, 121),
    "RTX A6000": (38.7, 154.8),
    "RTX 6000 Ada": (91.1, 364.2),
    "RTX 5090": (104.8, 209.5),
    "RTX 4090": (82.6, 165.2),
    "RTX 3090": (35.6, 71),
    "V100-PCIE": (14, None),
    "V100": (15.7, None),
    "T4": (8.1, None),
}
_OTHER = re.compile(
    r"\b(Ti|D|SUPER|Laptop|Max-Q|MIG)\b"
)  # kinds of a GPU, or a part of one, with peaks of their own


def stated_peak() -> float | None:
    """The operations a second that `OBJBENCH_PEAK_TFLOPS` (in 10^12) states; None if it is not set.

    Raises:
        RequestError: It is not a number above 0.
    """
    stated = os.environ.get(PEAK)
    if stated is None:
        return None
    try:
        peak = float(stated)
    except ValueError:
        peak = 0.0
    if not 0 < peak < float("inf"):
        raise RequestError(f"{PEAK}={stated}: expected a number above 0, in 10^12 operations a second")
    return peak * 1e12


def peak_flops(device: torch.device, precision: Precision, method: Method) -> float | None:
    """The operations a second that a device can do at most; None if they are not known.

    Those that are stated, or of a table of common GPUs. In float32 there is none where some products
    may be TF32 ones: by default those of convolutions.

    Raises:
        RequestError: The variable is not a number above 0.
    """
    if (stated := stated_peak()) is not None:
        return stated
    if device.type != "cuda" or (precision == "fp32" and _tf32(method)):
        return None
    name = torch.cuda.get_device_name(device)
    found = next((peaks for words, peaks in _PEAKS.items() if re.search(rf"\b{words}\b", name)), None)
    if _OTHER.search(name):
        return None
    peak_in = found and found[0 if precision == "fp32" else 1]
    return None if peak_in is None else peak_in * 1e12


def count_flops(method: Method, progress: Progress) -> int:
    """The operations of one image in a training step, counted on a copy of the method whose tensors have no values."""
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils.flop_counter import FlopCounterMode

    images = 2  # not one, which a batch norm may refuse
    # Attention as plain products, since some of its fused forms are not counted.
    with FakeTensorMode(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        copy = type(method)(method.image_shape, method.slots, method.settings)
        loss = copy.training_loss(torch.empty(images, *method.image_shape), progress).total
        loss.backward()  # type: ignore[no-untyped-call]
    return int(counter.get_total_flops()) // images


class Utilisation:
    """The MFU of a stage of a training in this process, with several processes of its share of the batches."""

    def __init__(self, method: Method, scenes: StageScenes) -> None:
        share = scenes.share
        self._method, self._scenes = method, scenes
        self._images = scenes.stage.batch_size if share is None else share.stop - share.start
        self._peak = peak_flops(scenes.images.device, scenes.stage.precision, method)
        self._counted: int | None = None  # for methods that do not know it
        self._warm = False
        self._done = self._seconds = 0.0

    def add(self, step: int, steps: int, seconds: float) -> str:
        """Add some steps, the last of which is `step`. Returns the MFU, "" as long as it is not known."""
        if self._peak is None:
            return ""
        self._seconds += seconds
        if not self._warm:
            if self._seconds >= _WARM_SECONDS:
                self._begin(step)
            return ""
        progress = self._scenes.progress(step - 1)
        per_image = self._method.training_flops(progress) or self._counted
        if not per_image:
            return ""
        self._done += per_image * self._images * steps
        percent = 100 * self._done / self._seconds / self._peak
        return f"{percent:.0f}%" if percent >= 10 else f"{percent:.2g}%"

    def _begin(self, step: int) -> None:
        """Count what a step does, if the method does not say so, and start the clock."""
        progress = self._scenes.progress(step - 1)
        if self._method.training_flops(progress) is None:
            try:
                self._counted = count_flops(self._method, progress)
            except Exception:  # a loss that needs the values of tensors cannot be counted without them
                self._peak = None
        self._warm, self._seconds = True, 0.0


def _tf32(method: Method) -> bool:
    """Whether products of float32 may be done with fewer bits."""
    convolves = any(isinstance(module, nn.modules.conv._ConvNd) for module in method.modules())
    forced = os.environ.get("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE") == "1"
    # Not `allow_tf32`, which raises an error where a program has set these.
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn.conv  # type: ignore[attr-defined]
    return (
        forced or products.fp32_precision == "tf32" or (convolves and convolutions.fp32_precision == "tf32")
    )
