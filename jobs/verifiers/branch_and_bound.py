"""Branch and bound over open ReLUs, with linear bounds in every branch (Bunel 2020; Wang et al. 2021, β-CROWN).

A subproblem is a target class and a side, z ≥ 0 or z ≤ 0, for some ReLUs. Linear bounds of many subproblems are computed
together; where they don't suffice, the subproblem is split at another ReLU. With none left the network is linear: a
linear program gives the multipliers β, and the bound that they give settles it. A proof rests on float64 bounds alone,
never on a solver's word.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import torch
from scipy.optimize import linprog
from torch import Tensor, nn

from jobs.verifiers import Prover
from jobs.verifiers.ball import Ball
from jobs.verifiers.complete import Case, CompleteProver, Relaxed, bisect, matrices_of
from jobs.verifiers.matrices import Bounds, Layer
from jobs.verifiers.relaxation import Bounded, Choice, first_slopes, improve
from rsctl.catalog.declare import DataShape


def prepare(
    model: nn.Sequential, parameters: Any, *, shape: DataShape, norm: str, radii: list[float], precision: str
) -> Prover:
    """Prepare the verifier (see `jobs.verifiers`). Raises InputError for a layer that isn't affine or a ReLU, and for too many ReLUs."""
    executed, net = matrices_of(model, shape, "branch-and-bound", parameters.max_relus, precision)

    def settle(case: Case, radius: float, seconds: float) -> bool | None:
        ball = case.ball(radius)
        relaxed = case.relax(ball)
        if not relaxed.open:
            return True
        if case.search(ball):
            return False
        return Tree(case, relaxed, parameters).solve(time.monotonic() + seconds)

    def largest(case: Case) -> float:
        most = case.nearer()
        return bisect(case, settle, parameters.tolerance, case.relaxed_radius(most), most)

    return CompleteProver(executed, net, norm, radii, parameters.time_limit, settle, largest)


