"""Residual networks for small images, as the field's CIFAR experiments use them.

He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016. Layer names (conv1, bn1,
layer1.0.conv1 …, downsample.0, downsample.1, fc) are those of published checkpoints.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
"""Blocks per stage by depth, in table 1."""


def conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """No bias: a batch normalisation follows, which has its own."""
    return nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False)


class Padding(nn.Module):
    """Every `stride`-th pixel of the image, zero channels before and after its own: a shortcut without weights (option A)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        before = (outputs - inputs) // 2
        self.channels, self.stride = (before, outputs - inputs - before), stride

    def forward(self, x: Tensor) -> Tensor:
        kept = x[:, :, :: self.stride, :: self.stride]
        return functional.pad(kept, (0, 0, 0, 0, *self.channels))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut; where the shape changes, a 1x1 convolution or padding (options B, A of section 4.1)."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, padding: bool = False) -> None:
        super().__init__()
        self.conv1 = conv3x3(inputs, outputs, stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = conv3x3(outputs, outputs)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if (stride != 1 or inputs != outputs) and padding:
            self.downsample = Padding(inputs, outputs, stride)
        elif stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, kernel_size=1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(x)) + shortcut)


def residual_network(
    blocks: Sequence[int], widths: Sequence[int], classes: int, channels: int, *, padding: bool = False
) -> nn.Sequential:
    """A 3x3 stem, stages of basic blocks that halve the resolution from the second on, a mean over pixels, a linear layer.

    The mean over all pixels equals the published 8x8 average pooling on 32x32 images, and lets other sizes run.
    """
    layers: dict[str, nn.Module] = {
        "conv1": conv3x3(channels, widths[0]),
        "bn1": nn.BatchNorm2d(widths[0]),
        "relu": nn.ReLU(),
    }
    for stage, (count, (inputs, outputs)) in enumerate(
        zip(blocks, pairwise([widths[0], *widths]), strict=True), 1
    ):
        first = BasicBlock(inputs, outputs, stride=1 if stage == 1 else 2, padding=padding)
        layers[f"layer{stage}"] = nn.Sequential(
            first, *(BasicBlock(outputs, outputs, 1) for _ in range(count - 1))
        )
    layers |= {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": nn.Linear(widths[-1], classes)}
    network = nn.Sequential(OrderedDict(layers))
    return drawn(network)


def drawn(network: nn.Sequential) -> nn.Sequential:
    """The network with weights of convolutions as He et al. (2015) draw them."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network


def build(
    name: str, classes: int, channels: int, size: int, *, shortcut: str = "projection"
) -> nn.Sequential:
    """A ResNet of section 4.2, with three stages of 16 to 64 channels; for depths 18 and 34, of table 1 with four of 64 to 512.

    The stem of the latter is for small images: 3x3, stride 1, no max-pooling.
    """
    depth = int(name.removeprefix("resnet"))
    if depth in STAGES:
        return residual_network(STAGES[depth], (64, 128, 256, 512), classes, channels)
    blocks = [(depth - 2) // 6] * 3
    return residual_network(blocks, (16, 32, 64), classes, channels, padding=shortcut == "padding")
