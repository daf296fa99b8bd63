"""Ground truth for complete verifiers: every activation pattern of a tiny network is a polytope, and a linear program each
says how near it comes to an image. Nothing here knows of the code under test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linprog
from torch import Tensor, nn

from jobs.models.normalize import Normalize

Floats = NDArray[np.float64]


class Tiny(nn.Module):
    """Two ReLU layers; with `shortcut` the second adds what went into it, as a residual block does."""

    def __init__(self, inputs: int, first: int, second: int, classes: int, *, shortcut: bool = False) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.first = nn.Linear(inputs, first)
        self.second = nn.Linear(first, first if shortcut else second)
        self.last = nn.Linear(first if shortcut else second, classes)
        self.relu = nn.ReLU()
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        first = self.relu(self.first(self.flatten(x)))
        second = self.second(first)
        if self.shortcut:
            second = second + first
        return self.last(self.relu(second))


def tiny_network(seed: int) -> tuple[nn.Sequential, Tensor, int]:
    """A random model, an image (d, 1, 1) and the class that the model gives it."""
    generator = torch.Generator().manual_seed(seed)

    def number(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    inputs, first, second, classes = number(1, 4), number(1, 4), number(1, 3), number(2, 3)
    network = Tiny(inputs, first, second, classes, shortcut=bool(number(0, 1)))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    mean, std = torch.rand(2, generator=generator).tolist()
    model = nn.Sequential(Normalize((mean,), (std + 0.2,)), network).eval()
    image = torch.rand((inputs, 1, 1), generator=generator)
    with torch.no_grad():
        # Margins that are small beside what the image can change: most such images have a counterexample.
        network.last.bias += 0.5 * torch.randn(classes, generator=generator) - model(image[None])[0]
        label = int(model(image[None]).argmax())
    return model, image, label


def linear_pieces(model: nn.Sequential) -> Iterator[tuple[Floats, Floats, Floats, Floats]]:
    """(A, a, C, c) of every pattern: where Ax + a ≥ 0 the logits are Cx + c."""
    normalize, network = model[0], model[1]
    inputs = network.first.in_features
    scale = 1 / normalize.std.double().item()
    w1, b1 = (p.detach().double().numpy() for p in (network.first.weight, network.first.bias))
    w2, b2 = (p.detach().double().numpy() for p in (network.second.weight, network.second.bias))
    w3, b3 = (p.detach().double().numpy() for p in (network.last.weight, network.last.bias))
    z1 = w1 * scale
    c1 = b1 - z1 @ np.full(inputs, normalize.mean.double().item())
    for bits in itertools.product((0.0, 1.0), repeat=len(b1) + len(b2)):
        on1, on2 = np.array(bits[: len(b1)]), np.array(bits[len(b1) :])
        v1, d1 = z1 * on1[:, None], c1 * on1
        z2, c2 = w2 @ v1, w2 @ d1 + b2
        if network.shortcut:
            z2, c2 = z2 + v1, c2 + d1
        side = np.concatenate([2 * on1 - 1, 2 * on2 - 1])
        v2, d2 = z2 * on2[:, None], c2 * on2
        yield np.concatenate([z1, z2]) * side[:, None], np.concatenate([c1, c2]) * side, w3 @ v2, w3 @ d2 + b3


def exact_distance(model: nn.Sequential, image: Tensor, label: int, norm: str, slack: Floats) -> float:
    """Distance of the nearest image of [0, 1] pixels with f_label − f_c ≤ slack_c for another class c; inf without one."""
    x0 = image.double().flatten().numpy()
    d = len(x0)
    best = np.inf
    # x, then the distances of the pixels, of which the objective is the largest or the sum.
    count = 1 if norm == "linf" else d
    spread = np.ones((d, 1)) if norm == "linf" else np.eye(d)
    near = np.block([[np.eye(d), -spread], [-np.eye(d), -spread]])
    cost = np.concatenate([np.zeros(d), np.ones(count)])
    for sides, offsets, logits, constants in linear_pieces(model):
        for target in range(len(constants)):
            if target == label:
                continue
            row = logits[label] - logits[target]
            rows = np.concatenate([near, np.pad(np.concatenate([-sides, row[None]]), ((0, 0), (0, count)))])
            right = np.concatenate([x0, -x0, offsets, [slack[target] - constants[label] + constants[target]]])
            found = linprog(cost, rows, right, bounds=[(0, 1)] * d + [(0, None)] * count, method="highs")
            if found.status == 0:
                best = min(best, float(found.fun))
    return best
