"""Inputs of f for an image: with noise from a key of its own, or at one position of the cuts of splitting noise."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from jobs.noise import smoothing_noise
from jobs.noise.splitting import levels_of, split
from jobs.noise.whole_pixels import WholePixels, noisy
from jobs.random import stream


class NoisyInputs:
    """Blocks of noisy images, each a function of (key, phase, position, number) and of no history.

    Parameters
    ----------
    key
        The beginning of every key: seed, and of splits other than the test split what tells their noise from its
        (`DrawnSpec.noise_key`).
    noise, exponent
        Law of the noise's coordinates; exponent of generalised Gaussian noise, 0 is Gaussian (`jobs.noise`). Of
        "splitting" the n draws are all positions of its cuts, once (`jobs.noise.splitting`).
    arithmetic
        `exact`: images are whole pixel values, Gaussian noise is drawn in such, and f sees their exact sum.
    """

    def __init__(
        self,
        sigma: float,
        key: Sequence[int | str],
        n: int,
        device: torch.device,
        noise: str = "gaussian",
        exponent: int = 0,
        arithmetic: str = "float",
    ) -> None:
        self.sigma, self.key, self.n, self.device = sigma, tuple(key), n, device
        self.noise, self.exponent = noise, exponent
        self.exact = WholePixels(sigma, device) if arithmetic == "exact" else None

    def fill(self, rows: Tensor, pixels: Tensor, phase: str, position: int, number: int) -> Tensor:
        """Put block `number` of the image `pixels` (C, H, W) into `rows`, float32 (block, C, H, W); returns the noise that was added, if any."""
        if self.noise == "splitting":
            first = number * len(rows)
            # Rows from n on aren't counted.
            positions = torch.arange(first, first + len(rows), device=self.device)
            return rows.copy_(split(levels_of(pixels), positions, self.n))
        key = stream(self.device, *self.key, phase, position, number)
        shape = tuple(rows.shape)
        if self.exact is not None:
            noise = self.exact.draw(shape, key)
            noisy(pixels, noise, out=rows)
        else:
            noise = smoothing_noise(shape, self.sigma, self.exponent, key, self.noise)
            torch.add(pixels, noise, out=rows)
        return noise
