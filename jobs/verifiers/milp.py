"""Complete verification as a mixed-integer program (Tjeng, Xiao, Tedrake 2019), solved by HiGHS.

Given radii, each is proved, refuted by a counterexample, or unknown when the time is over. Without radii the program's
least value is the distance of the nearest image that is classified otherwise.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from jobs.verifiers import Prover
from jobs.verifiers.ball import Ball
from jobs.verifiers.complete import Case, CompleteProver, Relaxed, bisect, matrices_of
from jobs.verifiers.program import TOLERANCE, Program, SolverResult
from rsctl.catalog.declare import DataShape

INSIDE = 1e-4
"""Required margin of another class over the label where a point on the edge of its region is no counterexample."""


def prepare(
    model: nn.Sequential, parameters: Any, *, shape: DataShape, norm: str, radii: list[float], precision: str
) -> Prover:
    """Prepare the verifier (see `jobs.verifiers`). Raises InputError for a layer that isn't affine or a ReLU, and for too many ReLUs."""
    executed, net = matrices_of(model, shape, "milp", parameters.max_relus, precision)
    return CompleteProver(executed, net, norm, radii, parameters.time_limit, settle, largest)


def settle(case: Case, radius: float, seconds: float) -> bool | None:
    """True if no image in the ball of this radius is classified otherwise, False if one is, None if undecided."""
    # The solver may take what is off by its tolerance for outside.
    ball = case.ball(radius + 2 * TOLERANCE)
    relaxed = case.relax(ball)
    if not relaxed.open:
        return True
    if case.search(case.ball(radius)):
        return False
    program = Program(case.net.layers, relaxed.bounds, ball)
    end, unsettled = case.left - seconds, list(relaxed.open)
    # First each class gets a share of half the time, for any may have a counterexample; then the hard ones get the rest.
    for patient in (False, True):
        for target in list(unsettled):
            left = max(0.0, case.left - end)
            share = left if patient else left / (2 * len(unsettled))
            answer = program.solve(case.label, target, float(relaxed.slack[target]), share)
            if _counts(case, program, target, answer, case.ball(radius), share):
                return False
            if answer.nearest > radius:
                unsettled.remove(target)
    return None if unsettled else True


def largest(case: Case) -> float:
    """The distance below which no image is classified otherwise, as far as it is known when the time is over."""
    most = case.nearer()
    proved = case.relaxed_radius(most)
    nearest = _nearest(case, most, 0.5 * case.left)
    if nearest > proved:
        return nearest
    # Too many ReLUs are open in the ball that holds the counterexample; smaller balls have fewer.
    return bisect(case, settle, 1e-3, proved, min(most, case.counterexamples.distance))


def _nearest(case: Case, most: float, seconds: float) -> float:
    """The least value of the program of every target: a bound on the distance of any counterexample, inf for none."""

    def within(radius: float) -> tuple[Ball, Relaxed, Program]:
        ball = case.ball(radius)
        relaxed = case.relax(ball)
        return ball, relaxed, Program(case.net.layers, relaxed.bounds, ball)

    ball, relaxed, program = within(most + 2 * TOLERANCE)
    targets, nearest, end = relaxed.open, math.inf, case.left - seconds
    for done, target in enumerate(targets):
        closer = case.counterexamples.distance + 2 * TOLERANCE
        if closer < 0.99 * ball.radius:
            # In the smaller ball of a nearer counterexample fewer ReLUs are open.
            ball, relaxed, program = within(closer)
        if target not in relaxed.open:
            continue
        left = (case.left - end) / (len(targets) - done)
        answer = program.solve(case.label, target, float(relaxed.slack[target]), left)
        if answer.nearest == 0:
            return 0.0
        nearest = min(nearest, answer.nearest)
        if _counts(case, program, target, answer, ball, left):
            case.counterexamples.shrink()
    return nearest


def _counts(
    case: Case, program: Program, target: int, answer: SolverResult, ball: Ball, seconds: float
) -> bool:
    """True if the solver's point leads to a counterexample."""
    if answer.point is None:
        return False
    if case.counterexamples.push(torch.from_numpy(answer.point), ball):
        return True
    # On the edge of the other class's region, out of which the straight way leads again: ask for a point inside.
    inside = program.solve(case.label, target, -INSIDE, min(seconds, case.left))
    return inside.point is not None and case.counterexamples.push(torch.from_numpy(inside.point), ball)
