"""Looks for violations of bounds on networks so small that sampling their balls densely says the truth."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

import torch
from torch import Tensor, nn

from jobs.models import Normalize
from jobs.models.architectures import linf_distance
from jobs.models.architectures.lipschitz_mlp import MaxMin
from jobs.verifiers import crown, ibp, lipschitz
from jobs.verifiers.ibp import Interval
from jobs.verifiers.network import Network
from jobs.verifiers.operations import DistanceOp
from jobs.verifiers.operations import MaxMinOp as MaxMinOp
from jobs.verifiers.prover import SumsOfProducts
from jobs.verifiers.tracing import trace

SHAPE = (1, 2, 2)
IMAGES, POINTS = 3, 400


class Residual(nn.Module):
    """Two shortcuts, one of them with a layer of its own, and batch normalisation."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(width)
        self.side = nn.Conv2d(1, width, 1)
        self.pool = nn.AvgPool2d(2)
        self.hidden = nn.Linear(width, width)
        self.fc = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())) + self.side(x))
        z = self.pool(y).flatten(1)
        return self.fc(z + self.hidden(z).relu())


class Doubled(nn.Module):
    """Linear, so that its constants are attained; the shortcut doubles them."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        return self.fc(x + x)


def networks(count: int, seed: int = 0) -> Iterator[nn.Sequential]:
    """Random small classifiers of four pixels, at most 20 neurons each, of every kind in turn."""
    torch.manual_seed(seed)
    for number in range(count):
        kind = number % 6
        if kind == 0:
            body: nn.Module = nn.Sequential(
                nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3)
            )
        elif kind == 1:
            body = nn.Sequential(
                nn.Conv2d(1, 4, 2, padding=1, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(16, 4), nn.ReLU(),
                nn.Linear(4, 3),
            )  # fmt: skip
        elif kind == 2:
            body = Residual()
        elif kind == 3:
            body = linf_distance.build("linf-distance", 3, 4, 1, widths=[8, 6])
        elif kind == 4:
            body = Doubled()
        else:
            body = nn.Sequential(
                nn.Flatten(), nn.Linear(4, 10), MaxMin(), nn.Linear(10, 6), MaxMin(), nn.Linear(6, 3)
            )
        for layer in body.modules():
            if isinstance(layer, (nn.Linear, nn.Conv2d)) and layer.bias is not None:
                nn.init.normal_(layer.bias, std=0.4)
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.normal_()
                layer.running_var.uniform_(0.3, 2)
                nn.init.normal_(layer.weight)
                nn.init.normal_(layer.bias)
        yield nn.Sequential(Normalize([0.3], [0.4]), body).eval()


def around(images: Tensor, radius: Tensor, norm: str, points: int = POINTS) -> Tensor:
    """Float32 images within exactly that distance and in [0, 1]: inside, on the surface and at corners, (N, points, C, H, W)."""
    direction = torch.rand(len(images), points, 4, dtype=torch.float64) * 2 - 1
    half = points // 2
    if norm == "linf":
        direction[:, :half] = direction[:, :half].sign()
    else:
        length = (
            direction.norm(dim=2, keepdim=True) if norm == "l2" else direction.abs().sum(dim=2, keepdim=True)
        )
        direction[:, :half] /= length[:, :half]
        direction[:, half:] /= length[:, half:].clamp(min=1)
        # Also along the axes, where ℓ1 and ℓ2 balls reach farthest in one pixel.
        direction[:, :8] = torch.cat([torch.eye(4), -torch.eye(4)]).double()
    exact = (images.double().view(-1, 1, 4) + direction * radius.view(-1, 1, 1)).clamp(0, 1)
    found = exact.float()
    away = (found.double() - images.double().view(-1, 1, 4)).abs()
    distance = {"linf": away.amax(2), "l2": away.norm(dim=2), "l1": away.sum(2)}[norm]
    # What rounding to float32 put outside is no image of the ball.
    found = torch.where((distance <= radius[:, None])[:, :, None], found, images.view(-1, 1, 4))
    return found.view(-1, points, *SHAPE)


def holds(bounds: Interval, values: Tensor) -> bool:
    """Whether the results of all points, (N, points, …), lie in their image's interval."""
    values, low, high = values.double(), bounds.lower.double()[:, None], bounds.upper.double()[:, None]
    return bool(((values >= low) & (values <= high)).all())


