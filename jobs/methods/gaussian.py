"""Gaussian data augmentation (Cohen, Rosenfeld, Kolter 2019, section 3.3): cross-entropy of f(x + δ), δ ~ N(0, σ²I)."""

from __future__ import annotations

from torch import Tensor, nn

from jobs.state import TrainingState


def loss(model: nn.Module, x: Tensor, y: Tensor, state: TrainingState) -> tuple[Tensor, Tensor]:
    """One noise per image."""
    logits = model(x + state.noise())
    return state.cross_entropy(logits, y), logits
