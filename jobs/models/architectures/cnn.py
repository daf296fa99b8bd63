"""A small network without batch normalisation."""

from __future__ import annotations

from torch import Tensor, nn


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


def build(name: str, classes: int, channels: int, size: int, *, width: int) -> SmallCNN:
    return SmallCNN(classes, channels, size, width)
