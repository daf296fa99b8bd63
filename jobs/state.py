"""State of a training that a method's loss may use."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from jobs.data import Images
from jobs.noise import smoothing_noise
from jobs.noise.splitting import levels_of, split
from jobs.precision import at_least_float32
from jobs.random import generator
from rsctl.catalog.pixels import splitting_width


class Stateful(Protocol):
    """A network, an optimiser, a table: what a checkpoint can hold."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


Kept = TypeVar("Kept", bound=Stateful)


@dataclass
class TrainingState:
    """One optimiser step, as a loss sees it."""

    sigma: float
    parameters: dict[str, Any]
    """The method's hyper-parameters."""
    label_smoothing: float
    seed: int
    device: torch.device
    images: Images
    """The training split, for what is computed beforehand on all of it."""
    total_steps: int
    """Optimiser steps of the whole training."""
    build: Callable[[str], nn.Module]
    """A new network of this architecture, its weights drawn for the purpose named."""
    load: Callable[[str], nn.Module]
    """`load("start")`, `load("teacher")`: the model of the run this one starts from or learns from, frozen, in eval mode."""
    sigma_of: Callable[[str], float]
    """`sigma_of("teacher")`: the noise that model was trained with."""
    sum: Callable[[Tensor], Tensor]
    """The sum of a tensor over all processes."""
    optimizer: torch.optim.Optimizer
    """The base classifier's optimiser, for methods that start over within one training."""
    predictions: Callable[[], Tensor | None] = lambda: None
    """The teacher's smoothed predictions (images of the training split, classes), where a run of their own has them."""
    exponent: int = 0
    """Exponent of generalised Gaussian noise; 0 is Gaussian."""
    exponent_warmup: int = 0
    """Epochs over which the exponent grows to its value."""
    law: str = "gaussian"
    """Distribution of the noise's coordinates (`jobs.noise`)."""
    process: int = 0
    """Number of this process, of `processes`."""
    processes: int = 1
    step: int = 0
    """Optimiser steps taken so far."""
    epoch: float = 0.0
    """Passes over the training images taken so far."""
    batch: tuple[int, ...] = ()
    """Shape of the step's whole batch, over all processes."""
    mine: slice = field(default_factory=lambda: slice(None))
    """This process's part of the batch."""
    x: Tensor = field(default_factory=lambda: torch.empty(0))
    """These images, as the loss is given them: float32 (B, C, H, W)."""
    rows: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    """Positions of these images in the training split, int64 (B,)."""
    saved: dict[str, dict[str, Any]] = field(default_factory=dict)
    """States restored from the checkpoint, under the names given to `keep`."""
    kept: dict[str, Stateful] = field(default_factory=dict)

    def keep(self, name: str, thing: Kept) -> Kept:
        """Save the method's own network, optimiser or table with every checkpoint, and restore it when resumed."""
        self.kept[name] = thing
        if name in self.saved:
            thing.load_state_dict(self.saved[name])
        return thing

    def get(self, name: str, kind: type[Kept]) -> Kept:
        """The object of this class that is kept under this name."""
        thing = self.kept[name]
        assert isinstance(thing, kind)
        return thing

    def noise(self, draw: int = 0) -> Tensor:
        """δ with standard deviation σ per coordinate (N(0, σ²I) unless a law or an exponent says otherwise) for this process's images, float32 (B, C, H, W); `draw` numbers the noises of one step.

        Of splitting noise it is what takes these images, and no others, to the middles of their intervals.
        Drawn for the whole batch and then cut, so that an image gets the same noise whatever the number of
        processes, and a resumed training the same as an uninterrupted one.
        """
        key = generator(self.device, self.seed, "training-noise", self.step, draw)
        if self.law == "splitting":
            width = splitting_width(self.sigma)
            positions = torch.randint(width, self.batch[:1], generator=key, device=self.device)[self.mine]
            return split(levels_of(self.x), positions, width) - self.x
        return smoothing_noise(self.batch, self.sigma, self.grown_exponent, key, self.law)[self.mine]

    @property
    def grown_exponent(self) -> int:
        """The exponent of this epoch's noise: as the code of DSRS (Li et al. 2022) has it, from 0 and at first steeply."""
        k, warmup, epoch = self.exponent, self.exponent_warmup, int(self.epoch)
        if not k or not warmup or epoch > warmup:
            return k
        return math.ceil(k - math.pow(k, 1 - epoch / warmup))

    def noises(self, count: int, *, first: int = 0) -> Tensor:
        """`count` noises per image, float32 (count, B, C, H, W): the draws from `first` on."""
        return torch.stack([self.noise(draw) for draw in range(first, first + count)])

    def uniform(self, purpose: str, *shape: int) -> Tensor:
        """U(0, 1) per image of this process, float32 (B, *shape); as reproducible as the noise."""
        key = generator(self.device, self.seed, purpose, self.step)
        return torch.rand((self.batch[0], *shape), generator=key, device=self.device)[self.mine]

    def normal(self, purpose: str, *shape: int) -> Tensor:
        """N(0, 1) per image of this process, float32 (B, *shape); as reproducible as the noise."""
        key = generator(self.device, self.seed, purpose, self.step)
        return torch.randn((self.batch[0], *shape), generator=key, device=self.device)[self.mine]

    def share(self, y: Tensor) -> float:
        """This process's part of the step's images: weights a mean of its own so that the sum over processes is the mean."""
        return len(y) / self.batch[0]

    def cross_entropy(self, logits: Tensor, y: Tensor) -> Tensor:
        """Mean cross-entropy with the recipe's label smoothing."""
        return functional.cross_entropy(at_least_float32(logits), y, label_smoothing=self.label_smoothing)
