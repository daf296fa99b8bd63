"""Training against interval and linear bounds: equal in float64 to a transcription of the authors' code, and in bfloat16 too."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from chain import Chain, tiny
from test_verifiers_training import state_for
from torch import Tensor, nn

from jobs.models import Normalize
from jobs.worst_case import WorstCase
from rsctl.catalog import known_methods

B, CLASSES, SIDE = 3, 3, 4
STEPS = 8  # of an epoch
MEAN, STD = 0.25, 0.5


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 2, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, CLASSES)]  # fmt: skip
    return nn.Sequential(Normalize([MEAN], [STD]), nn.Sequential(*layers)).double()


def batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.rand(B, 1, SIDE, SIDE, dtype=torch.float64), torch.randint(CLASSES, (B,))


def loss_of(name: str, model: nn.Module, epoch: float, **changes: Any) -> Tensor:
    x, y = batch()
    module = importlib.import_module(known_methods()[name].module)
    value, _ = module.loss(model, x, y, state_for(name, epoch, **changes))
    return value


def matrices(model: nn.Sequential) -> list[tuple[Tensor, Tensor]]:
    """Every layer as a matrix and a vector, the convolution's entries set one by one."""
    conv, hidden, last = model[1][0], model[1][3], model[1][5]
    side = SIDE // 2
    matrix = torch.zeros(2 * side * side, SIDE * SIDE, dtype=torch.float64)
    for o, i, j, a, b in product(range(2), range(side), range(side), range(3), range(3)):
        row, column = 2 * i + a - 1, 2 * j + b - 1
        if 0 <= row < SIDE and 0 <= column < SIDE:
            matrix[(o * side + i) * side + j, row * SIDE + column] = conv.weight[o, 0, a, b]
    return [
        (matrix, conv.bias.repeat_interleave(side * side)),
        (hidden.weight, hidden.bias),
        (last.weight, last.bias),
    ]


def margins(model: nn.Sequential, x: Tensor, y: int, epsilon: float) -> tuple[Tensor, Tensor]:
    """Lower bounds of f_y − f_c for one image: of intervals (Gowal 2019), and of lines over them (Zhang 2020)."""
    low = ((x - epsilon).clamp(0, 1).flatten() - MEAN) / STD
    high = ((x + epsilon).clamp(0, 1).flatten() - MEAN) / STD
    layers = matrices(model)
    least, most, before = low, high, []
    for weight, bias in layers[:-1]:
        centre, radius = weight @ (least + most) / 2 + bias, weight.abs() @ (most - least) / 2
        before.append((centre - radius, centre + radius))
        least, most = (centre - radius).clamp(min=0), (centre + radius).clamp(min=0)
    weight, bias = layers[-1]
    rows, constant = weight[y] - weight, bias[y] - bias
    intervals = constant + rows.clamp(min=0) @ least + rows.clamp(max=0) @ most
    for (weight, bias), (least, most) in zip(layers[-2::-1], before[::-1], strict=True):
        open_ = (least < 0) & (most > 0)
        slope = torch.where(open_, most / (most - least), (least >= 0).double())
        # From below the line of slope 1 or 0, whichever leaves less of the triangle.
        under = torch.where(open_, (most > -least).double(), slope)
        constant = constant + rows.clamp(max=0) @ torch.where(open_, -slope * least, 0.0)
        rows = rows.clamp(min=0) * under + rows.clamp(max=0) * slope
        rows, constant = rows @ weight, constant + rows @ bias
    lines = constant + rows.clamp(min=0) @ low + rows.clamp(max=0) @ high
    return intervals, lines


def share_of(step: int, start: int, length: int, shape: str) -> float:
    """The share of ε after so many steps, as the authors' schedulers count it."""
    done = min(max(step - start, 0), length)
    if shape == "linear":
        return done / length
    middle = length // 4
    factor = 1 / ((length - middle) * 4 * middle**3 + middle * middle**3)
    if done <= middle:
        return factor * done**4
    at = factor * middle**4
    return at + (1 - at) * (done - middle) / (length - middle)


