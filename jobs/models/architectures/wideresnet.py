"""Wide residual networks for small images, as ℓ1-robust smoothed classifiers use them.

Zagoruyko, Komodakis: Wide Residual Networks, BMVC 2016, section 2: normalisation and ReLU come before each convolution.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from jobs.models.architectures.resnet import conv3x3, drawn


class PreactivatedBlock(nn.Module):
    """Two 3x3 convolutions, each behind its normalisation and ReLU; where the shape changes, the shortcut is a 1x1 convolution
    of what the first one sees."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.conv1, self.conv2 = conv3x3(inputs, outputs, stride), conv3x3(outputs, outputs)
        self.shortcut: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, kernel_size=1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active = functional.relu(self.bn1(x))
        beside = x if self.shortcut is None else self.shortcut(active)
        main: Tensor = self.conv2(functional.relu(self.bn2(self.conv1(active))))
        return main + beside


def build(name: str, classes: int, channels: int, size: int, *, depth: int, widen: int) -> nn.Sequential:
    """Float (B, channels, size, size) → logits (B, classes): three stages of (depth − 4)/6 blocks, 16, 32 and 64 times
    `widen` channels wide. The mean over all pixels equals the published 8x8 average pooling on 32x32 images."""
    widths = [16, 16 * widen, 32 * widen, 64 * widen]
    layers: list[nn.Module] = [conv3x3(channels, 16)]
    for stage, (inputs, outputs) in enumerate(pairwise(widths)):
        layers.append(PreactivatedBlock(inputs, outputs, stride=1 if stage == 0 else 2))
        layers += [PreactivatedBlock(outputs, outputs, 1) for _ in range((depth - 4) // 6 - 1)]
    head = [nn.BatchNorm2d(widths[-1]), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    network = nn.Sequential(*layers, *head, nn.Linear(widths[-1], classes))
    return drawn(network)
