"""The mixed-integer verifier: what it says when time is over, what it refuses, and how it reads its solver."""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pytest
import torch
from scipy.optimize import OptimizeResult
from torch import nn

from jobs.models import build_model
from jobs.models.load import Executed
from jobs.models.normalize import Normalize
from jobs.verifiers import milp, program
from jobs.verifiers.ball import Ball
from jobs.verifiers.matrices import matrices
from jobs.verifiers.relaxation import layer_bounds
from jobs.verifiers.tracing import trace
from rsctl.catalog import known_datasets, known_verifiers
from rsctl.catalog.declare import DataShape
from rsctl.errors import InputError

SHAPE = (1, 4, 4)


def random_model(*widths: int, seed: int = 0) -> nn.Sequential:
    """A multilayer perceptron with random weights: the open ReLUs grow fast with the radius."""
    torch.manual_seed(seed)
    sizes = [math.prod(SHAPE), *widths]
    layers = [nn.Flatten()]
    for before, after in itertools.pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    network = nn.Sequential(*layers, nn.Linear(sizes[-1], 3))
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5)
    return nn.Sequential(Normalize((0.5,), (0.25,)), network).eval()


def prover(
    model: nn.Module, radii: list[float] | None = None, norm: str = "linf", **own: float
) -> milp.Prover:
    parameters = known_verifiers()["milp"].parameters(**own)
    return milp.prepare(
        model, parameters, shape=DataShape(1, 4, 3, {}), norm=norm, radii=radii or [], precision="fp32"
    )


def image_and_label(model: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    image = torch.rand((1, *SHAPE), generator=torch.Generator().manual_seed(1))
    return image, model(image).argmax(dim=1)


def program_of(model: nn.Module, image: torch.Tensor, radius: float) -> program.Program:
    net = matrices(trace(Executed(model, "fp32"), SHAPE), most=1000, verifier="milp")
    ball = Ball(image.double().flatten(), radius, "linf")
    return program.Program(net.layers, layer_bounds(net.layers, ball, 0), ball)


@pytest.mark.parametrize("radii", [[], [0.3]])
def test_a_time_out_is_unknown_and_takes_no_longer_than_it_may(
    radii: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without the search for counterexamples the hard program is all there is.
    monkeypatch.setattr("jobs.verifiers.counterexample.Counterexamples.search", lambda *_: False)
    model = random_model(60, 60)
    image, label = image_and_label(model)
    started = time.monotonic()
    said = prover(model, radii, time_limit=1.0).verify(image, label)
    assert time.monotonic() - started < 4
    assert float(said.radius) < 0.3
    assert said.broken.item() == math.inf or said.broken.item() > float(said.radius)


def test_no_time_proves_nothing() -> None:
    model = random_model(30, 30)
    image, label = image_and_label(model)
    said = prover(model, [0.2], time_limit=1e-9).verify(image, label)
    assert float(said.radius) == 0


@pytest.mark.parametrize(
    ("status", "bound", "value", "nearest"),
    [
        (0, 0.25, 0.25, 0.25 - program.TOLERANCE),
        (1, 0.1, 0.4, 0.1 - program.TOLERANCE),  # stopped: the bound, not the value of the best image so far
        (1, None, None, 0.0),
        (2, None, None, math.inf),
        (4, None, None, 0.0),
        (4, 0.3, 0.3, 0.0),
    ],
)
def test_only_the_solvers_bound_is_proved(
    status: int, bound: float | None, value: float | None, nearest: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_model(8)
    image, label = image_and_label(model)
    of_ball = program_of(model, image, 0.3)
    assert of_ball.binaries
    x = None if value is None else np.zeros(of_ball.columns)
    result = OptimizeResult(status=status, fun=value, mip_dual_bound=bound, x=x)
    monkeypatch.setattr(program, "milp", lambda *_, **__: result)
    answer = of_ball.solve(int(label), (int(label) + 1) % 3, 0.0, 1.0)
    assert answer.nearest == nearest
    assert (answer.point is None) == (value is None)


def test_without_open_relus_it_is_a_linear_program() -> None:
    model = random_model(4)
    with torch.no_grad():
        model[1][1].bias.fill_(100.0)
    image, label = image_and_label(model)
    of_ball = program_of(model, image, 1.0)
    assert of_ball.binaries == 0
    said = prover(model).verify(image, label)
    assert float(said.radius) > 0
    assert float(said.radius) > 0.95 * float(said.broken) or float(said.broken) == math.inf


def test_a_wrong_image_gets_no_work() -> None:
    model = random_model(60, 60)
    image, label = image_and_label(model)
    said = prover(model).verify(image, (label + 1) % 3)
    assert float(said.radius) == 0
    assert said.predicted.item() == label.item()


def test_the_norm_counts() -> None:
    model = random_model(6)
    image, label = image_and_label(model)
    linf, l1 = (prover(model, norm=norm).verify(image, label) for norm in ("linf", "l1"))
    assert float(linf.radius) < float(l1.radius) <= 16 * float(linf.broken)


def test_too_many_relus_are_counted() -> None:
    with pytest.raises(InputError, match=r"it has 120 ReLUs, and milp takes at most max_relus = 100"):
        prover(random_model(60, 60), max_relus=100)


def test_an_unsupported_layer_is_named() -> None:
    model = nn.Sequential(
        Normalize((0.5,), (0.25,)), nn.Sequential(nn.Flatten(), nn.Linear(16, 3), nn.Tanh())
    ).eval()
    with pytest.raises(InputError, match=r"Tanh.*Supported"):
        prover(model)


def test_a_network_that_may_overflow_is_refused() -> None:
    """In exact arithmetic its margins are fine; the float32 function gives infinities."""
    model = random_model(4, 8, 3)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.Linear):
                layer.weight.mul_(1e25)
    with pytest.raises(InputError, match="overflow"):
        prover(model)


def test_another_precision_is_refused() -> None:
    with pytest.raises(InputError, match="float32"):
        milp.prepare(
            random_model(4),
            known_verifiers()["milp"].parameters(),
            shape=DataShape(1, 4, 3, {}),
            norm="linf",
            radii=[],
            precision="bf16",
        )


def test_the_projects_networks_become_matrices_that_compute_the_same() -> None:
    torch.manual_seed(0)
    for name, parameters in (("cnn", {"width": 2}), ("resnet20", {})):
        model = build_model(
            name, parameters, dataset=known_datasets()["digits"], shape=DataShape(1, 8, 10, {})
        ).eval()
        with torch.no_grad():
            for layer in model.modules():
                if isinstance(layer, nn.BatchNorm2d):
                    layer.running_mean.normal_()
                    layer.running_var.uniform_(0.5, 2)
                    layer.bias.normal_()
        net = matrices(trace(Executed(model, "fp32"), (1, 8, 8)), most=10**6, verifier="milp")
        images = torch.rand((5, 1, 8, 8))
        values = {0: images.double().flatten(1)}
        for number, layer in enumerate(net.layers, 1):
            z = layer.bias + torch.stack([values[j] @ w.T for j, w in layer.weights.items()]).sum(dim=0)
            values[number] = z.relu()
        with torch.no_grad():
            expected = model.double()(images.double())
        assert torch.allclose(z, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
