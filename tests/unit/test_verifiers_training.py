"""Training against bounds and margins: schedules, bounds that hold, constants that the verifier finds too."""

from __future__ import annotations

import importlib
import itertools
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from jobs.methods.lipschitz_margin import exponent, margin_constants
from jobs.models import Normalize
from jobs.models.architectures import linf_distance, lipschitz_mlp
from jobs.models.architectures.linf_distance import Distance
from jobs.state import TrainingState
from jobs.verifiers import lipschitz
from jobs.verifiers.tracing import trace
from jobs.worst_case import WorstCase, ramp
from rsctl.catalog import known_methods
from rsctl.catalog.declare import DataShape

B, CLASSES, SHAPE = 6, 3, (1, 2, 2)


def relu_net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        Normalize([0.3], [0.4]),
        nn.Sequential(nn.Flatten(), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, CLASSES)),
    )


def state_for(name: str, epoch: float, **changes: Any) -> TrainingState:
    values = {**known_methods()[name].parameters().model_dump(), **changes}
    images = SimpleNamespace(shape=DataShape(1, 2, CLASSES, {}))
    state = TrainingState(
        0.0, values, 0.0, 0, torch.device("cpu"), images, 100, build=lambda _: relu_net(), load=lambda _: relu_net(), sigma_of=lambda _: 0.0,
        sum=lambda tensor: tensor, optimizer=torch.optim.SGD(relu_net().parameters(), lr=0.1),
    )  # fmt: skip
    state.epoch, state.batch = epoch, (B, *SHAPE)
    return state


def batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(4)
    return torch.rand(B, *SHAPE), torch.randint(CLASSES, (B,))


def test_before_epsilon_grows_training_is_ordinary() -> None:
    model, (x, y) = relu_net(), batch()
    for name in ("ibp", "crown-ibp"):
        state = state_for(name, 1.0, epsilon_start=2.0)
        value, _ = importlib.import_module(known_methods()[name].module).loss(model, x, y, state)
        torch.testing.assert_close(value, nn.functional.cross_entropy(model(x), y))


def test_epsilon_grows_from_0_to_1_and_the_smoothed_ramp_has_no_kink() -> None:
    for shape in ("linear", "smoothed"):
        values = [ramp(2 + 5 * t / 1000, 2, 5, shape) for t in range(1001)]
        assert values[0] == 0
        assert values[-1] == pytest.approx(1)
        assert all(after >= before for before, after in itertools.pairwise(values))
        slopes = [after - before for before, after in itertools.pairwise(values)]
        assert shape == "linear" or max(abs(b - a) for a, b in itertools.pairwise(slopes)) < 3e-5
        assert ramp(0, 2, 5, shape) == 0
        assert ramp(99, 2, 5, shape) == 1
    assert ramp(0.0, 0.0, 0.0) == 1


def test_bounds_in_training_hold() -> None:
    model, (x, y) = relu_net(), batch()
    bounds = WorstCase(model, x, 0.15)
    points = (x[:, None] + 0.15 * (2 * torch.rand(B, 500, *SHAPE) - 1).sign()).clamp(0, 1)
    logits = model(points.flatten(0, 1)).view(B, 500, CLASSES)
    seen = (logits.gather(2, y[:, None, None].expand(-1, 500, 1)) - logits).amin(1)
    for worst in (bounds.interval_margins(y), bounds.linear_margins(y)):
        assert (worst <= seen + 1e-5).all()


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_constants_in_training_are_those_of_the_verifier(norm: str) -> None:
    for body in (
        relu_net()[1],
        lipschitz_mlp.build("lipschitz-mlp", CLASSES, 4, 1, widths=[6, 6]),
        linf_distance.build("linf-distance", CLASSES, 4, 1, widths=[5]),
    ):
        model = nn.Sequential(Normalize([0.3], [0.4]), body)
        state = state_for("lipschitz-margin", 0.0, norm=norm)
        module = importlib.import_module("jobs.methods.lipschitz_margin")
        list(module.prepare(model, state))
        network = trace(model, SHAPE, live=True)
        for _ in range(60):
            estimate = margin_constants(network, norm, state.kept["directions"])
        exact = lipschitz.Constants(trace(model.eval(), SHAPE).to(torch.float64), norm).margins(
            torch.arange(CLASSES)
        )
        estimate = estimate.detach().double().expand(CLASSES, CLASSES)
        other = ~torch.eye(CLASSES, dtype=torch.bool)
        torch.testing.assert_close(estimate[other], exact[other], rtol=3e-3, atol=1e-5)


@pytest.mark.parametrize("hinge", [False, True])
def test_lipschitz_margin_loss(hinge: bool) -> None:
    model, (x, y) = relu_net(), batch()
    state = state_for("lipschitz-margin", 5.0, norm="linf", radius=0.1, radius_epochs=10.0, hinge=hinge)
    module = importlib.import_module("jobs.methods.lipschitz_margin")
    list(module.prepare(model, state))
    value, _ = module.loss(model, x, y, state)
    first, last = model[1][1].weight, model[1][3].weight
    constant = first.abs().sum(1).max() / 0.4
    expected = torch.tensor(0.0)
    for own, label in zip(model(x), y.tolist(), strict=True):
        raised = torch.stack(
            [own[c] + 0.05 * constant * (last[c] - last[label]).abs().sum() for c in range(CLASSES)]
        )
        if hinge:
            expected = expected + max(raised[c] - own[label] for c in range(CLASSES) if c != label).clamp(
                min=0
            )
        else:
            expected = expected + raised.logsumexp(0) - raised[label]
    torch.testing.assert_close(value, expected / B, atol=1e-5, rtol=1e-5)


def test_the_exponent_grows_to_infinity_and_a_large_one_is_the_maximum() -> None:
    p = {"p_start": 8.0, "p_end": 1000.0, "p_epochs": 10.0, "p_hold": 0.0}
    assert exponent(0.0, p) == 8.0
    assert exponent(5.0, p) == pytest.approx(math.sqrt(8 * 1000))
    assert math.isinf(exponent(10.0, p))
    torch.manual_seed(0)
    layer, x = Distance(4, 3, centred=False), torch.rand(5, 4) * 9
    layer.p = 2.0
    torch.testing.assert_close(layer(x), torch.cdist(x, layer.weight) + layer.bias)
    layer.p = 5000.0
    near = layer(x)
    near.sum().backward()
    assert layer.weight.grad.isfinite().all()
    torch.testing.assert_close(near.detach(), layer.eval()(x).detach(), rtol=1e-3, atol=1e-3)
