"""Branch and bound: its three answers, its limits, and bounds that hold for any α and β."""

from __future__ import annotations

import math
import time

import pytest
import torch
from test_milp import SHAPE, image_and_label, random_model
from torch import nn

from jobs.models.load import Executed
from jobs.verifiers import Prover, branch_and_bound
from jobs.verifiers.ball import Ball
from jobs.verifiers.branch_and_bound import Tree
from jobs.verifiers.complete import Case
from jobs.verifiers.counterexample import Counterexamples
from jobs.verifiers.matrices import Matrices, matrices
from jobs.verifiers.relaxation import Choice, layer_bounds, lower_bound
from jobs.verifiers.tracing import trace
from rsctl.catalog import known_verifiers
from rsctl.catalog.declare import DataShape
from rsctl.errors import InputError


def prover(model: nn.Module, radii: list[float] | None = None, norm: str = "linf", **own: float) -> Prover:
    parameters = known_verifiers()["branch-and-bound"].parameters(**{"time_limit": 600.0, **own})
    return branch_and_bound.prepare(
        model, parameters, shape=DataShape(1, 4, 3, {}), norm=norm, radii=radii or [], precision="fp32"
    )


def net_of(model: nn.Module) -> Matrices:
    return matrices(trace(Executed(model, "fp32"), SHAPE), most=1000, verifier="branch-and-bound")


def tree_of(
    model: nn.Module, image: torch.Tensor, label: torch.Tensor, radius: float, **own: float
) -> tuple[Tree, int]:
    """The open subproblems of a ball, and how many the linear bounds alone leave open."""
    net, ball = net_of(model), Ball(image.double().flatten(), radius, "linf")
    seen = Counterexamples(Executed(model, "fp32"), image[0], int(label), "linf")
    case = Case(net, ball.centre, int(label), "linf", seen, time.monotonic() + 600)
    relaxed = case.relax(ball)
    return Tree(case, relaxed, known_verifiers()["branch-and-bound"].parameters(**own)), len(relaxed.open)


@pytest.fixture(scope="module")
def settled() -> list[tuple[nn.Module, torch.Tensor, torch.Tensor, float, float]]:
    """Models with an image, its label, and the two radii between which nothing is known."""
    found = []
    for seed in range(4):
        model = random_model(10, 10, seed=seed)
        image, label = image_and_label(model)
        said = prover(model, tolerance=0.01).verify(image, label)
        found.append((model, image, label, float(said.radius), float(said.broken)))
    return found


Settled = list[tuple[nn.Module, torch.Tensor, torch.Tensor, float, float]]


def test_what_bounds_leave_open_is_split_until_it_is_settled(settled: Settled) -> None:
    split = 0
    for model, image, label, radius, broken in settled:
        assert 0.97 * broken < radius < broken < math.inf
        tree, open_ = tree_of(model, image, label, 0.99 * radius)
        assert tree.solve(time.monotonic() + 600) is True
        split += tree.nodes > open_ > 0
    assert split >= 2, "linear bounds alone prove them: the test needs harder networks"


