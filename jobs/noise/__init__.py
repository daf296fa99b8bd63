"""The noise of training and of certification: one function, so that both draw from the same distribution."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def smoothing_noise(
    shape: tuple[int, ...], sigma: float, exponent: int, key: torch.Generator, law: str = "gaussian"
) -> Tensor:
    """Independent noises with standard deviation `sigma` per coordinate, float32 of `shape` (B, C, H, W).

    `law` "uniform" draws coordinates from U(−√3σ, √3σ), "laplace" from the Laplace law of scale σ/√2. Otherwise,
    with `exponent` k = 0, N(0, σ²I), and else the generalised Gaussian of DSRS (Li et al. 2022), density
    ∝ ‖ε‖^{−2k} exp(−‖ε‖²/2s²) with s² = σ² d/(d − 2k): a uniform direction times a norm with ‖ε‖²/s² ~ χ²(d − 2k),
    drawn as the squared norm of d − 2k normals.

    A function of the key and the shape. Always draw a batch whole: `randn` isn't prefix-stable.
    """
    if law == "uniform":
        scale = 2 * math.sqrt(3) * sigma
        return torch.rand(shape, generator=key, device=key.device).sub_(0.5).mul_(scale)
    if law == "laplace":
        # By inversion, in float64: 24 bits would cut the tails off. torch's own exponential draws come from a
        # generator of period 2^31 on a CPU, which one image uses up.
        centred = torch.rand(shape, generator=key, device=key.device, dtype=torch.float64).sub_(0.5)
        tail = centred.abs().mul_(-2).clamp_(min=-1 + 2**-53).log1p_()
        return tail.copysign_(centred).mul_(sigma / math.sqrt(2)).float()
    normal = torch.randn(shape, generator=key, device=key.device)
    if not exponent:
        return normal.mul_(sigma)
    dimension = math.prod(shape[1:])
    freedom = dimension - 2 * exponent
    length = torch.randn((shape[0], freedom), generator=key, device=key.device).norm(dim=1)
    scale = sigma * math.sqrt(dimension / freedom) * length / normal.flatten(1).norm(dim=1)
    return normal.mul_(scale.view(-1, *[1] * (len(shape) - 1)))
