"""1-Lipschitz networks in ℓ2: orthogonal layers, and an activation that keeps gradients' norms (Anil, Lucas, Grosse 2019).

The orthogonal layer is PyTorch's own (`torch.nn.utils.parametrizations.orthogonal`). Two libraries of 1-Lipschitz layers were
tried against the sound bound of `jobs.verifiers.lipschitz`, on the CPU; what they claim holds, up to that bound's own
slack of 3e-4:

    layer of 784 × 256                    training step   norm − 1    changes between two passes in eval mode
    PyTorch, orthogonal                   320 ms          5e-7        no
    deel-torchlip 1.0.5, SpectralLinear   40 ms           2e-7        no
    orthogonium 0.0.4, OrthoLinear        122 ms          2e-7        by 1e-6

orthogonium's power iteration goes on in eval mode, and a certificate is for one function. deel-torchlip's step is
faster for large layers, but its convolution isn't orthogonal (norm 0.75 for 16 to 32 channels, 3x3): nothing that these networks would
prove more with, for one more dependency. A network built with either can be verified once its layers are exported as
plain ones.
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
