"""Small networks without batch normalisation, for small images."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from rsctl.errors import InputError


class SmallCNN(nn.Module):
    """Three 3x3 convolutions, of which the last two halve the resolution, and a linear layer over all that is left."""

    def __init__(self, classes: int, channels: int, size: int, width: int) -> None:
        super().__init__()
        left = -(-size // 4)
        self.features = nn.Sequential(
            nn.Conv2d(channels, width, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, kernel_size=3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(2 * width, 2 * width, kernel_size=3, stride=2, padding=1),
            nn.ReLU(),
        )
        self.fc = nn.Linear(2 * width * left * left, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.features(x).flatten(1))
        return logits


def lenet(classes: int, channels: int, size: int, widths: Sequence[int]) -> nn.Sequential:
    """Two 5x5 convolutions without padding, each halved by max-pooling, and a hidden layer: `widths` of the three.

    Layer names are those of published checkpoints.
    """
    left = ((size - 4) // 2 - 4) // 2
    first, second, hidden = widths
    layers: dict[str, nn.Module] = {
        "conv1": nn.Conv2d(channels, first, kernel_size=5),
        "relu1": nn.ReLU(),
        "pool1": nn.MaxPool2d(2),
        "conv2": nn.Conv2d(first, second, kernel_size=5),
        "relu2": nn.ReLU(),
        "pool2": nn.MaxPool2d(2),
        "flatten": nn.Flatten(),
        "fc1": nn.Linear(second * left * left, hidden),
        "relu3": nn.ReLU(),
        "fc2": nn.Linear(hidden, classes),
    }
    return nn.Sequential(OrderedDict(layers))


def convolutions(
    classes: int, channels: int, size: int, convolutions: Sequence[Sequence[int]], widths: Sequence[int]
) -> nn.Sequential:
    """Convolutions (channels, kernel, stride, padding) and linear layers, a ReLU after each but the last.

    Raises
    ------
    InputError
        A kernel is larger than what it is moved over.
    """
    layers: list[nn.Module] = []
    for outputs, kernel, stride, padding in convolutions:
        if kernel > size + 2 * padding:
            raise InputError(
                f"model.convolutions: a kernel of {kernel} is larger than the {size}x{size} pixels it is moved over."
            )
        layers += [nn.Conv2d(channels, outputs, kernel, stride, padding), nn.ReLU()]
        channels, size = outputs, (size + 2 * padding - kernel) // stride + 1
    layers.append(nn.Flatten())
    for inputs, outputs in pairwise((channels * size * size, *widths)):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear((channels * size * size, *widths)[-1], classes))
