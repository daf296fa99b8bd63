"""No proved radius holds an image that is classified otherwise: against dense search, and with slips planted in the bounds."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
import torch
from bound_audit import IMAGES, SHAPE, around, networks, violations
from torch import Tensor, nn

from jobs.models import Normalize
from jobs.models.architectures.linf_distance import Distance
from jobs.models.architectures.lipschitz_mlp import MaxMin
from jobs.verifiers import crown, ibp, lipschitz, operations
from jobs.verifiers.ibp import Interval
from jobs.verifiers.tracing import trace
from jobs.worst_case import WorstCase, _Unrounded
from rsctl.catalog import known_verifiers
from rsctl.catalog.declare import DataShape
from rsctl.errors import InputError


def test_bounds_of_random_networks_hold_and_linear_ones_are_never_looser() -> None:
    assert violations(12) == []


@pytest.mark.long
def test_bounds_of_thousands_of_random_networks_hold() -> None:
    assert violations(3000, seed=1) == []


@pytest.mark.parametrize(
    ("verifier", "norm", "parameters"),
    [
        ("ibp", "linf", {}),
        ("crown", "linf", {}),
        ("crown", "linf", {"intermediate": "ibp"}),
        ("crown", "l2", {}),
        ("crown", "l1", {}),
        ("lipschitz", "l2", {}),
        ("lipschitz", "linf", {}),
    ],
)
def test_dense_search_finds_no_adversarial_image_inside_a_proved_radius(
    verifier: str, norm: str, parameters: dict[str, Any]
) -> None:
    declared = known_verifiers()[verifier]
    shape, proved = DataShape(1, 2, 3, {}), 0
    for model in networks(6, seed=5):
        images = torch.rand(IMAGES, *SHAPE)
        labels = model(images).argmax(1)
        try:
            prover = importlib.import_module(declared.module).prepare(
                model, declared.parameters(**parameters), shape=shape, norm=norm, radii=[], precision="fp32"
            )
        except InputError:
            continue
        verdicts = prover.verify(images, labels)
        proved += int((verdicts.radius > 0.005).sum())
        points = around(images, verdicts.radius.clamp(max=2.0), norm, 4000)
        with torch.no_grad():
            found = prover.executed(points.flatten(0, 1)).argmax(1).view(IMAGES, -1)
        assert (found == labels[:, None]).all()
    assert proved > 2


def step_with(change: Callable[..., Interval]) -> Callable[..., Interval]:
    """`ibp.step` with another one for affine operations."""
    whole = ibp.step

    def step(op: Any, inputs: list[Interval], *, positive: bool = False, reusable: bool = False) -> Interval:
        if not isinstance(op, operations.Affine):
            return whole(op, inputs, positive=positive, reusable=reusable)
        return change(op, whole(op, inputs, positive=positive), inputs[0])

    return step


def no_lift(self: Any, a: Tensor, number: int, slope: Any) -> tuple[Tensor, Tensor]:
    carried, gained = RELU(self, a, number, slope)
    return carried, torch.zeros_like(gained)


def wrong_way(self: Any, a: Tensor, number: int, slope: Any) -> tuple[Tensor, Tensor]:
    carried, gained = RELU(self, -a, number, slope)
    return -carried, -gained


RELU, CARRY, NORM, CONVOLUTION = (
    crown.LinearBounds.relu, crown.LinearBounds.carry, lipschitz.spectral_norm, lipschitz.convolution_norm,
)  # fmt: skip

SLIPS: dict[str, tuple[Any, str, Any]] = {
    "ibp: the bias is missed": (
        ibp, "step", step_with(lambda op, out, _: Interval(out.lower - op.bias, out.upper - op.bias)),
    ),
    "ibp: W for |W| in the radius": (
        ibp,
        "step",
        step_with(lambda op, out, x: Interval(*(
            op.apply((x.lower + x.upper) / 2) + sign * op.linear((x.upper - x.lower) / 2) for sign in (-1, 1)
        ))),
    ),
    "ibp: the interval's ends are carried by themselves": (
        ibp, "step", step_with(lambda op, _, x: Interval(op.apply(x.lower), op.apply(x.upper))),
    ),
    "ibp: half the radius": (
        ibp,
        "step",
        step_with(lambda op, out, _: Interval(
            (3 * out.lower + out.upper) / 4, (out.lower + 3 * out.upper) / 4
        )),
    ),
    "rounding: nothing is charged": (operations.Affine, "error", lambda self, dtype: 0.0),
    "rounding: charged inward": (operations.Affine, "error", lambda self, dtype: -1e-6),
    "box: rounded to nearest": (
        ibp,
        "box",
        lambda images, radius, dtype=torch.float32: Interval(*(
            (images.double() + sign * torch.as_tensor(radius, dtype=torch.float64).view(-1, 1, 1, 1)).clamp(0, 1).to(dtype)
            for sign in (-1, 1)
        )),
    ),
    "margins: the other class's rounding is free": (
        ibp.Margins, "of", lambda self, before, y: MARGINS(self, Interval((before.lower + before.upper) / 2, (before.lower + before.upper) / 2), y),
    ),
    "crown: the upper line goes through 0": (crown.LinearBounds, "relu", no_lift),
    "crown: upper and lower lines change places": (crown.LinearBounds, "relu", wrong_way),
    "crown: the constant is missed": (
        crown.LinearBounds, "carry", lambda self, a, start, slopes=None: (CARRY(self, a, start, slopes)[0], torch.zeros_like(a.flatten(2)[:, :, 0])),
    ),
    "crown: rounding is free": (crown.LinearBounds, "paid", lambda self, a, number: a.new_zeros(a.shape[:2])),
    "crown: half the ball": (
        crown.Balls, "box", property(lambda self: ibp.box(self.images, self.radius / 2, torch.float64)),
    ),
    "crown: the ℓ1 ball with the ℓ2 ball's dual norm halved": (
        crown.Balls, "lower", lambda self, a, constant: LOWER(crown.Balls(self.images, self.radius / 2, self.norm), a, constant),
    ),
    "lipschitz: norms from below": (lipschitz, "spectral_norm", lambda matrices, error=0.0: 0.5 * NORM(matrices, error)),
    "lipschitz: a shortcut adds nothing": (
        lipschitz, "sum", lambda values, start=0.0: max(values) if not isinstance(start, Tensor) else sum(values, start),
    ),
    "lipschitz: normalisation is forgotten": (
        lipschitz, "layer_constant", lambda op, norm: 1.0 if isinstance(op, operations.Scale) else CONSTANT(op, norm),
    ),
    "lipschitz: rounding is free": (
        lipschitz.Constants, "rounding", lambda self, results, radius, y: torch.zeros(len(y), self.network.classes),
    ),
}  # fmt: skip
MARGINS, LOWER, CONSTANT = ibp.Margins.of, crown.Balls.lower, lipschitz.layer_constant


@pytest.mark.parametrize("slip", sorted(SLIPS))
def test_a_planted_slip_is_caught(slip: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, name, wrong = SLIPS[slip]
    monkeypatch.setattr(where, name, wrong, raising=False)
    if where is ibp and name in ("step", "box"):
        monkeypatch.setattr(crown, name, wrong, raising=False)
    assert violations(6, first=True) != []


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_box_holds_every_pixel_within_the_radius_and_hardly_more(dtype: torch.dtype) -> None:
    torch.manual_seed(4)
    images = torch.rand(40, 1, 2, 3)
    images[0, 0, 0] = torch.tensor([0.0, 1.0, 0.5])
    radius = torch.rand(40, dtype=torch.float64) * 10.0 ** -torch.arange(40).double().div(4)
    radius[:3] = torch.tensor([0.25, 2 / 255, 0.0], dtype=torch.float64)
    # Hardly farther from 0 than the radius: the difference is exact, and only the radius is rounded.
    images[20:] = radius[20:, None, None, None] * (1 + 1e-5 * images[20:])
    found = ibp.box(images, radius, dtype)
    for x, r, low, high in zip(images, radius.tolist(), found.lower, found.upper, strict=True):
        for values in zip(x.flatten().tolist(), low.flatten().tolist(), high.flatten().tolist(), strict=True):
            pixel, least, most = (Fraction(value) for value in values)
            exact = max(Fraction(0), pixel - Fraction(r)), min(Fraction(1), pixel + Fraction(r))
            assert 0 <= least <= exact[0]
            assert exact[1] <= most <= 1
            assert max(exact[0] - least, most - exact[1]) <= 4 * Fraction(torch.finfo(dtype).eps)


@pytest.mark.parametrize("activation", [nn.ReLU(), MaxMin()])
def test_margins_pay_for_the_rounding_of_sums_that_cancel(activation: nn.Module) -> None:
    """Two classes with the same weights: exactly equal logits, each of which is executed with an error of its own."""
    first, last, size = nn.Linear(6, 1000), nn.Linear(1000, 3), 1e3
    nn.init.ones_(last.weight)
    nn.init.zeros_(last.bias)
    network = trace(
        nn.Sequential(Normalize([0.3], [0.4]), nn.Flatten(), first, activation, last).eval(), SHAPE
    )
    before = Interval(torch.zeros(1, 1000), torch.full((1, 1000), size))
    found = ibp.Margins(network).of(before, torch.tensor([0]))
    error = 1000 * 2.0**-24 * 1000 * size  # n·u·|W||x|, of one logit
    assert (found[0, 1:] <= -2 * error).all()
    assert (found[0, 1:] >= -20 * error).all()


def test_distances_are_bounded_in_exact_numbers_too() -> None:
    """A difference and a bias, rounded once each: float64 holds what they are of float32 numbers."""
    torch.manual_seed(0)
    layer, images = Distance(4, 500, centred=False), torch.rand(40, *SHAPE)
    nn.init.normal_(layer.bias)
    network = trace(nn.Sequential(nn.Flatten(), layer).eval(), SHAPE)
    lower, upper = ibp.propagate(network, Interval(images, images))[-1]
    apart = images.flatten(1).double()[:, None] - layer.weight.detach().double()
    exact = apart.abs().amax(2) + layer.bias.detach().double()
    assert (lower <= exact).all()
    assert (exact <= upper).all()
    assert float((upper - lower).max()) < 1e-5


def test_only_training_carries_lines_as_in_exact_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    """A verifier's constants are lower even where what is executed were free: sums in float64 are rounded, too."""
    monkeypatch.setattr(crown.LinearBounds, "paid", lambda self, a, number: a.new_zeros(a.shape[:2]))
    torch.manual_seed(0)
    layers = [nn.Flatten(), nn.Linear(4, 9), nn.ReLU(), nn.Linear(9, 3)]
    model = nn.Sequential(Normalize([0.3], [0.4]), *layers).double().eval()
    training = WorstCase(model, torch.rand(IMAGES, *SHAPE, dtype=torch.float64), 0.2)
    rows = torch.randn(IMAGES, 5, 3, dtype=torch.float64)
    end = len(training.network.ops) - 1
    slopes, exact = _Unrounded(training.network, training.found).carry(rows, end)
    same, lower = crown.LinearBounds(training.network, training.found).carry(rows, end)
    torch.testing.assert_close(slopes, same, rtol=0, atol=0)
    assert (lower < exact).all()
    torch.testing.assert_close(lower, exact, rtol=1e-6, atol=1e-8)


