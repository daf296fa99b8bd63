"""ℓ∞-distance networks (Zhang, Cai, Lu, He, Wang 2021): 1-Lipschitz in ℓ∞ whatever their weights are.

Every unit is u(x) = ‖x − w‖_p + b, with p = ∞ where the network is used; training begins at p = 8 and lets it grow. Written
in plain torch, a layer holds batch × units × inputs numbers: for networks of some hundred units.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn


class Distance(nn.Module):
    """A layer of ℓp-distance units: (B, in) → (B, out), ‖x − w_j‖_p less its mean over the training's batches.

    In eval mode p is ∞. Subtracting the mean (section 4.1) is a bias that changes no Lipschitz constant; the last layer
    has a plain one instead.
    """

    running_mean: Tensor

    def __init__(self, inputs: int, outputs: int, *, centred: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        self.register_buffer("running_mean", torch.zeros(outputs))
        self.bias = None if centred else nn.Parameter(torch.zeros(outputs))
        self.p = math.inf

    def forward(self, x: Tensor) -> Tensor:
        distance = self.distance(x)
        if self.bias is not None:
            return distance + self.bias
        if self.training:
            mean = distance.mean(dim=0)
            with torch.no_grad():
                self.running_mean.lerp_(mean, 0.1)
            return distance - mean
        return distance - self.running_mean

    def distance(self, x: Tensor) -> Tensor:
        """‖x − w_j‖_p, scaled by the largest difference, whose powers neither overflow nor vanish."""
        if not self.training or math.isinf(self.p):
            return torch.cdist(x, self.weight, p=math.inf)
        apart = (x[:, None] - self.weight).abs()
        largest = apart.detach().amax(dim=2, keepdim=True).clamp(min=1e-12)
        return (apart / largest).pow(self.p).sum(dim=2).pow(1 / self.p) * largest[:, :, 0]


class Negate(nn.Module):
    """−x: the nearest prototype's class has the largest logit."""

    def forward(self, x: Tensor) -> Tensor:
        return -x


def distance_network(inputs: int, widths: list[int], classes: int) -> nn.Sequential:
    """Layers of distance units; the logits are the last one's, negated."""
    hidden = [Distance(before, after) for before, after in pairwise([inputs, *widths])]
    last = Distance(widths[-1] if widths else inputs, classes, centred=False)
    return nn.Sequential(nn.Flatten(), *hidden, last, Negate())


def set_p(model: nn.Module, p: float) -> None:
    """Of every distance layer, for the steps that follow."""
    for layer in model.modules():
        if isinstance(layer, Distance):
            layer.p = p