class Tree:
    """The open subproblems of one ball.

    `signs` (N, R) int8 holds 1 or −1 where a subproblem fixes one of the R ReLUs to a side, `slopes` and `multipliers`
    (N, R) the α and β of its bound, `value` (N,) the bound and `target` (N,) the class it is about.
    """

    def __init__(self, case: Case, relaxed: Relaxed, parameters: Any) -> None:
        self.case, self.ball, self.bounds, self.slack = case, relaxed.ball, relaxed.bounds, relaxed.slack
        self.layers: list[Layer] = case.net.layers
        self.batch, self.limit, self.steps = parameters.together, parameters.max_nodes, parameters.steps
        self.sizes = [len(layer.bias) for layer in self.layers[:-1]]
        count = len(relaxed.open)
        self.target = torch.tensor(relaxed.open)
        self.signs = torch.zeros((count, sum(self.sizes)), dtype=torch.int8)
        self.slopes = torch.cat([slope[0] for slope in first_slopes(self.bounds)], dim=1).expand(count, -1)
        self.multipliers = torch.zeros((count, sum(self.sizes)), dtype=torch.float64)
        self.value = torch.full((count,), -float("inf"), dtype=torch.float64)
        self.nodes = 0

    def solve(self, deadline: float) -> bool | None:
        """True when every branch is proved, False when a counterexample was found, None at the end of time or nodes."""
        if self._bound(self.target, self.signs, self.slopes, self.multipliers, replace=True):
            return False
        while len(self.target):
            if time.monotonic() > deadline or self.nodes > self.limit:
                return None
            rows = self.value.argsort()[: max(1, self.batch // 2)]
            choice, leaf = self._branch(rows)
            if leaf.any() and (verdict := self._leaf(int(rows[leaf.nonzero()[0, 0]]))) is not True:
                return verdict
            if leaf.any():
                continue
            target, signs = self.target[rows].repeat(2), self.signs[rows].repeat(2, 1)
            both = torch.arange(2 * len(rows))
            signs[both, choice.repeat(2)] = torch.tensor([1, -1], dtype=torch.int8).repeat_interleave(
                len(rows)
            )
            slopes, multipliers = self.slopes[rows].repeat(2, 1), self.multipliers[rows].repeat(2, 1)
            self._drop(rows)
            if self._bound(target, signs, slopes, multipliers):
                return False
        return True

    def _bound(
        self, target: Tensor, signs: Tensor, slopes: Tensor, multipliers: Tensor, *, replace: bool = False
    ) -> bool:
        """Bound subproblems and keep those that stay open; whether a counterexample turned up."""
        self.nodes += len(target)
        enough = self.slack[target]
        (found, choice), _ = self._improve(target, signs, slopes, multipliers, self.steps, enough[:, None])
        value = found.value[:, 0]
        open_ = (~(value > enough)).nonzero()[:, 0]
        if len(open_):
            points = self.ball.minimiser(found.image[open_, 0])
            if self._try(points, target[open_]):
                return True
        parts = (
            target,
            signs,
            *(torch.cat(part, dim=2)[:, 0] for part in (choice.slopes, choice.multipliers)),
            value,
        )
        names = ("target", "signs", "slopes", "multipliers", "value")
        for name, part in zip(names, parts, strict=True):
            kept = part[open_]
            setattr(self, name, kept if replace else torch.cat([getattr(self, name), kept]))
        return False

    def _try(self, points: Tensor, target: Tensor) -> bool:
        """True if one of the points that minimise bounds is a counterexample; the likeliest are executed."""
        logits = self.case.net.network(points.view(-1, *self.case.net.network.ops[0].shape))
        margin = logits[:, self.case.label] - logits.gather(1, target[:, None])[:, 0]
        likely = (margin < self.slack[target]).nonzero()[:, 0]
        likely = likely[margin[likely].argsort()][:4]
        return bool(len(likely)) and self.case.counterexamples.offer(points[likely], self.ball)

    def _branch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The ReLU to split each subproblem at, (N,), and whether it has none left to split.

        The score is what the ReLU's relaxation costs the bound, with the bias it lets through (Bunel 2020, BaBSR).
        """
        parts = (self.target[rows], self.signs[rows], self.slopes[rows], self.multipliers[rows])
        (found, _), bounds = self._improve(*parts, 0)
        scores = []
        for layer, (lower, upper), coefficient in zip(self.layers, bounds, found.coefficients, strict=False):
            part, share = coefficient[:, 0], upper / (upper - lower).clamp(min=1e-300)
            bias = torch.maximum(layer.bias * part * (share - 1), layer.bias * part * share)
            score = (bias + part.clamp(max=0) * -lower * share).abs()
            scores.append(torch.where((lower < 0) & (upper > 0), score + 1e-12, -1.0))
        best = torch.cat(scores, dim=1).max(dim=1)
        return best.indices, best.values < 0

    def _leaf(self, row: int) -> bool | None:
        """Settle a subproblem without open ReLUs, and drop it if it is proved."""
        one = slice(row, row + 1)
        target, signs = self.target[one], self.signs[one]
        split = self._split(signs)
        objective = self.case.margins()[0, target[0]]
        multipliers, point = _multipliers(self.layers, self._fixed(split), self.ball, objective, split)
        (found, _), _ = self._improve(target, signs, self.slopes[one], multipliers, 0)
        if bool(found.value[0, 0] > self.slack[target[0]]):
            self._drop(torch.tensor([row]))
            return True
        if point is not None and self.case.counterexamples.push(torch.from_numpy(point), self.ball):
            return False
        return None

    def _improve(
        self, target: Tensor, signs: Tensor, slopes: Tensor, multipliers: Tensor, steps: int, enough: Tensor | float = math.inf
    ) -> tuple[tuple[Bounded, Choice], list[Bounds]]:  # fmt: skip
        """The bounds of these subproblems after so many gradient steps, with their α and β, and those of their ReLUs."""
        split = self._split(signs)
        bounds = self._fixed(split)
        choice = Choice(
            *([part[:, None] for part in each.split(self.sizes, dim=1)] for each in (slopes, multipliers))
        )
        rows = self.case.margins()[0][target][:, None]
        return improve(self.layers, bounds, self.ball, rows, choice, steps, split, enough=enough), bounds

    def _split(self, signs: Tensor) -> list[Tensor]:
        return list(signs.double().split(self.sizes, dim=1))

    def _fixed(self, split: list[Tensor]) -> list[Bounds]:
        """The bounds of every subproblem: a fixed ReLU's have one side at 0."""
        return [
            (torch.where(sign > 0, lower.clamp(min=0), lower), torch.where(sign < 0, upper.clamp(max=0), torch.where(sign > 0, upper.clamp(min=0), upper)))
            for sign, (lower, upper) in zip(split, self.bounds, strict=True)
        ]  # fmt: skip

    def _drop(self, rows: Tensor) -> None:
        keep = torch.ones(len(self.target), dtype=torch.bool)
        keep[rows] = False
        for name in ("target", "signs", "slopes", "multipliers", "value"):
            setattr(self, name, getattr(self, name)[keep])


def _multipliers(
    layers: list[Layer], bounds: list[Bounds], ball: Ball, objective: Tensor, signs: list[Tensor]
) -> tuple[Tensor, np.ndarray | None]:
    """β (1, R) for a network that its fixed ReLUs make linear, from a linear program, and the image where it is least.

    min c·x over the ball with every fixed z on its side. Where no image is on all sides, the sides are relaxed at a price:
    the multipliers are those of the prices.
    """
    maps: list[tuple[Tensor, Tensor]] = []  # z of every layer as a function of the image
    size = len(ball.centre)
    outputs = {0: (torch.eye(size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64))}
    for number, layer in enumerate(layers):
        matrix = torch.stack([weight @ outputs[j][0] for j, weight in layer.weights.items()]).sum(dim=0)
        constant = layer.bias + torch.stack(
            [weight @ outputs[j][1] for j, weight in layer.weights.items()]
        ).sum(dim=0)
        maps.append((matrix, constant))
        if number < len(bounds):
            on = (bounds[number][0][0] >= 0).double()
            outputs[number + 1] = (matrix * on[:, None], constant * on)
    cost = (objective @ maps[-1][0]).numpy()
    sign = torch.cat(signs, dim=1)[0]
    fixed = sign.nonzero()[:, 0]
    matrix = torch.cat([m for m, _ in maps[:-1]])[fixed] * sign[fixed, None]
    constant = torch.cat([b for _, b in maps[:-1]])[fixed] * sign[fixed]
    values, point = _linear_program(cost, matrix.numpy(), constant.numpy(), ball)
    multipliers = torch.zeros((1, len(sign)), dtype=torch.float64)
    multipliers[0, fixed] = torch.from_numpy(values)
    return multipliers, point


def _linear_program(
    cost: np.ndarray, matrix: np.ndarray, constant: np.ndarray, ball: Ball
) -> tuple[np.ndarray, np.ndarray | None]:
    """Multipliers of Ax + b ≥ 0 in min c·x over the ball, and the minimiser, or None where there is no such x."""
    size, rows = len(cost), len(constant)
    limits = np.stack([ball.lower.numpy(), ball.upper.numpy()], axis=1)
    if ball.norm == "l1":
        # x = x0 + p − q with Σ(p + q) ≤ r
        centre = ball.centre.numpy()
        cost, constant = np.concatenate([cost, -cost]), constant + matrix @ centre
        matrix = np.concatenate([matrix, -matrix], axis=1)
        limits = np.concatenate([np.stack([0 * centre, limits[:, 1] - centre], 1), np.stack([0 * centre, centre - limits[:, 0]], 1)])  # fmt: skip
        extra, total = np.ones((1, 2 * size)), np.array([ball.radius])
    else:
        extra, total = np.zeros((0, size)), np.zeros(0)
    rows_up, limit = np.concatenate([-matrix, extra]), np.concatenate([constant, total])
    found = linprog(cost, rows_up, limit, bounds=limits, method="highs")
    if found.status == 0:
        x = found.x if ball.norm != "l1" else ball.centre.numpy() + found.x[:size] - found.x[size:]
        return np.maximum(-found.ineqlin.marginals[:rows], 0), x
    # No image lies on all sides, which the least total violation's multipliers show; large enough they outweigh the cost.
    slack = np.concatenate([-np.eye(rows), np.zeros((len(total), rows))])
    found = linprog(
        np.concatenate([np.zeros(len(cost)), np.ones(rows)]), np.concatenate([rows_up, slack], axis=1), limit,
        bounds=np.concatenate([limits, np.stack([np.zeros(rows), np.full(rows, np.inf)], 1)]), method="highs",
    )  # fmt: skip
    if found.status != 0 or found.fun <= 0:
        return np.zeros(rows), None
    heavy = (1 + np.abs(cost).sum()) / found.fun
    return np.maximum(-found.ineqlin.marginals[:rows], 0) * heavy, None
