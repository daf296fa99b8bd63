"""Denoisers: noisy images (B, C, H, W) → images of the same shape. Untrained ones leave their images almost or entirely as they are.

Names of layers are those of the published denoisers of Salman et al. 2020.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn


class DnCNN(nn.Module):
    """Convolutions with batch normalisation that predict the noise, which is subtracted (Zhang et al. 2017).

    Weights are drawn, and batch normalisation is set, as in the code of Salman et al. 2020: orthogonal, and 0 in the last layer.
    """

    def __init__(self, channels: int, depth: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
        for _ in range(depth - 2):
            layers += [
                nn.Conv2d(width, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width, eps=1e-4, momentum=0.95),
                nn.ReLU(),
            ]
        layers.append(nn.Conv2d(width, channels, 3, padding=1, bias=False))
        self.dncnn = nn.Sequential(*layers)
        for layer in layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.orthogonal_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        nn.init.zeros_(layers[-1].weight)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        noise: Tensor = self.dncnn(x)
        return x - noise


def activated(inputs: int, outputs: int, kernel: int = 3) -> nn.Sequential:
    """Batch normalisation, ReLU and a convolution that keeps the image size."""
    return nn.Sequential(
        OrderedDict(
            bn=nn.BatchNorm2d(inputs),
            relu=nn.ReLU(),
            conv=nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
        )
    )


class ResidualUnit(nn.Module):
    """Two activated convolutions beside a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.relu_conv1 = activated(width, width)
        self.relu_conv2 = activated(width, width)

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.relu_conv2(self.relu_conv1(x))
        return added + x


class MemoryBlock(nn.Module):
    """Residual units one after the other, and a 1x1 convolution over the results of all of them and of the blocks before."""

    def __init__(self, width: int, residuals: int, before: int) -> None:
        super().__init__()
        self.recursive_unit = nn.ModuleList(ResidualUnit(width) for _ in range(residuals))
        self.gate_unit = activated((residuals + before) * width, width, 1)

    def forward(self, x: Tensor, before: list[Tensor]) -> Tensor:
        own = []
        for unit in self.recursive_unit:
            x = unit(x)
            own.append(x)
        gated: Tensor = self.gate_unit(torch.cat([*own, *before], dim=1))
        return gated


class MemNet(nn.Module):
    """A chain of memory blocks whose output is added to the image (Tai et al. 2017, as in the code of Salman et al. 2020)."""

    def __init__(self, channels: int, memories: int, residuals: int, width: int) -> None:
        super().__init__()
        self.feature_extractor = activated(channels, width)
        self.reconstructor = activated(width, channels)
        self.dense_memory = nn.ModuleList(
            MemoryBlock(width, residuals, number) for number in range(1, memories + 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        results = [self.feature_extractor(x)]
        for block in self.dense_memory:
            results.append(block(results[-1], results))
        change: Tensor = self.reconstructor(results[-1])
        return change + x