def test_bounds_are_exact_where_nothing_is_relaxed() -> None:
    """Without a ReLU whose sign is open the least margin has a closed form: a bound that gives it isn't just loose."""
    torch.manual_seed(3)
    first, last = nn.Linear(4, 6), nn.Linear(6, 3)
    with torch.no_grad():
        first.bias += 5  # every ReLU is on
    model = nn.Sequential(Normalize([0.3], [0.4]), nn.Flatten(), first, nn.ReLU(), last).eval()
    network = trace(model, SHAPE)
    weight = (last.weight @ first.weight).detach().double() / 0.4
    images = torch.rand(IMAGES, *SHAPE) * 0.4 + 0.3
    radius = 0.1
    with torch.no_grad():
        logits = model(images).double()
        y = logits.argmax(1)
        for norm, order in (("linf", 1.0), ("l2", 2.0), ("l1", float("inf"))):
            apart = weight[y][:, None] - weight
            least = logits.gather(1, y[:, None]) - logits - radius * torch.linalg.vector_norm(apart, order, 2)
            ball = crown.Balls(images.double(), torch.full((IMAGES,), radius, dtype=torch.float64), norm)
            double = network.to(torch.float64)
            found = crown.margins(double, ball, y, crown.bounds(double, ball))
            other = found.isfinite()
            torch.testing.assert_close(found[other], least[other], atol=5e-5, rtol=0)


