"""The mixed-integer program whose least value is the distance of the nearest image that is classified otherwise.

A ReLU v = max(z, 0) with l ≤ z ≤ u and l < 0 < u gets a binary a (Tjeng, Xiao, Tedrake 2019, section 4.1)

    v ≥ 0,  v ≥ z,  v ≤ ua,  v ≤ z − l(1 − a)

and none where the sign of z is known. HiGHS solves it, through `scipy.optimize.milp`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import Bounds as Limits
from scipy.optimize import LinearConstraint, milp

from jobs.verifiers.ball import Ball
from jobs.verifiers.matrices import Bounds, Layer

Floats = NDArray[np.float64]

TOLERANCE = 1e-6
"""HiGHS accepts rows, binaries and gaps that are off by this much: what is proved is stated so much smaller, and the
margin of an image counts as lost when it is still so much above 0, relative to the size of the logits' weights."""
OPTIMAL, STOPPED, INFEASIBLE = 0, 1, 2
"""Statuses of `scipy.optimize.milp`; every other one settles nothing."""


@dataclass(frozen=True)
class SolverResult:
    """The solver's result about images that are classified as one target."""

    nearest: float
    """Lower bound of their distance; inf where the ball holds none, 0 where nothing is known."""
    point: Floats | None
    """(d,): such an image, as the solver found it, or None."""