def test_a_ball_with_a_counterexample_is_never_proved(
    settled: Settled, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Even where none is recognised: every branch has to stay open or to end in doubt.
    monkeypatch.setattr(Counterexamples, "offer", lambda *_: False)
    for model, image, label, _, broken in settled:
        for further in (1.0001, 1.01, 1.1):
            tree, open_ = tree_of(model, image, label, further * broken, max_nodes=3000)
            assert open_
            assert tree.solve(time.monotonic() + 600) is None


def test_a_side_that_is_fixed_is_bounded_as_that_side() -> None:
    """Of every open ReLU both sides: its bounds end at 0, and the bound holds for the ball's images on that side."""
    torch.manual_seed(0)
    model = random_model(10, 10, seed=1)
    image, label = image_and_label(model)
    tree, _ = tree_of(model, image, label, 0.3)
    points = tree.ball.lower + torch.rand(20_000, 16).double() * (tree.ball.upper - tree.ball.lower)
    results, before = [points], []
    for layer in tree.layers:
        before.append(layer.bias + sum(results[j] @ weight.T for j, weight in layer.weights.items()))
        results.append(before[-1].relu())
    margin = before[-1][:, int(label), None] - before[-1]
    rows = tree.case.margins()[0][tree.target][:, None]
    parent = lower_bound(tree.layers, tree.bounds, tree.ball, rows).value[:, 0]
    better, number = 0, 0
    for layer_number, (lower, upper) in enumerate(tree.bounds):
        for unit in range(lower.shape[1]):
            for side in (1, -1) if lower[0, unit] < 0 < upper[0, unit] else ():
                signs = torch.zeros_like(tree.signs)
                signs[:, number] = side
                fixed = tree._fixed(tree._split(signs))
                low, high = fixed[layer_number][0][:, unit], fixed[layer_number][1][:, unit]
                assert (low == 0).all() if side > 0 else (high == 0).all()
                value = lower_bound(tree.layers, fixed, tree.ball, rows).value[:, 0]
                there = side * before[layer_number][:, unit] >= 0
                if there.any():
                    assert (value <= margin[there][:, tree.target].amin(dim=0) + 1e-9).all()
                better += int((value > parent + 1e-6).sum())
            number += 1
    assert better > 10


@pytest.mark.parametrize(("limit", "value"), [("max_nodes", 2), ("time_limit", 1e-3)])
def test_a_limit_is_unknown(limit: str, value: float, settled: Settled) -> None:
    seen = 0
    for model, image, label, radius, _ in settled:
        if tree_of(model, image, label, 0.99 * radius)[1]:
            seen += 1
            said = prover(model, [0.99 * radius], **{limit: value}).verify(image, label)
            assert float(said.radius) == 0
            assert float(said.broken) == math.inf
    assert seen


def test_every_slope_and_multiplier_gives_a_bound_that_holds() -> None:
    generator = torch.Generator().manual_seed(0)
    for seed in range(5):
        model = random_model(6, 5, seed=seed)
        image, _ = image_and_label(model)
        net = net_of(model)
        for norm, radius in (("linf", 0.2), ("l2", 0.4), ("l1", 1.0)):
            ball = Ball(image.double().flatten(), radius, norm)
            bounds = layer_bounds(net.layers, ball, 3)
            signs = [
                torch.randint(-1, 2, (8, lower.shape[1]), generator=generator).double() for lower, _ in bounds
            ]
            fixed = [
                (
                    torch.where(sign > 0, lower.clamp(min=0), lower),
                    torch.where(
                        sign < 0, upper.clamp(max=0), torch.where(sign > 0, upper.clamp(min=0), upper)
                    ),
                )
                for sign, (lower, upper) in zip(signs, bounds, strict=True)
            ]
            choice = Choice(
                [torch.rand((8, 1, sign.shape[1]), generator=generator).double() for sign in signs],
                [torch.rand((8, 1, sign.shape[1]), generator=generator).double() for sign in signs],
            )
            rows = torch.randn((8, 2, 3), generator=generator).double()
            found = lower_bound(net.layers, fixed, ball, rows, choice, signs).value
            directions = torch.randn((4000, 16), generator=generator).double()
            points = torch.cat(
                [
                    ball.minimiser(directions),
                    ball.centre + torch.rand((4000, 1)).double() * (ball.minimiser(directions) - ball.centre),
                ]
            )
            values, inside = {0: points}, torch.ones((8, len(points)), dtype=torch.bool)
            for number, layer in enumerate(net.layers, 1):
                z = layer.bias + torch.stack([values[j] @ w.T for j, w in layer.weights.items()]).sum(dim=0)
                if number <= len(bounds):
                    lower, upper = bounds[number - 1]
                    assert (z >= lower).all()
                    assert (z <= upper).all()
                    inside &= (signs[number - 1][:, None] * z[None] >= 0).all(dim=2)
                values[number] = z.relu()
            for subproblem in range(8):
                here = z[inside[subproblem]]
                if len(here):
                    least = (here @ rows[subproblem].T).min(dim=0).values
                    assert (found[subproblem] <= least + 1e-9).all(), (seed, norm, subproblem)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_the_least_value_on_a_ball_is_that_of_its_minimiser(norm: str) -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        centre = torch.rand(5, generator=generator).double()
        ball = Ball(centre, float(torch.rand((), generator=generator)) * 2, norm)
        c = torch.randn((7, 5), generator=generator).double()
        point, value = ball.minimiser(c), ball.minimum(c)
        assert (ball.distance(point) <= ball.radius + 1e-9).all()
        assert (point >= 0).all()
        assert (point <= 1).all()
        assert torch.allclose((c * point).sum(dim=1), value, atol=1e-6)
        others = torch.rand((5000, 5), generator=generator).double()
        others = others[ball.distance(others) <= ball.radius]
        assert (c @ others.T >= value[:, None] - 1e-12).all()


def test_too_many_relus_and_layers_of_another_kind_are_named() -> None:
    with pytest.raises(InputError, match=r"branch-and-bound takes at most max_relus = 10"):
        prover(random_model(20), max_relus=10)


def test_a_counterexample_is_an_image_of_the_ball() -> None:
    model = random_model(20, 20)
    image, label = image_and_label(model)
    for norm, radius in (("linf", 0.4), ("l1", 3.0)):
        said = prover(model, [radius], norm=norm).verify(image, label)
        assert float(said.broken) <= radius
        assert said.counterexample is not None
        difference = (said.counterexample.double() - image.double()).flatten()
        assert torch.linalg.vector_norm(difference, math.inf if norm == "linf" else 1) == said.broken
        assert Executed(model, "fp32")(said.counterexample).argmax() != label
        assert said.counterexample.min() >= 0
        assert said.counterexample.max() <= 1
