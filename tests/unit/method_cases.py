"""What the tests of training methods share: a small network, one step's state, and losses written out image by image."""

from __future__ import annotations

import copy
import importlib
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from jobs.state import TrainingState
from rsctl.catalog import known_methods
from rsctl.catalog.declare import DataShape

IMAGES, CLASSES, SHAPE = 12, 4, (1, 4, 4)


class Net(nn.Module):
    """Two layers, logits large enough that images are right, wrong, sure and unsure."""

    def __init__(self, scale: float = 6.0) -> None:
        super().__init__()
        self.first = nn.Linear(16, 12)
        self.second = nn.Linear(12, CLASSES)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.second(torch.tanh(3 * self.first(x.flatten(1) - 0.5)))


def case(
    name: str, *, seed: int = 0, scale: float = 6.0, epoch: float = 0.0, step: int = 7, **changes: Any
) -> Any:
    """A method's module, a network, images with labels, and the state of one step with these hyper-parameters."""
    torch.manual_seed(seed)
    declared = known_methods()[name]
    module = importlib.import_module(declared.module)
    values = declared.parameters(**{
        key: value
        for key, value in {**declared.default_values("digits", 0.25), **changes}.items()
        if key in declared.parameters.model_fields
    }).model_dump()  # fmt: skip
    model = Net(scale)
    x, y = torch.rand(IMAGES, *SHAPE), torch.randint(CLASSES, (IMAGES,))
    # Half the labels are the network's own: there must be right and wrong images.
    with torch.no_grad():
        y[::2] = model(x).argmax(dim=1)[::2]
    teacher = Net(scale)
    state = TrainingState(
        0.25, values, 0.0, 3, torch.device("cpu"), SimpleNamespace(shape=DataShape(1, 4, CLASSES, {})), 100,
        build=lambda _: Net(scale), load=lambda _: teacher.requires_grad_(False), sigma_of=lambda _: 0.1, sum=lambda tensor: tensor,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
    )  # fmt: skip
    state.step, state.epoch, state.batch, state.rows = step, epoch, (IMAGES, *SHAPE), torch.arange(IMAGES)
    return SimpleNamespace(module=module, model=model, x=x, y=y, state=state, p=values, teacher=teacher)


def value_and_gradients(one: Any) -> tuple[float, list[Tensor]]:
    """The method's own loss and its gradients."""
    one.model.zero_grad()
    one.model.train()
    value, logits = one.module.loss(one.model, one.x, one.y, one.state)
    assert logits.shape == (IMAGES, CLASSES)
    value.backward()
    return float(value.detach()), [p.grad.double() for p in one.model.parameters()]


def written_out(one: Any, formula: Any) -> tuple[float, list[Tensor]]:
    """The mean over images of `formula(f, x, y, noises, image)`, in double precision, and its gradients."""
    model = copy.deepcopy(one.model).double()
    model.zero_grad()
    noises = [one.state.noise(j).double() for j in range(one.p.get("noises", 1))]

    def f(x: Tensor) -> Tensor:
        return model(x[None])[0]

    total = sum(
        formula(f, one.x[i].double(), int(one.y[i]), [noise[i] for noise in noises], i) for i in range(IMAGES)
    )
    value = total / IMAGES
    value.backward()
    return float(value.detach()), [p.grad for p in model.parameters()]


def agree(one: Any, formula: Any, *, digits: float = 2e-4) -> None:
    """Loss and every gradient agree with the formula."""
    value, gradients = value_and_gradients(one)
    expected, literal = written_out(one, formula)
    assert abs(value - expected) <= digits * max(1.0, abs(expected)), (value, expected)
    scale = max(float(g.abs().max()) for g in literal)
    assert scale > 0
    for mine, theirs in zip(gradients, literal, strict=True):
        assert float((mine - theirs).abs().max()) <= 10 * digits * scale
