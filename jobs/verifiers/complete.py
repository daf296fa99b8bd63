"""The search that complete verifiers share: one image at a time, three possible answers about a radius, a time limit."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from jobs.verifiers import Verdicts
from jobs.verifiers.ball import Ball
from jobs.verifiers.counterexample import Counterexamples
from jobs.verifiers.matrices import Bounds, Matrices, matrices
from jobs.verifiers.prover import SumsOfProducts
from jobs.verifiers.relaxation import layer_bounds, lower_bound
from jobs.verifiers.tracing import trace
from rsctl.catalog.declare import DataShape

SLOPE_STEPS = 20
"""Gradient steps on the slopes of the bounds of what goes into the ReLUs."""
SURE = 1e-9
"""Share added to the slack for the rounding of float64; that of float32, which it holds already, is ten million times larger."""
TRIES = 6
"""Searches for a nearer counterexample."""


@dataclass(frozen=True)
class Relaxed:
    """Linear bounds of the network over one ball."""

    ball: Ball
    bounds: list[Bounds]
    slack: Tensor
    """(classes,): a margin over this class that is larger is one in the executed function too."""
    open: list[int]
    """Classes that the linear bounds leave possible, the likeliest first."""


@dataclass
class Case:
    """One image (d,) float64 that is classified as its label, and how much time it may take."""

    net: Matrices
    centre: Tensor
    label: int
    norm: str
    counterexamples: Counterexamples
    deadline: float
    """Deadline on the monotonic clock."""

    @property
    def classes(self) -> int:
        return len(self.net.layers[-1].bias)

    @property
    def left(self) -> float:
        """Seconds."""
        return max(0.0, self.deadline - time.monotonic())

    @property
    def whole(self) -> float:
        """The radius of a ball that holds every image."""
        farthest = torch.maximum(self.centre, 1 - self.centre)
        return float(Ball(self.centre, 0.0, self.norm).distance(self.centre + farthest))

    def ball(self, radius: float) -> Ball:
        return Ball(self.centre, radius, self.norm)

    def margins(self) -> Tensor:
        """(1, classes, classes): f_label − f_c as rows over the logits."""
        rows = -torch.eye(self.classes, dtype=torch.float64)
        rows[:, self.label] += 1
        return rows[None]

    def relax(self, ball: Ball, steps: int = SLOPE_STEPS) -> Relaxed:
        bounds = layer_bounds(self.net.layers, ball, steps)
        with torch.no_grad():
            least = lower_bound(self.net.layers, bounds, ball, self.margins()).value[0]
        rounding = self.net.rounding(ball, bounds)
        slack = (rounding + rounding[self.label]) * (1 + SURE) + SURE
        least[self.label] = math.inf
        order = least.argsort().tolist()
        return Relaxed(ball, bounds, slack, [c for c in order if not least[c] > slack[c]])

    def search(self, ball: Ball) -> bool:
        return self.counterexamples.search(ball, self.classes)

    def nearer(self) -> float:
        """Search in smaller and smaller balls; the distance of the nearest counterexample, or that of the farthest image."""
        radius = self.whole
        for _ in range(TRIES):
            if self.left == 0 or not self.search(self.ball(radius)):
                break
            self.counterexamples.shrink()
            radius = 0.9 * self.counterexamples.distance
        return min(self.whole, self.counterexamples.distance)

    def relaxed_radius(self, most: float) -> float:
        """The largest radius that linear bounds prove, to a hundredth."""
        proved, failed = 0.0, most
        step = most / 8
        while failed - proved > 0.01 * failed and failed > 1e-6 and self.left:
            middle = (proved + failed) / 2 if proved else min(step, failed / 2)
            if self.relax(self.ball(middle), steps=0).open:
                failed = middle
            else:
                proved = middle
        return proved


Settle = Callable[[Case, float, float], bool | None]
"""(case, radius, seconds) → proved, refuted (a counterexample was found), or None for unknown."""


def settle_each(case: Case, radii: Sequence[float], settle: Settle) -> float:
    """The largest of some radii that is proved; refutes as many as it can, too."""
    pending = sorted({radius for radius in radii if radius > 0})
    proved = 0.0
    for radius in reversed(pending):
        if not case.relax(case.ball(radius), steps=0).open:
            proved = radius
            break
    for radius in pending:
        if radius > proved and case.search(case.ball(radius)):
            break
    tried: set[float] = set()
    while case.left:
        # What is proved holds for smaller radii, what is refuted is for larger ones.
        known = case.counterexamples.distance
        pending = [radius for radius in pending if proved < radius < known and radius not in tried]
        if not pending:
            break
        radius = pending[(len(pending) - 1) // 2]
        if settle(case, radius, case.left / len(pending)):
            proved = radius
        tried.add(radius)
    return proved


def bisect(case: Case, settle: Settle, tolerance: float, proved: float, failed: float) -> float:
    """The largest radius from `proved` to `failed` that can be proved in the time, to a relative tolerance if that suffices."""
    while case.left and failed - proved > tolerance * failed:
        middle = (proved + failed) / 2
        verdict = settle(case, middle, case.left / 2)
        if verdict:
            proved = middle
        else:
            if verdict is False:
                case.counterexamples.shrink()
            failed = min(middle, case.counterexamples.distance)
    return math.inf if proved >= case.whole else proved


@dataclass
class CompleteProver:
    """Answers about one image after the other: `settle` proves or refutes a radius, `largest` finds one where no `radii` are given."""

    executed: nn.Module
    net: Matrices
    norm: str
    radii: Sequence[float]
    time_limit: float
    settle: Settle
    largest: Callable[[Case], float]
    batch: int = 1

    def verify(self, images: Tensor, labels: Tensor) -> Verdicts:
        """Images (N, C, H, W) float32 in [0, 1]; one that is classified wrongly gets radius 0."""
        device, images, labels = images.device, images.cpu(), labels.cpu()
        with torch.no_grad():
            predicted = torch.cat(
                [self.executed(image[None].to(device)).argmax(dim=1).cpu() for image in images]
            )
        radius = torch.zeros(len(images), dtype=torch.float64)
        broken, found = torch.full_like(radius, math.inf), images.clone()
        for row in (predicted == labels).nonzero()[:, 0].tolist():
            label, image = int(labels[row]), images[row]
            seen = Counterexamples(self.executed, image, label, self.norm, device)
            deadline = time.monotonic() + self.time_limit
            case = Case(self.net, image.double().flatten(), label, self.norm, seen, deadline)
            proved = settle_each(case, self.radii, self.settle) if self.radii else self.largest(case)
            if seen.nearest is not None and proved >= seen.distance:
                raise RuntimeError(
                    f"An image at distance {seen.distance} is classified otherwise, within the radius {proved} that was "
                    "proved: one of the two is wrong. Please report it, with the model."
                )
            radius[row], broken[row] = proved, seen.distance
            if seen.nearest is not None:
                found[row] = seen.nearest
        return Verdicts(*(part.to(device) for part in (predicted, radius, broken, found)))


def matrices_of(
    model: nn.Sequential, shape: DataShape, verifier: str, most: int, precision: str
) -> tuple[nn.Module, Matrices]:
    """The function as executed, and its matrices on the CPU; raises InputError for what can't be solved."""
    executed = SumsOfProducts(model, precision).requires_grad_(False)
    network = trace(copy.deepcopy(executed).cpu(), (shape.channels, shape.size, shape.size))
    return executed, matrices(network, most=most, verifier=verifier)
