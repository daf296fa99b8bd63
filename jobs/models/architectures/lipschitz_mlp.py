"""1-Lipschitz networks in ℓ2: orthogonal layers, and an activation that keeps gradients' norms (Anil, Lucas, Grosse 2019).

The orthogonal layer is PyTorch's own. Two libraries were tried in its place, on a CPU with layers of 784 × 256; their norms are
as near to 1. orthogonium 0.0.4 goes on with its power iteration in eval mode, and a certificate is for one function.
deel-torchlip 1.0.5 takes 40 ms per training step and not 320, but its convolution isn't orthogonal. A network built with
either can be verified once its layers are exported as plain ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import orthogonal


class MaxMin(nn.Module):
    """(a, b) ↦ (max(a, b), min(a, b)) for the two halves of the features: GroupSort with groups of two."""

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=1)
        return torch.cat([torch.maximum(a, b), torch.minimum(a, b)], dim=1)


def build(name: str, classes: int, channels: int, size: int, *, widths: Sequence[int]) -> nn.Sequential:
    """Orthogonal linear layers with MaxMin between them; the last is a plain one, whose rows the certificate knows.

    The weights are orthogonal up to rounding; the certificate doesn't rely on it, it bounds the norm of what they are.
    """
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise([channels * size * size, *widths]):
        layers += [orthogonal(nn.Linear(before, after)), MaxMin()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], classes))