class Program:
    """The rows that all targets share, for one ball and the `bounds` (1, units) of what goes into each ReLU layer in it.

    `layers` are the network's, in exact arithmetic.
    """

    def __init__(self, layers: Sequence[Layer], bounds: Sequence[Bounds], ball: Ball) -> None:
        self.layers, self.ball = layers, ball
        self.rows: list[tuple[sparse.coo_array, Floats, Floats]] = []
        self.lower: list[Floats] = []
        self.upper: list[Floats] = []
        self.binary: list[Floats] = []
        self.columns = 0
        self.values = [self._columns(ball.lower.numpy(), ball.upper.numpy())]
        for layer, (lower, upper) in zip(layers, bounds, strict=False):
            self._relu(layer, lower[0].numpy(), upper[0].numpy())
        self.objective = self._distance()

    @property
    def binaries(self) -> int:
        return int(sum(part.sum() for part in self.binary))

    def solve(self, label: int, target: int, slack: float, seconds: float) -> SolverResult:
        """The nearest image in the ball with logits f_label − f_target ≤ slack.

        `seconds` is the time limit; what isn't settled until then is said to be unknown.
        """
        if seconds <= 0:
            return SolverResult(0.0, None)
        row, constant = self._margin(label, target)
        scale = max(1.0, float(abs(row).max()))
        rows = [*self.rows, (row, np.array([-math.inf]), np.array([slack + TOLERANCE * scale - constant]))]
        matrix = sparse.vstack([self._wide(part) for part, _, _ in rows]).tocsr()
        found = milp(
            self.objective,
            integrality=np.concatenate(self.binary),
            bounds=Limits(np.concatenate(self.lower), np.concatenate(self.upper)),
            constraints=LinearConstraint(
                matrix, np.concatenate([low for _, low, _ in rows]), np.concatenate([high for _, _, high in rows])
            ),
            options={"time_limit": seconds, "mip_rel_gap": 0.0},
        )  # fmt: skip
        if found.status == INFEASIBLE:
            return SolverResult(math.inf, None)
        point = None if found.x is None else found.x[self.values[0]]
        # Without binaries it is a linear program, whose value is the bound; a solver that was stopped has the bound of
        # the nodes that it still had open, and none before it found an image.
        bound = None
        if self.binaries and found.status in (OPTIMAL, STOPPED):
            bound = found.mip_dual_bound
        elif found.status == OPTIMAL:
            bound = found.fun
        return SolverResult(0.0 if bound is None else max(0.0, float(bound) - TOLERANCE), point)

    def _columns(self, lower: Floats, upper: Floats, *, binary: bool = False) -> NDArray[np.int64]:
        count = len(lower)
        self.lower.append(lower)
        self.upper.append(upper)
        self.binary.append(np.full(count, float(binary)))
        self.columns += count
        return np.arange(self.columns - count, self.columns)

    def _relu(self, layer: Layer, lower: Floats, upper: Floats) -> None:
        on, off = lower >= 0, upper <= 0
        open_ = ~(on | off)
        value = self._columns(np.where(off, 0.0, np.maximum(lower, 0)), np.maximum(upper, 0))
        binary = self._columns(np.zeros(open_.sum()), np.ones(open_.sum()), binary=True)
        bias = layer.bias.numpy()
        for which in (on, open_):
            # v ≥ z, and v ≤ z where it is on.
            rest = self._combination(layer, which) + self._pick(value[which])
            self.rows.append(
                (rest, bias[which], bias[which] if which is on else np.full(which.sum(), math.inf))
            )
        rest = self._combination(layer, open_) + self._pick(value[open_]) + self._pick(binary, -lower[open_])
        self.rows.append((rest, np.full(open_.sum(), -math.inf), (bias - lower)[open_]))
        rest = self._pick(value[open_]) + self._pick(binary, -upper[open_])
        self.rows.append((rest, np.full(open_.sum(), -math.inf), np.zeros(open_.sum())))
        self.values.append(value)

    def _distance(self) -> Floats:
        """Columns and rows for the distance of the image; returns the objective."""
        image, centre = self.values[0], self.ball.centre.numpy()
        size = len(image)
        if self.ball.norm == "linf":
            most = self._columns(np.zeros(1), np.array([self.ball.radius]))
            for sign in (1.0, -1.0):
                rest = self._pick(image, np.full(size, sign)) + self._pick(
                    np.repeat(most, size), -np.ones(size)
                )
                self.rows.append((rest, np.full(size, -math.inf), sign * centre))
            counted = most
        else:
            away, back = (self._columns(np.zeros(size), np.ones(size)) for _ in range(2))
            rest = self._pick(image) + self._pick(away, -np.ones(size)) + self._pick(back)
            self.rows.append((rest, centre, centre))
            counted = np.concatenate([away, back])
            total = sparse.coo_array((np.ones(2 * size), (np.zeros(2 * size, dtype=int), counted)), shape=(1, self.columns))  # fmt: skip
            self.rows.append((total, np.zeros(1), np.array([self.ball.radius])))
        objective = np.zeros(self.columns)
        objective[counted] = 1.0
        return objective

    def _margin(self, label: int, target: int) -> tuple[sparse.coo_array, float]:
        last = self.layers[-1]
        parts = [
            ((weight[label] - weight[target]).numpy(), self.values[j]) for j, weight in last.weights.items()
        ]
        values, columns = (np.concatenate(each) for each in zip(*parts, strict=True))
        row = sparse.coo_array((values, (np.zeros(len(values), dtype=int), columns)), shape=(1, self.columns))
        return row, float(last.bias[label] - last.bias[target])

    def _combination(self, layer: Layer, which: NDArray[np.bool_]) -> sparse.coo_array:
        """−Wv of some rows of a layer."""
        total = sparse.coo_array((int(which.sum()), self.columns))
        for j, weight in layer.weights.items():
            part = sparse.coo_array(-weight.numpy()[which])
            placed = (part.data, (part.coords[0], self.values[j][part.coords[1]]))
            total = total + sparse.coo_array(placed, shape=total.shape)
        return total

    def _pick(self, columns: NDArray[np.int64], values: Floats | None = None) -> sparse.coo_array:
        """One column with a factor in every row."""
        factors = np.ones(len(columns)) if values is None else values
        return sparse.coo_array(
            (factors, (np.arange(len(columns)), columns)), shape=(len(columns), self.columns)
        )

    def _wide(self, part: sparse.coo_array) -> sparse.coo_array:
        """Rows that were written before the last columns existed."""
        part = sparse.coo_array(part)
        return sparse.coo_array((part.data, part.coords), shape=(part.shape[0], self.columns))
