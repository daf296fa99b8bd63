"""Counterexamples that count: images of [0, 1] pixels that the executed function, run on them, classifies otherwise."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from jobs.verifiers.ball import Ball

STEPS = 30
"""Steps of the search in one ball."""
HALVINGS = 20
FURTHER = (0.0, 1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2)
"""Shares of its distance by which a solver's point is pushed further: its margin is 0 up to the rounding of the solver and of the execution."""


class Counterexamples:
    """The nearest counterexample to one image (channels, size, size) float32 that was seen so far."""

    def __init__(
        self, executed: nn.Module, image: Tensor, label: int, norm: str, device: torch.device | str = "cpu"
    ) -> None:
        self.model, self.device = executed, device
        self.image, self.label, self.norm = image, label, norm
        self.distance = math.inf
        self.nearest: Tensor | None = None

    def executed(self, images: Tensor) -> Tensor:
        """Logits of images on the CPU, computed where the model is."""
        logits: Tensor = self.model(images.to(self.device)).cpu()
        return logits

    def offer(self, points: Tensor, ball: Ball) -> bool:
        """Execute points (K, d) float64, moved into the ball as float32 images; True if one is a counterexample."""
        images = self._inside(points, ball)
        with torch.no_grad():
            # One at a time: an image's logits depend on the shape of its batch.
            logits = torch.cat([self.executed(image[None]) for image in images])
        wrong = _margin(logits, self.label) < 0
        distances = ball.distance(images.double().flatten(1))
        for row in wrong.nonzero()[:, 0].tolist():
            if distances[row] < self.distance:
                self.distance, self.nearest = float(distances[row]), images[row]
        return bool(wrong.any())

    def push(self, point: Tensor, ball: Ball) -> bool:
        """Execute one point of a solver (d,), and points further along the ray from the image through it, within the ball."""
        away = point - ball.centre
        return any(self.offer((ball.centre + (1 + further) * away)[None], ball) for further in FURTHER)

    def search(self, ball: Ball, classes: int) -> bool:
        """Conditional gradient steps towards every other class (Frank and Wolfe 1956), from the image; steps shrink."""
        targets = torch.tensor([c for c in range(classes) if c != self.label])
        at = ball.centre.expand(len(targets), -1).clone()
        for step in range(STEPS):
            with torch.enable_grad():
                images = at.float().view(-1, *self.image.shape).requires_grad_()
                logits = self.executed(images)
                margin = logits[:, self.label] - logits.gather(1, targets[:, None])[:, 0]
                gradient = torch.autograd.grad(margin.sum(), images)[0].double().flatten(1)
            if step and (found := margin.detach() < 0).any() and self.offer(at[found], ball):
                return True
            share = 2 / (step + 2)
            at = at + share * (ball.minimiser(gradient) - at)
        return self.offer(at, ball)

    def shrink(self) -> None:
        """Bisect the way from the image to its nearest counterexample."""
        if self.nearest is None:
            return
        centre = self.image.double().flatten()
        least, most, direction = 0.0, 1.0, self.nearest.double().flatten() - centre
        ball = Ball(centre, self.distance, self.norm)
        for _ in range(HALVINGS):
            middle = (least + most) / 2
            if self.offer((centre + middle * direction)[None], ball):
                most = middle
            else:
                least = middle

    def _inside(self, points: Tensor, ball: Ball) -> Tensor:
        """(K, channels, size, size) float32, never outside the ball: pixels are rounded towards the image."""
        centre = ball.centre
        away = ball.distance(points)[:, None]
        factor = torch.where(away > ball.radius, ball.radius / away.clamp(min=1e-300), 1.0)
        if ball.norm == "linf":
            points = points.clamp(ball.lower, ball.upper)
        else:
            points = (centre + factor * (points - centre)).clamp(0, 1)
        images = points.float()
        towards = centre.float().expand_as(images)
        for _ in range(2):
            outside = (images.double() - centre).abs() > (points - centre).abs()
            images = torch.where(outside, torch.nextafter(images, towards), images)
        return images.view(-1, *self.image.shape)


def _margin(logits: Tensor, label: int) -> Tensor:
    """(K,): of the label over the best other class; a tie counts for the label."""
    others = logits.clone()
    others[:, label] = -math.inf
    return logits[:, label] - others.amax(dim=1)
