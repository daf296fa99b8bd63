"""One batch attacked from beginning to end: what is wrong already, the search, and the last word about what it found."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from jobs.attacks import Attacker, Classify, Found, fooled
from jobs.attacks.cascade import SmoothedCascade
from jobs.attacks.smoothed import Confirming, Smoothed
from jobs.random import generator
from rsctl.errors import InputError, RefusedError

IMAGES = 128
"""Images per batch in attacks on the base model."""
ROWS, PIXELS = 512, 12_000_000
"""At most so many images, and numbers in them, in one pass of the model: the backward pass keeps every activation."""


@dataclass
class Attacked(Found):
    """Results of an attack."""

    predicted: Tensor
    """(N,) int64: the class of the unchanged image, of the smoothed classifier the one with most votes."""


@dataclass(frozen=True)
class Before:
    """A level of a cascade before its last."""

    model: nn.Module
    sigma: float
    tau: float


class AttackSearch:
    """An attack on one model.

    A batch has always `batch` rows, and every random number belongs to an image: so what is found for it doesn't depend on
    the images beside it.

    `module` and the complete `parameters` are the attack's own. `model` is f as executed, in eval mode on `device`: images
    (B, C, H, W) in [0, 1], of `shape` each, → logits (B, classes). The distance is kept small in `norm`, `l2` or `linf`. With
    sigma = 0 the base model is attacked, else the smoothed classifier (`Smoothed`); with `before` the cascade of these levels and
    it (`SmoothedCascade`). Keys of all random numbers begin with `key`.
    """

    def __init__(
        self, module: str, parameters: Mapping[str, Any], model: nn.Module, classes: int, shape: tuple[int, int, int], *, norm: str,
        sigma: float = 0.0, noises: int = 0, n: int = 0, alpha: float = 0.0, key: Sequence[int | str], device: torch.device,
        before: Sequence[Before] = (),
    ) -> None:  # fmt: skip
        self.prepare = importlib.import_module(module).prepare
        self.parameters, self.model, self.norm = parameters, model.requires_grad_(False), norm
        self.key, self.device, self.shape = tuple(key), device, shape
        # Attacks of other packages need have neither.
        self.topk, self.most = int(parameters.get("topk", 1)), float(parameters.get("epsilon", math.inf))
        if self.topk >= classes:
            raise InputError(
                f"attack: topk = {self.topk} must be less than the number of classes, {classes}."
            )
        rows = max(16, min(ROWS, PIXELS // math.prod(shape)))
        self.smoothed: Confirming | None = None
        if sigma:
            last = len(before)
            levels = [
                Smoothed(
                    one, classes, sigma=level, noises=noises, n=n, alpha=alpha, topk=self.topk, device=device, rows=rows,
                    key=(*key, "level", k) if k < last else key,
                    fresh=parameters.get("noise", "fresh") == "fresh", average=str(parameters.get("average", "probabilities")),
                )
                for k, (one, level) in enumerate([*((b.model.requires_grad_(False), b.sigma) for b in before), (model, sigma)])
            ]  # fmt: skip
            self.smoothed = SmoothedCascade(levels, [one.tau for one in before]) if before else levels[0]
        if before and (not sigma or self.topk != 1):
            raise InputError("attack: a cascade is attacked with sigma above 0 and topk = 1.")
        self.batch = max(1, rows // noises) if sigma else min(IMAGES, rows)
        """Images attacked together."""

    def __call__(self, images: Tensor, labels: Tensor, positions: Sequence[int], count: int) -> Attacked:
        """Attack a batch of N = `batch` images (N, C, H, W) float32 in [0, 1], with labels (N,) int64, on `device`.

        `positions` in their split are the keys of their random numbers. What is found for the first `count` is wanted; the
        others only fill the batch up. Every finite distance is that of an image which the base model was seen to misclassify
        in a last call of its own, or of which it is confirmed that the smoothed classifier doesn't return the label
        (`Smoothed`). Raises RefusedError for a model that gives something else than finite numbers.
        """
        if self.smoothed is None:
            return self._base(images, labels, positions)
        return self._smoothed(self.smoothed, images, labels, positions, count)

    def _base(self, images: Tensor, labels: Tensor, positions: Sequence[int]) -> Attacked:
        def classify(at: Tensor) -> Tensor:
            return finite(self.model(at).float()).log_softmax(dim=1)

        with torch.no_grad():
            scores = classify(images)
        found = self._attacker(classify, positions).search(images, labels)
        with torch.no_grad():
            sure = fooled(classify(found.image), labels, self.topk)
        found = Found(torch.where(sure, found.distance, math.inf), found.image)
        return self._settled(found, images, fooled(scores, labels, self.topk), scores.argmax(dim=1))

    def _smoothed(
        self, target: Confirming, images: Tensor, labels: Tensor, positions: Sequence[int], count: int
    ) -> Attacked:
        votes = target.votes(images[:count], labels[:count], positions[:count], 0)
        votes = np.pad(votes, [(0, len(images) - count)] + [(0, 0)] * (votes.ndim - 1))
        wrong = target.wrong(votes, labels)
        classify = target.classify(positions)
        found = self._attacker(lambda at: finite(classify(at)), positions).search(images, labels)
        # What fills the batch up, and what is wrong as it is, needn't be confirmed.
        found.distance[count:] = math.inf
        found.distance[wrong] = math.inf
        found = target.confirm(found, images, labels, positions, self.norm)
        predicted = torch.from_numpy(target.predicted(votes)).to(labels.device)
        return self._settled(found, images, wrong, predicted)

    def _attacker(self, classify: Classify, positions: Sequence[int]) -> Attacker:
        streams = [generator(self.device, *self.key, "attack-start", position) for position in positions]

        def draw() -> Tensor:
            each = [torch.randn(self.shape, generator=stream, device=self.device) for stream in streams]
            return torch.stack(each)

        attacker: Attacker = self.prepare(classify, self.parameters, norm=self.norm, draw=draw)
        return attacker

    def _settled(self, found: Found, images: Tensor, wrong: Tensor, predicted: Tensor) -> Attacked:
        """0 where the image itself is wrong; nothing found beyond `epsilon`."""
        distance = torch.where(found.distance > self.most, math.inf, found.distance)
        distance = torch.where(wrong, 0.0, distance)
        keep = torch.isfinite(distance) & ~wrong
        return Attacked(distance, torch.where(keep[:, None, None, None], found.image, images), predicted)


def finite(scores: Tensor) -> Tensor:
    """The scores; raises RefusedError where one is not a number."""
    if not torch.isfinite(scores).all():
        raise RefusedError(
            "the model's logits are NaN or infinite: its checkpoint is damaged, or its precision overflows. "
            "Nothing was attacked."
        )
    return scores
