"""Sums up the noise that left the selected class, exactly whatever the order it is added in."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jobs.certify.blocks import Block, ImageCounts, State
from jobs.certify.recorders.recorder import Recorder, Sampling
from rsctl.certificates.table import QUANTUM


class NoiseSums(Recorder):
    """Sums (2, d) over blocks of even and of odd number, in quanta of sigma, of the noise of `misses` (2,) draws."""

    def __init__(self, sigma: float) -> None:
        super().__init__("gradient_sums")
        self.sigma = sigma

    @classmethod
    def for_run(cls, name: str, sampling: Sampling) -> NoiseSums:
        return cls(sampling.spec.sigma)

    def start(self, image: ImageCounts) -> State:
        device = image.pixels.device
        return {
            "sums": torch.zeros((2, image.pixels.numel()), dtype=torch.int64, device=device),
            "misses": torch.zeros(2, dtype=torch.int64, device=device),
        }

    def pause(self, image: ImageCounts, *, selected: bool) -> int | None:
        return None if selected else 0  # the noise to sum up is known once the class is

    def observe(self, block: Block, kept: Tensor, logits: Tensor, predicted: Tensor) -> State:
        outside = predicted != block.image.selected
        return {"sums": summed(kept, outside, self.sigma), "misses": outside.sum()}

    def add(self, state: State, block: Block, part: State) -> None:
        half = block.number % 2
        state["sums"][half] += part["sums"].long()
        state["misses"][half] += part["misses"]

    def finish(self, state: State) -> dict[str, NDArray[Any]]:
        return {"misses": state["misses"].cpu().numpy(), "products": products(state["sums"])}


def summed(noise: Tensor, outside: Tensor, sigma: float) -> Tensor:
    """Σ of u = ε/σ over the rows of `noise` (B, C, H, W) that `outside` (B,) marks: float64 (C·H·W,), in quanta.

    Each coordinate is rounded to whole quanta first. Those sums are integers far below 2^53, so float64 adds them
    without error, in any order and on any device.
    """
    if noise.device.type == "cpu":
        # Few rows are outside as a rule; a GPU would have to wait to learn which.
        kept = noise[outside].flatten(1).double()
        return kept.mul_(1 / (QUANTUM * sigma)).round_().sum(dim=0)
    quanta = noise.flatten(1).double().mul_(1 / (QUANTUM * sigma)).round_()
    return outside.double() @ quanta


def products(sums: Tensor) -> NDArray[np.float64]:
    """(3,): ‖S₁‖², S₁·S₂, ‖S₂‖² of sums (2, d) in quanta, in units of u; good to d · 2^-53 of the norms."""
    first, second = sums.cpu().numpy().astype(np.float64) * QUANTUM
    return np.array([first @ first, first @ second, second @ second])


RECORDER = NoiseSums
