"""Stability training (Li, Chen, Wang, Carin 2019, equation 7), as the code of Jeong 2020 trains it.

Cross-entropy on the clean image plus λ times the cross-entropy of the noisy prediction to the clean one; the
clean prediction is a target with a gradient of its own.
"""

from __future__ import annotations

from torch import Tensor, nn

from jobs.state import TrainingState


def loss(model: nn.Module, x: Tensor, y: Tensor, state: TrainingState) -> tuple[Tensor, Tensor]:
    """CE(F(x), y) + λ·CE(F(x + δ), softmax F(x)), one noise per image, two forward passes."""
    clean = model(x).float()
    noisy = model(x + state.noise()).float()
    stability = -(clean.softmax(dim=1) * noisy.log_softmax(dim=1)).sum(dim=1).mean()
    return state.cross_entropy(clean, y) + state.parameters["lbd"] * stability, noisy