@pytest.mark.parametrize("kind", ["dense", "conv", "strided", "dilated", "grouped", "pool"])
def test_spectral_norms_are_bounded_from_above_and_not_far(kind: str) -> None:
    torch.manual_seed(1)
    for size in (5, 8):
        layer: nn.Module = {
            "dense": nn.Sequential(nn.Flatten(), nn.Linear(4 * size * size, 9)),
            "conv": nn.Conv2d(4, 6, 3, padding=1),
            "strided": nn.Conv2d(4, 6, 3, padding=1, stride=2),
            "dilated": nn.Conv2d(4, 6, 3, padding=2, dilation=2),
            "grouped": nn.Conv2d(4, 6, 3, padding=1, groups=2),
            "pool": nn.AvgPool2d(2),
        }[kind]
        network = trace(nn.Sequential(layer, nn.Flatten()).eval(), (4, size, size)).to(torch.float64)
        number = 2 if kind == "dense" else 1
        op = network.ops[number]
        assert isinstance(op, operations.Affine)
        before = network.ops[op.inputs[0]].shape
        matrix = op.linear(torch.eye(math.prod(before), dtype=torch.float64).view(-1, *before)).flatten(1).T
        exact = float(torch.linalg.matrix_norm(matrix, 2))
        bound = lipschitz.layer_constant(network.ops[number], "l2")
        assert exact <= bound <= exact * (1.0005 if kind == "dense" else 2.0)
        rows = float(matrix.abs().sum(dim=1).max())
        assert rows <= lipschitz.layer_constant(network.ops[number], "linf") * (1 + 1e-12)
