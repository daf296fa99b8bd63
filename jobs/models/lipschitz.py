"""1-Lipschitz networks in ℓ2: orthogonal layers, and an activation that keeps gradients' norms (Anil, Lucas, Grosse 2019)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import orthogonal


class MaxMin(nn.Module):
    """(a, b) ↦ (max(a, b), min(a, b)) for the two halves of the features: GroupSort with groups of two."""

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=1)
        return torch.cat([torch.maximum(a, b), torch.minimum(a, b)], dim=1)


def lipschitz_mlp(inputs: int, widths: list[int], classes: int) -> nn.Sequential:
    """Orthogonal linear layers with MaxMin between them; the last is a plain one, whose rows the certificate knows.

    The weights are orthogonal up to rounding; the certificate doesn't rely on it, it bounds the norm of what they are.
    """
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise([inputs, *widths]):
        layers += [orthogonal(nn.Linear(before, after)), MaxMin()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], classes))
