"""All images of [0, 1] pixels within a distance of one image: the least value of linear functions on them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BISECTIONS = 60


@dataclass(frozen=True)
class Ball:
    """The ball of `radius` in `norm` (`linf`, `l2` or `l1`) around `centre`, (d,) float64, cut to [0, 1]."""

    centre: Tensor
    radius: float
    norm: str

    @property
    def lower(self) -> Tensor:
        """(d,): of every pixel."""
        return (self.centre - self.radius).clamp(0, 1)

    @property
    def upper(self) -> Tensor:
        return (self.centre + self.radius).clamp(0, 1)

    def minimum(self, coefficients: Tensor) -> Tensor:
        """The least value of c·x, for c of shape (…, d); differentiable in c."""
        point, correction = self._least(coefficients.detach())
        # By the envelope theorem the gradient is the minimiser.
        return (coefficients * point).sum(dim=-1) + correction

    def minimiser(self, coefficients: Tensor) -> Tensor:
        """The point at which c·x is least, (…, d)."""
        return self._least(coefficients)[0]

    def distance(self, points: Tensor) -> Tensor:
        """Distances of points (…, d) from the centre."""
        order = {"linf": float("inf"), "l2": 2.0, "l1": 1.0}[self.norm]
        distance: Tensor = torch.linalg.vector_norm(points - self.centre, ord=order, dim=-1)
        return distance

    def _least(self, c: Tensor) -> tuple[Tensor, Tensor | float]:
        """The minimiser, and what to add to its value so that it is never above the minimum."""
        if self.norm == "linf":
            return torch.where(c > 0, self.lower, self.upper), 0.0
        down, up = self.lower - self.centre, self.upper - self.centre
        if self.norm == "l1":
            room = torch.where(c > 0, -down, up)
            order = c.abs().argsort(dim=-1, descending=True)
            sorted_room = room.gather(-1, order)
            before = sorted_room.cumsum(dim=-1) - sorted_room
            taken = torch.minimum((self.radius - before).clamp(min=0), sorted_room)
            step = torch.zeros_like(c).scatter(-1, order, taken)
            return self.centre - step * c.sign(), 0.0
        # min c·s + λ(‖s‖² − r²) over the box is at s = −c/2λ, cut to the box; any λ ≥ 0 gives a bound. λ is bisected
        # until ‖s‖ = r.
        least = torch.zeros(c.shape[:-1], dtype=torch.float64)
        most = c.norm(dim=-1) / (2 * max(self.radius, 1e-12)) + 1e-12
        for _ in range(BISECTIONS):
            middle = (least + most) / 2
            outside = self._step(c, middle, down, up).norm(dim=-1) > self.radius
            least, most = torch.where(outside, middle, least), torch.where(outside, most, middle)
        step = self._step(c, most, down, up)
        return self.centre + step, most * (step.square().sum(dim=-1) - self.radius**2)

    @staticmethod
    def _step(c: Tensor, weight: Tensor, down: Tensor, up: Tensor) -> Tensor:
        return (-c / (2 * weight[..., None]).clamp(min=1e-300)).clamp(down, up)
