"""What a method's loss may know of the training it is part of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from jobs.random import generator


@dataclass
class TrainingState:
    """One optimiser step, as a loss sees it."""

    sigma: float
    parameters: dict[str, Any]
    """The method's hyper-parameters."""
    label_smoothing: float
    seed: int
    device: torch.device
    step: int = 0
    """Optimiser steps taken so far."""
    epoch: float = 0.0
    """The same in passes over the training images."""
    batch: tuple[int, ...] = ()
    """Shape of the step's whole batch, over all processes."""
    mine: slice = field(default_factory=lambda: slice(None))
    """This process's images of it."""

    def noise(self, draw: int = 0) -> Tensor:
        """δ ~ N(0, σ²I) for this process's images, float32 (B, C, H, W); `draw` numbers the noises of one step.

        Drawn for the whole batch and then cut, so that an image gets the same noise whatever the number of
        processes, and a resumed training the same as an uninterrupted one.
        """
        key = generator(self.device, self.seed, "training-noise", self.step, draw)
        return self.sigma * torch.randn(self.batch, generator=key, device=self.device)[self.mine]

    def cross_entropy(self, logits: Tensor, y: Tensor) -> Tensor:
        """Mean cross-entropy with the recipe's label smoothing."""
        return functional.cross_entropy(logits.float(), y, label_smoothing=self.label_smoothing)
