"""The smoothed classifier as something to attack, and the confirmation of what was found.

While an attack searches, g is replaced by the mean of F = softmax f over a few noises (Salman et al. 2019), whose
decisions are random near the boundary: an image on which a few noises happen to flip is no adversarial image of g. So
g itself is asked in the end, by votes as in PREDICT (Cohen 2019). Selection draws name the `topk` classes that
outvote the label; then n fresh draws must reject, for each of them, that it is at most as likely as the label: given
the votes for the two, a one-sided binomial test at level alpha (no union over classes: all of them must reject). With
probability at least 1 − alpha over the draws, an image on which g does return the label (among its `topk`) isn't
called adversarial.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import bdtrc
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from jobs.attacks import Classify, Found, distances
from jobs.certify.noisy_inputs import NoisyInputs
from jobs.certify.sampler import ImageCounts, Sampler
from jobs.noise import smoothing_noise
from jobs.random import generator, hash32
from rsctl.config.runs import CONFIRMATIONS

SELECTION = 100
"""Draws that select the classes to test against the label."""
TILE, BLOCK = 400, 100
"""Tile and block of the confirming draws: the defaults of certification."""
DOUBLINGS = CONFIRMATIONS - 5
"""A found image is moved on by 0, ½, 1, 2 … 64 units until it is confirmed (a unit: see `Smoothed._further`). Of all confirmations one is of
the unchanged image, four narrow down how far."""
FINEST = 0.25
"""Units, between the last image that wasn't confirmed and the first that was."""


