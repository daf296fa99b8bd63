"""ℓ∞-distance networks (Zhang, Cai, Lu, He, Wang 2021): 1-Lipschitz in ℓ∞ whatever their weights are.

Every unit is u(x) = ‖x − w‖_p + b with p = ∞ in the end; training begins at p = 8 and lets it grow.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Distance(nn.Module):
    """A layer of ℓp-distance units: (B, in) → (B, out), ‖x − w_j‖_p less its mean over the training's batches.

    In eval mode p is ∞. Subtracting the mean (section 4.1) is a bias that changes no Lipschitz constant.
    """

    running_mean: Tensor

    def __init__(self, inputs: int, outputs: int, *, centred: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        self.register_buffer("running_mean", torch.zeros(outputs))
        self.bias = None if centred else nn.Parameter(torch.zeros(outputs))
        self.p = math.inf

    def forward(self, x: Tensor) -> Tensor:
        p = self.p if self.training else math.inf
        distance = torch.cdist(x, self.weight, p=p)
        if self.bias is not None:
            return distance + self.bias
        if self.training:
            mean = distance.mean(dim=0)
            with torch.no_grad():
                self.running_mean.lerp_(mean, 0.1)
            return distance - mean
        return distance - self.running_mean
