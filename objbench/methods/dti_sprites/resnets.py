"""Residual networks with batch norm: the small ones made for CIFAR, and ResNet-18.

He et al., "Deep Residual Learning for Image Recognition", CVPR 2016. Their last layers, pooling and a linear map, are left
out. Weights of convolutions are normal numbers of variance 2 / fan (He et al., ICCV 2015), nothing is trained before.
"""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor, nn
from torch.nn.functional import pad, relu

ResNetName = Literal["resnet8", "resnet32", "resnet18"]
CIFAR_BLOCKS = {"resnet8": 1, "resnet32": 5}  # per stage; 6 n + 2 layers with the last one that is left out


def resnet(name: ResNetName) -> tuple[nn.Sequential, int]:
    """The network that makes feature maps of images (B,3,H,W), and the channels of the maps.

    "resnet8" and "resnet32" make maps (B,64,H/4,W/4), "resnet18" maps (B,512,H/32,W/32); sides are rounded up.
    """
    if name not in get_args(ResNetName):
        raise ValueError(f"{name} is none of {', '.join(get_args(ResNetName))}")
    if name == "resnet18":
        network, widths = _imagenet_stem(), [64, 128, 256, 512]
        blocks = 2
    else:
        network, widths = nn.Sequential(*_convolution(3, 16, 3, 1), nn.ReLU()), [16, 32, 64]
        blocks = CIFAR_BLOCKS[name]
    channels = widths[0]
    for stage, width in enumerate(widths):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            network.append(Block(channels, width, stride, projected=name == "resnet18"))
            channels = width
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            mode: Literal["fan_in", "fan_out"] = "fan_out" if name == "resnet18" else "fan_in"
            nn.init.kaiming_normal_(module.weight, mode=mode, nonlinearity="relu")
    return network, channels


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut around them.

    Args:
        channels: of its input.
        width: channels of its output.
        stride: of the first convolution.
        projected: whether a shortcut to another shape is a 1x1 convolution with batch norm (ResNet-18); otherwise it takes
            every `stride`-th pixel and fills up with channels of zeros, half of them before ("option A", CIFAR).
    """

    def __init__(self, channels: int, width: int, stride: int, *, projected: bool) -> None:
        super().__init__()
        self.stride, self.missing = stride, width - channels
        first, second = _convolution(channels, width, 3, stride), _convolution(width, width, 3, 1)
        self.residual = nn.Sequential(*first, nn.ReLU(), *second)
        changes = stride > 1 or channels != width
        self.projection = (
            nn.Sequential(*_convolution(channels, width, 1, stride)) if changes and projected else None
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B,`width`,h,w) of maps (B,`channels`,H,W)."""
        return relu(self.residual(maps) + self._shortcut(maps))

    def _shortcut(self, maps: Tensor) -> Tensor:
        if self.projection is not None:
            projected: Tensor = self.projection(maps)
            return projected
        before = self.missing // 2
        kept = maps[..., :: self.stride, :: self.stride]
        return pad(kept, (0, 0, 0, 0, before, self.missing - before))


def _convolution(channels: int, width: int, kernel: int, stride: int) -> tuple[nn.Module, nn.Module]:
    convolution = nn.Conv2d(channels, width, kernel, stride, padding=kernel // 2, bias=False)
    return convolution, nn.BatchNorm2d(width)


def _imagenet_stem() -> nn.Sequential:
    return nn.Sequential(*_convolution(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1))