class Confirming(ABC):
    """A smoothed classifier to attack, whose adversarial images are confirmed by `n` draws with failure probability `alpha` each.

    `sigma` is the unit in which found images are moved on; votes are counts (N, 2, …, classes).
    """

    def __init__(self, sigma: float, n: int, alpha: float) -> None:
        self.sigma, self.n, self.alpha = sigma, n, alpha

    @abstractmethod
    def classify(self, positions: Sequence[int]) -> Classify:
        """Scores of the images at these positions; an image's noises depend on its position and the call's number alone."""

    @abstractmethod
    def votes(
        self, images: Tensor, labels: Tensor, positions: Sequence[int], trial: int
    ) -> NDArray[np.int64]:
        """Selection and estimation counts (N, 2, …, classes). Each trial has noise of its own, which no certificate was drawn from."""

    @abstractmethod
    def p_values(self, votes: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
        """(N,): of "the classifier returns the label"."""

    @abstractmethod
    def predicted(self, votes: NDArray[np.int64]) -> NDArray[np.int64]:
        """(N,): the class that the estimation votes give."""

    def wrong(self, votes: NDArray[np.int64], labels: Tensor) -> Tensor:
        """(N,) bool: where these votes confirm that g doesn't return the label."""
        p = self.p_values(votes, labels.cpu().numpy())
        return torch.from_numpy(p <= self.alpha / CONFIRMATIONS).to(labels.device)

    def confirm(
        self, found: Found, images: Tensor, labels: Tensor, positions: Sequence[int], norm: str
    ) -> Found:
        """Confirm that g itself misclassifies: found images are moved on, away from their original, until it does.

        Luck decides which of them a few noises call wrong first, so most lie somewhat before the boundary of g. The
        way to go doubles until g is seen to be wrong, and is then narrowed down. Those that never are wrong count as
        not found. `alpha` is shared among all trials.
        """
        confirmed = Found(torch.full_like(found.distance, math.inf), images.clone())
        low = torch.zeros_like(found.distance)
        high = torch.full_like(low, math.inf)
        open_ = torch.isfinite(found.distance)
        for trial in range(1, CONFIRMATIONS):
            # First as it was found, then doubling; where one was wrong, the middle between it and the last that wasn't.
            push = torch.where(
                high.isinf(), 0.25 * 2.0 ** (trial - 1) if trial > 1 else 0.0, (low + high) / 2
            )
            open_ &= (high.isinf() & (trial <= DOUBLINGS)) | (
                high.isfinite() & (high > 0) & (high - low > FINEST)
            )
            rows = open_.nonzero()[:, 0]
            if not len(rows):
                continue
            at = self._further(images[rows], found.image[rows], push[rows])
            where = [positions[row] for row in rows.tolist()]
            wrong = self.wrong(self.votes(at, labels[rows], where, trial), labels[rows])
            confirmed.image[rows[wrong]] = at[wrong]
            high[rows[wrong]] = push[rows[wrong]]
            low[rows[~wrong]] = push[rows[~wrong]]
        confirmed_rows = high.isfinite()
        confirmed.distance[confirmed_rows] = distances(
            images[confirmed_rows], confirmed.image[confirmed_rows], norm
        )
        return confirmed

    def _further(self, images: Tensor, found: Tensor, push: Tensor) -> Tensor:
        """Found images moved on by `push` (N,) units of 4σ/√n in ℓ2: about the distance at which n draws tell two classes apart."""
        away = found.double() - images.double()
        length = torch.linalg.vector_norm(away.flatten(1), dim=1)
        further = (1 + push * 4 * self.sigma / math.sqrt(self.n) / length)[:, None, None, None]
        shifted = (images.double() + further * away).float().clamp(0, 1)
        return torch.where((push > 0)[:, None, None, None], shifted, found)


class Smoothed(Confirming):
    """g(x) = argmax P(f(x + ε) = c), ε ~ N(0, σ²I), to attack.

    Parameters
    ----------
    model
        f as executed, on `device`: images (B, C, H, W) → logits (B, classes).
    noises
        m, per image and call.
    fresh
        Every call draws new noises; else each sees the same ones.
    average
        `probabilities`: scores and gradient are of log (1/m) Σ F(x + ε_i). `losses`: the scores are the same, their
        gradient is that of (1/m) Σ log F(x + ε_i) (Campbell 2020, equation 9).
    rows
        Most noisy images in one pass of the model; more are recomputed in the backward pass to save memory.
    n, alpha
        Draws of a confirmation, and its failure probability per image.
    """

    def __init__(
        self,
        model: nn.Module,
        classes: int,
        *,
        sigma: float,
        noises: int,
        fresh: bool,
        average: str,
        key: Sequence[int | str],
        n: int,
        alpha: float,
        topk: int,
        rows: int,
        device: torch.device,
    ) -> None:
        super().__init__(sigma, n, alpha)
        self.model, self.classes, self.noises = model, classes, noises
        self.fresh, self.average, self.key, self.rows = fresh, average, tuple(key), rows
        self.topk, self.device = topk, device

    def classify(self, positions: Sequence[int]) -> Classify:
        calls = 0

        def scores(images: Tensor) -> Tensor:
            nonlocal calls
            noise = self._noise(positions, tuple(images.shape[1:]), calls)
            calls += self.fresh
            each = self._each(images, noise)
            log_mean = each.logsumexp(dim=0) - math.log(self.noises)
            if self.average == "probabilities":
                return log_mean
            mean_log = each.mean(dim=0)
            return log_mean.detach() + (mean_log - mean_log.detach())

        return scores

    def _noise(self, positions: Sequence[int], shape: tuple[int, ...], call: int) -> Tensor:
        """(m, N, C, H, W): the noises of one image are always drawn whole."""
        each = [
            smoothing_noise(
                (self.noises, *shape),
                self.sigma,
                0,
                generator(self.device, *self.key, "attack", position, offset=call),
            )
            for position in positions
        ]
        return torch.stack(each, dim=1)

    def _each(self, images: Tensor, noise: Tensor) -> Tensor:
        """log F(x + ε_i) for every noise and image, (m, N, classes)."""

        def some(x: Tensor, part: Tensor) -> Tensor:
            noisy = (x + part).flatten(0, 1).contiguous(memory_format=torch.channels_last)
            each: Tensor = self.model(noisy).float().log_softmax(dim=1).unflatten(0, part.shape[:2])
            return each

        parts = noise.split(max(1, self.rows // len(images)))
        if len(parts) == 1 or not torch.is_grad_enabled():
            return torch.cat([some(images, part) for part in parts])
        return torch.cat([checkpoint(some, images, part, use_reentrant=False) for part in parts])

    def votes(
        self, images: Tensor, labels: Tensor, positions: Sequence[int], trial: int
    ) -> NDArray[np.int64]:
        """Selection and estimation counts (N, 2, classes). Each trial has noise of its own, which no certificate was drawn from."""
        sampler = Sampler(
            self.model, self.classes, NoisyInputs(self.sigma, (hash32(*self.key, "confirmation", trial),), self.n, self.device),
            n0=SELECTION, tile=TILE, block=BLOCK,
        )  # fmt: skip
        under_way = [
            ImageCounts(position, int(label), image, torch.zeros(2, self.classes, dtype=torch.int64))
            for position, label, image in zip(positions, labels.tolist(), images, strict=True)
        ]
        for _ in sampler.run(under_way):
            pass
        return torch.stack([image.counts for image in under_way]).numpy()

    def p_values(self, votes: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
        """(N,): of "the label is among the `topk` likeliest classes"."""
        return outvoted(votes, labels, self.topk)

    def predicted(self, votes: NDArray[np.int64]) -> NDArray[np.int64]:
        """(N,): the class with most estimation votes."""
        return np.asarray(votes[:, 1].argmax(axis=1))


def outvoted(counts: NDArray[np.int64], labels: NDArray[np.int64], topk: int) -> NDArray[np.float64]:
    """p-values (N,) of "the label is among the `topk` likeliest classes", from selection and estimation counts (N, 2, C)."""
    rows = np.arange(len(counts))
    rivals = counts[:, 0].copy()
    rivals[rows, labels] = -1
    rivals = np.argsort(-rivals, axis=1, kind="stable")[:, :topk]
    votes = counts[rows[:, None], 1, rivals]
    against = counts[rows, 1, labels][:, None]
    # P(Bin(votes + against, ½) ≥ votes); the label's own place holds −1 and never comes before `topk` rivals.
    p = np.where(votes > 0, bdtrc(np.maximum(votes, 1) - 1.0, (votes + against).clip(min=1), 0.5), 1.0)
    return np.asarray(p.max(axis=1), np.float64)
