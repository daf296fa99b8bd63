"""ℓ∞-distance networks (Zhang, Cai, Lu, He, Wang 2021): 1-Lipschitz in ℓ∞ whatever their weights are.

Every unit is u(x) = ‖x − w‖_p + b, with p = ∞ where the network is used; training begins at p = 8 and lets it grow. Written
in plain torch, a layer holds batch × units × inputs numbers: for networks of some hundred units. (The authors', of 5,120 in
each layer, would need 54 GB for one of them at batches of 512; their own kernels hold none.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, distributed, nn

from jobs.precision import at_least_float32

FAR = -10.0
"""Weight that an input is compared with whose distance shall be the largest."""


class Distance(nn.Module):
    """A layer of ℓp-distance units: (B, in) → (B, out), ‖x − w_j‖_p less its mean over the training's batches.

    In eval mode p is ∞. Subtracting the mean (section 4.1) is a bias that changes no Lipschitz constant, and is taken over
    all processes of a training; the last layer has a plain one instead. With `identity`, where there are as many units
    as inputs or more, unit j begins as (almost) x_j plus a constant: w_j is −10 at input j modulo their number.
    """

    running_mean: Tensor

    def __init__(self, inputs: int, outputs: int, *, centred: bool = True, identity: bool = False) -> None:
        super().__init__()
        weight = torch.randn(outputs, inputs)
        if identity and inputs <= outputs:
            rows = torch.arange(outputs)
            weight[rows, rows % inputs] = FAR
        self.weight = nn.Parameter(weight)
        self.centred = centred
        self.register_buffer("running_mean", torch.zeros(outputs))
        self.bias = None if centred else nn.Parameter(torch.zeros(outputs))
        self.p = math.inf

    def forward(self, x: Tensor) -> Tensor:
        distance = self.distance(x)
        if self.bias is not None:
            return distance + self.bias
        if self.training:
            mean = batch_mean(distance)
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


def batch_mean(x: Tensor) -> Tensor:
    """The mean over the step's images, of all processes of this training, (B, …) → (…), with its gradient to all of them."""
    if not (distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1):
        return x.mean(dim=0)
    x = at_least_float32(x)
    total = cast(Tensor, _Sum.apply(x.sum(dim=0)))
    count = x.new_tensor(float(len(x)))
    distributed.all_reduce(count)
    return total / count


class _Sum(torch.autograd.Function):
    """Sum of a tensor over all processes. Each one's loss is its part of the step's, so that gradients are summed as well."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.clone()
        distributed.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (gradient,) = (each.contiguous().clone() for each in gradients)
        distributed.all_reduce(gradient)
        return gradient


class Negate(nn.Module):
    """−x: the nearest prototype's class has the largest logit."""

    def forward(self, x: Tensor) -> Tensor:
        return -x


def build(name: str, classes: int, channels: int, size: int, *, widths: Sequence[int], initial: str = "normal") -> nn.Sequential:  # fmt: skip
    """Layers of distance units; the logits are the last one's, negated. `initial` is `normal` or `identity`."""
    identity, sizes = initial == "identity", [channels * size * size, *widths]
    hidden = [Distance(before, after, identity=identity) for before, after in pairwise(sizes)]
    last = Distance(sizes[-1], classes, centred=False, identity=identity)
    return nn.Sequential(nn.Flatten(), *hidden, last, Negate())


def set_p(model: nn.Module, p: float) -> None:
    """Set p of every distance layer, for the steps that follow."""
    for layer in model.modules():
        if isinstance(layer, Distance):
            layer.p = p