def transcription(name: str, model: nn.Sequential, step: int, p: dict[str, Any]) -> Tensor:
    x, y = batch()
    share = share_of(step, 2 * STEPS, 5 * STEPS, p["epsilon_shape"])
    kappa = 1 - (1 - p["kappa_end"]) * share
    beta = 1 - (1 - p.get("beta_end", 0.0)) * share if name == "crown-ibp" else 0.0
    total = torch.zeros((), dtype=torch.float64)
    for image, label, own in zip(x, y.tolist(), model(x), strict=True):
        total = total + kappa * (own.logsumexp(0) - own[label])
        if not share:
            continue
        intervals, lines = margins(model, image[0], label, p["epsilon"] * share)
        total = total + (1 - kappa) * (-(beta * lines + (1 - beta) * intervals)).logsumexp(0)
    return total / B


@pytest.mark.parametrize("name", ["ibp", "crown-ibp"])
def test_the_loss_is_the_authors_in_double_precision(name: str) -> None:
    """128 settings, values and gradients: no allowance for rounding makes ε larger."""
    betas = (0.0, 0.5, 1.0) if name == "crown-ibp" else (0.0,)
    for step, kappa, beta, shape, epsilon in product(
        (5, 19, 36, 90), (0.0, 0.5), betas, ("linear", "smoothed"), (0.05, 0.3)
    ):
        p = {"epsilon": epsilon, "epsilon_shape": shape, "kappa_end": kappa}
        if name == "crown-ibp":
            p["beta_end"] = beta
        model = network()
        mine = loss_of(name, model, step / STEPS, epsilon_start=2.0, epsilon_epochs=5.0, **p)
        gradients = torch.autograd.grad(mine, list(model.parameters()))
        theirs = transcription(name, model, step, p)
        expected = torch.autograd.grad(theirs, list(model.parameters()))
        assert mine.dtype == torch.float64
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-12)
        for one, other in zip(gradients, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


def test_bounds_in_bfloat16_are_as_wide_as_in_float32() -> None:
    """A small ε doesn't vanish beside the numbers it is added to."""
    model, (x, y) = network().float(), batch()
    wide = WorstCase(model, x.float(), 1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        lowered = WorstCase(model, x.float(), 1e-4)
        rough = lowered.interval_margins(y), lowered.linear_margins(y)
    for one, other in zip(wide.found, lowered.found, strict=True):
        assert other.lower.dtype == torch.float32
        torch.testing.assert_close(other.upper - other.lower, one.upper - one.lower, rtol=0.03, atol=1e-6)
    for one, other in zip((wide.interval_margins(y), wide.linear_margins(y)), rough, strict=True):
        torch.testing.assert_close(other, one, rtol=0.03, atol=0.03)
    # What is made of these bounds is computed in full.
    in_full = lowered.interval_margins(y), lowered.linear_margins(y)
    for one, other in zip(in_full, rough, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-6, atol=1e-7)


@pytest.fixture
def lowered() -> Iterator[None]:
    """Accelerate keeps one precision for the whole process."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


CONVOLUTIONS = {"name": "convolutions", "convolutions": [[4, 3, 2, 1], [4, 3, 1, 1]], "widths": [8]}
ORTHOGONAL = {"name": "lipschitz-mlp", "widths": [8, 8]}
DISTANCES = {"name": "linf-distance", "widths": [8]}


@pytest.mark.usefixtures("lowered")
@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("ibp", CONVOLUTIONS),
        ("crown-ibp", CONVOLUTIONS),
        ("lipschitz-margin", CONVOLUTIONS),
        ("lipschitz-margin", ORTHOGONAL),
        ("lipschitz-margin", DISTANCES),
        ("ibp", ORTHOGONAL),
        ("ibp", DISTANCES),
    ],
)
def test_bfloat16_trains_past_the_beginning_of_epsilon(
    chain: Chain, name: str, layers: dict[str, Any]
) -> None:
    method = {"name": name, "epsilon_start": 0.3, "epsilon_epochs": 1.0} if "ibp" in name else {"name": name}
    values = tiny(
        method=method, model=layers, sigma=0.0, training={"epochs": 2, "batch_size": 400},
        precision={"training": "bf16"}, verification=[{"verifier": "ibp", "norm": "linf", "radii": [0.01]}],
        certification={"split": "test"},
    )  # fmt: skip
    values["model"], values["certification"] = layers, {"split": "test", "max_images": 5, "shards": 1}
    (task,) = [r.task for r in chain.plan(values).requests if r.task.run.kind == "models"]
    chain.run(task)
    stored = torch.load(task.run.model_file, weights_only=True)["state_dict"]
    assert all(value.isfinite().all() for value in stored.values())
