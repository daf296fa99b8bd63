"""MACER (Zhai et al. 2020, Algorithm 1): maximises the certified radius of a soft smoothed classifier.

As the authors' code has it: the classification loss is −log of the mean softmax; the radius is that of the mean
softmax of β times the logits, for images that it classifies rightly and whose margin is at most γ.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jobs.losses import mean_softmax, noisy_logits
from jobs.state import TrainingState


def loss(model: nn.Module, x: Tensor, y: Tensor, state: TrainingState) -> tuple[Tensor, Tensor]:
    """Mean over images of −log(F̄_y + 1e-10) + λ·σ/2·[γ − ξ]₊, ξ = Φ⁻¹(p₁) − Φ⁻¹(p₂)."""
    p = state.parameters
    logits = noisy_logits(model, x, state.noises(p["noises"]))
    classification = -(mean_softmax(logits)[torch.arange(len(y)), y] + 1e-10).log()
    lbd = p["lbd"] if state.epoch >= p["lbd_from_epoch"] else 0.0
    top = mean_softmax(p["beta"] * logits).topk(2)
    with torch.no_grad():
        margin = _margin(top.values)
        # Leaves out infinite margins too (p₁ rounded to 1 or p₂ to 0), which have no gradient to follow.
        counted = (top.indices[:, 0] == y) & (margin <= p["gamma"])
    radius = _margin(top.values[counted])
    robustness = lbd * state.sigma / 2 * (p["gamma"] - radius)
    return (classification.sum() + robustness.sum()) / len(y), logits.mean(0)


def _margin(top: Tensor) -> Tensor:
    """Φ⁻¹(p₁) − Φ⁻¹(p₂) of the two largest probabilities, (B, 2) → (B,)."""
    quantiles: Tensor = torch.special.ndtri(top)
    return quantiles[:, 0] - quantiles[:, 1]
