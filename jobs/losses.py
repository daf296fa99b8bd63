"""Losses that several methods share: logits under several noises, and divergences of distributions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from jobs.state import TrainingState

SMALLEST = 1e-20


def noisy_logits(model: nn.Module, x: Tensor, noise: Tensor) -> Tensor:
    """Logits of every image under every noise, float32 (m, B, classes), in one forward pass.

    `x` is (B, C, H, W), or (m, B, C, H, W) where the noises have images of their own; `noise` is (m, B, C, H, W).
    """
    noisy = (x + noise).flatten(0, 1).contiguous(memory_format=torch.channels_last)
    logits: Tensor = model(noisy).float().unflatten(0, noise.shape[:2])
    return logits


def mean_softmax(logits: Tensor, dim: int = 0) -> Tensor:
    """F̄: class probabilities averaged over the noises, (m, B, classes) → (B, classes)."""
    return logits.softmax(dim=-1).mean(dim)


def mean_cross_entropy(state: TrainingState, logits: Tensor, y: Tensor) -> Tensor:
    """Mean of the cross-entropy over images and noises; logits (m, B, classes)."""
    return state.cross_entropy(logits.flatten(0, 1), y.repeat(len(logits)))


def cross_entropies(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of each noise and image, (m, B, classes) → (m, B)."""
    each = functional.cross_entropy(logits.flatten(0, 1), y.repeat(len(logits)), reduction="none")
    return each.view(logits.shape[:2])


def kl(target: Tensor, logits: Tensor) -> Tensor:
    """KL(target ‖ softmax(logits)) over the last dimension; zeros in the target count as 0 log 0 = 0."""
    return (target * (log_of(target) - logits.log_softmax(dim=-1))).sum(dim=-1)


def entropy(p: Tensor) -> Tensor:
    """−Σ p log p over the last dimension."""
    return -(p * log_of(p)).sum(dim=-1)


def log_of(p: Tensor) -> Tensor:
    """log p, cut at 1e-20: a probability that rounds to zero would have an infinite gradient."""
    return p.clamp(min=SMALLEST).log()


def norm_of(x: Tensor) -> Tensor:
    """L2 norm of each image, kept broadcastable: (..., C, H, W) → (..., 1, 1, 1)."""
    norm: Tensor = torch.linalg.vector_norm(x, dim=(-3, -2, -1), keepdim=True)
    return norm


def unit(x: Tensor) -> Tensor:
    """Each image divided by its L2 norm; zero stays zero."""
    return x / norm_of(x).clamp(min=torch.finfo(x.dtype).tiny)


def within(x: Tensor, radius: float | Tensor) -> Tensor:
    """Each image scaled down to at most this L2 norm."""
    return x * (radius / norm_of(x).clamp(min=torch.finfo(x.dtype).tiny)).clamp(max=1.0)