@torch.no_grad()
def violations(count: int = 10, seed: int = 0, *, first: bool = False) -> list[str]:
    """What the bounds of `count` random networks get wrong, or the first of them that is; empty if they are sound."""
    found: set[str] = set(boxes())
    for model in networks(count, seed):
        if first and found:
            break
        executed = SumsOfProducts(model, "fp32")
        single = trace(executed, SHAPE)
        double = single.to(torch.float64)
        images = torch.rand(IMAGES, *SHAPE)
        images[0] = images[0].round()
        for radius in (0.0, 0.1, 0.4):
            for norm in ("linf", "l2", "l1"):
                radii = torch.full((IMAGES,), radius, dtype=torch.float64)
                points = around(images, radii, norm)
                flat = points.flatten(0, 1)
                y = executed(images).argmax(1)
                values = {"executed": executed(flat).double(), "exact": double(flat)}
                gaps = {
                    name: (value.view(IMAGES, POINTS, -1).gather(2, y[:, None, None].expand(-1, POINTS, 1)) - value.view(IMAGES, POINTS, -1)).amin(1)
                    for name, value in values.items()
                }  # fmt: skip
                if norm == "linf":
                    found |= intervals(single, double, images, radius, flat, y, gaps)
                if not any(isinstance(op, (DistanceOp, MaxMinOp)) for op in single.ops):
                    found |= lines(double, images, radii, norm, single, flat, y, gaps)
                if norm != "l1":
                    found |= constants(double, images, radii, norm, values, y, gaps)
    return sorted(found)


def intervals(
    single: Network, double: Network, images: Tensor, radius: float, flat: Tensor, y: Tensor, gaps: dict[str, Tensor]
) -> set[str]:  # fmt: skip
    found = set()
    for network in (single, double):
        start = ibp.box(images, radius, network.dtype)
        bounds = ibp.propagate(network, start)
        for kind, results in (("executed", single.results(flat)), ("exact", double.results(flat))):
            for result, interval in zip(results, bounds, strict=True):
                if not holds(interval, result.unflatten(0, (IMAGES, POINTS))):
                    found.add(f"ibp {network.dtype}: a {kind} result is outside")
            # The same in memory that is used again and again.
            if not holds(ibp.logits(network, start), results[-1].unflatten(0, (IMAGES, POINTS))):
                found.add(f"ibp {network.dtype}: a {kind} logit is outside")
        worst = ibp.Margins(network)(start, y)
        found |= below(f"ibp {network.dtype}", worst, gaps, y)
    return found


def lines(
    double: Network, images: Tensor, radii: Tensor, norm: str, single: Network, flat: Tensor, y: Tensor, gaps: dict[str, Tensor],
) -> set[str]:  # fmt: skip
    found = set()
    ball = crown.Balls(images.double(), radii, norm)
    plain = ibp.Margins(double)(ball.box, y)
    before = plain
    for intermediate in ("ibp", "crown"):
        bounds = crown.bounds(double, ball, intermediate=intermediate)
        for kind, results in (("executed", single.results(flat)), ("exact", double.results(flat))):
            for result, interval in zip(results, bounds, strict=True):
                if not holds(interval, result.unflatten(0, (IMAGES, POINTS))):
                    found.add(f"crown {intermediate} {norm}: a {kind} result is outside")
        worst = crown.margins(double, ball, y, bounds)
        if not (worst >= before - 1e-12).all():  # the order of sums may cost the last bits
            found.add(f"crown {intermediate} {norm}: looser than what is cheaper")
        # Adaptive slopes may lose a little of what better intermediate bounds give; intervals are never lost.
        before = plain
        found |= below(f"crown {intermediate} {norm}", worst, gaps, y)
    return found


def constants(
    double: Network, images: Tensor, radii: Tensor, norm: str, values: dict[str, Tensor], y: Tensor, gaps: dict[str, Tensor],
) -> set[str]:  # fmt: skip
    found = set()
    known = lipschitz.Constants(double, norm)
    results = double.results(images)
    margin = results[-1].gather(1, y[:, None]) - results[-1]
    rounding = known.rounding(results, radii, y)
    worst = margin - known.margins(y) * radii[:, None]
    found |= below(f"lipschitz {norm}", worst - rounding, gaps, y)
    apart = (values["executed"] - values["exact"]).view(IMAGES, POINTS, -1)
    apart = (apart.gather(2, y[:, None, None].expand(-1, POINTS, 1)) - apart).abs().amax(1)
    if not (apart <= rounding).all():
        found.add(f"lipschitz {norm}: rounding is larger than its bound")
    return found


def below(name: str, worst: Tensor, gaps: dict[str, Tensor], y: Tensor) -> set[str]:
    """A bound of the margins must be at most every margin seen."""
    other = torch.ones_like(worst, dtype=torch.bool).scatter(1, y[:, None], False)
    return {
        f"{name}: {kind} margin below the bound"
        for kind, seen in gaps.items()
        if not (worst.double() <= seen)[other].all()
    }


def boxes() -> set[str]:
    """The box of an image, against fractions."""
    images = torch.rand(40, *SHAPE)
    for radius in (2 / 255, 0.1, 1 / 3):
        for dtype in (torch.float32, torch.float64):
            box = ibp.box(images, radius, dtype)
            for x, low, high in zip(
                *(t.flatten().tolist() for t in (images, box.lower, box.upper)), strict=True
            ):
                exact = Fraction(x)
                if Fraction(low) > max(Fraction(0), exact - Fraction(radius)):
                    return {"box: an image of the ball is below it"}
                if Fraction(high) < min(Fraction(1), exact + Fraction(radius)):
                    return {"box: an image of the ball is above it"}
                if not math.isclose(high, min(1.0, x + radius), rel_tol=1e-6):
                    return {"box: too wide"}
    return set()
