"""Provers: what they do with many images, given radii, and the search for the largest one."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from jobs.models import Normalize
from jobs.verifiers import crown, ibp
from jobs.verifiers.prover import largest
from jobs.verifiers.tracing import trace
from rsctl.catalog import known_verifiers
from rsctl.catalog.declare import DataShape

SHAPE = DataShape(1, 4, 3, {})
CASES = [("ibp", {}), ("crown", {}), ("crown", {"intermediate": "ibp"}), ("lipschitz", {})]


def model(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    layers = [
        nn.Conv2d(1, 3, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(48, 8),
        nn.ReLU(),
        nn.Linear(8, 3),
    ]
    return nn.Sequential(Normalize([0.3], [0.4]), nn.Sequential(*layers)).eval()


def prover(name: str, radii: list[float], seed: int = 0, **parameters: Any) -> Any:
    declared = known_verifiers()[name]
    return importlib.import_module(declared.module).prepare(
        model(seed),
        declared.parameters(**parameters),
        shape=SHAPE,
        norm="linf",
        radii=radii,
        precision="fp32",
    )


def images_and_labels(count: int = 12) -> tuple[Tensor, Tensor]:
    torch.manual_seed(9)
    images = torch.rand(count, 1, 4, 4)
    labels = model()(images).argmax(1)
    labels[::5] = (labels[::5] + 1) % 3
    return images, labels


@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_an_image_gets_the_same_verdict_among_any_others(name: str, parameters: dict[str, Any]) -> None:
    images, labels = images_and_labels()
    one = prover(name, [], batch=4, **parameters)
    whole = one.verify(images, labels)
    order = torch.randperm(len(images))
    shuffled = one.verify(images[order], labels[order])
    torch.testing.assert_close(shuffled.radius, whole.radius[order], rtol=1e-9, atol=0)
    alone = torch.cat([one.verify(images[i : i + 1], labels[i : i + 1]).radius for i in range(3)])
    torch.testing.assert_close(alone, whole.radius[:3], rtol=1e-9, atol=0)
    assert (whole.radius[::5] == 0).all()
    assert (whole.radius > 0).sum() > 5
    assert whole.broken.isinf().all()


@pytest.mark.parametrize(("name", "parameters"), CASES[:3])
def test_given_radii_are_settled_as_the_largest_one_says(name: str, parameters: dict[str, Any]) -> None:
    images, labels = images_and_labels()
    best = prover(name, [], tolerance=0.001, **parameters).verify(images, labels).radius
    radii = [0.001, 0.01, 0.03, 0.2]
    settled = prover(name, radii, **parameters).verify(images, labels).radius
    expected = torch.tensor(
        [max([0.0, *(r for r in radii if r <= one)]) for one in best.tolist()], dtype=torch.float64
    )
    torch.testing.assert_close(settled, expected, rtol=0, atol=0)


def test_what_is_proved_needs_no_prediction() -> None:
    """Bounds first or predictions first, an image gets the same verdict; what is spared is the pass of proved images."""
    images, labels = images_and_labels()
    radii = [1e-4, 0.03, 0.2]
    passes: dict[bool, int] = {}
    verdicts = {}
    for first in (False, True):
        one = prover("ibp", radii, batch=4)
        one.sure, one.wrong = (10**6, 0) if first else (0, 1)
        one.executed.register_forward_hook(
            lambda *_, first=first: passes.update({first: passes.get(first, 0) + 1})
        )
        verdicts[first] = one.verify(images, labels)
    for part in ("predicted", "radius"):
        assert torch.equal(getattr(verdicts[False], part), getattr(verdicts[True], part))
    assert 0 < int((verdicts[True].radius > 0).sum()) < len(images)
    assert int((verdicts[True].predicted != labels).sum()) == 3
    assert passes[True] < passes[False] == 3


def test_bounds_come_first_where_most_images_are_proved() -> None:
    images, labels = images_and_labels()
    right = labels == model()(images).argmax(1)
    one = prover("ibp", [1e-4], batch=4)
    one.verify(images[right], labels[right])
    assert (one.sure, one.wrong) == (int(right.sum()), 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            one,
            "classes",
            lambda images, rows: rows.new_zeros(len(rows)) if not len(rows) else pytest.fail("predicted"),
        )
        assert bool((one.verify(images[right], labels[right]).radius > 0).all())


def test_the_search_ends_at_the_largest_radius_within_its_tolerance() -> None:
    truth = torch.tensor([0.0, 1e-9, 3e-4, 0.0123, 0.5, 0.999, 5.0], dtype=torch.float64)
    asked = []

    def proved(rows: Tensor, radius: Tensor) -> Tensor:
        asked.append(len(rows))
        return radius <= truth[rows]

    found = largest(proved, len(truth), [], start=1 / 255, tolerance=0.01)
    assert (found <= truth).all()
    assert found[:2].tolist() == [0.0, 0.0]  # nothing smaller than start / 10⁴ is looked for
    assert (found[2:6] >= truth[2:6] / 1.011).all()
    assert float(found[6]) == 1.0
    assert len(asked) < 30


def test_what_no_proof_was_found_for_is_never_claimed() -> None:
    """Proofs may fail at a radius and hold at a larger one; only a radius that was proved itself is returned."""
    found = largest(
        lambda rows, radius: (radius * 997).long() % 2 == 0, 50, [], start=1 / 255, tolerance=0.01
    )
    assert (((found * 997).long() % 2 == 0) | (found == 0)).all()
    assert largest(lambda rows, radius: radius >= 0.1, 2, [0.05, 0.1], start=1, tolerance=0.1).tolist() == [
        0,
        0,
    ]


def test_linear_bounds_prove_at_least_what_intervals_prove() -> None:
    images, labels = images_and_labels()
    radii = [
        prover(name, [], tolerance=0.001, **parameters).verify(images, labels).radius
        for name, parameters in CASES[:3]
    ]
    assert (radii[2] >= radii[0] / 1.001).all()
    assert (radii[1] >= radii[0] / 1.001).all()
    assert float(radii[1].sum()) > 1.2 * float(radii[0].sum())


def test_no_pixel_leaves_0_to_1() -> None:
    """A network that only a pixel above 1 could change is proved at every radius."""
    layer = nn.Linear(1, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.0], [1.0]]))
        layer.bias.copy_(torch.tensor([1.5, 0.0]))
    edge = nn.Sequential(Normalize([0.0], [1.0]), nn.Flatten(), layer).eval()
    network = trace(edge, (1, 1, 1))
    images, y = torch.ones(1, 1, 1, 1), torch.zeros(1, dtype=torch.int64)
    assert float(ibp.Margins(network)(ibp.box(images, 1.0), y)[0, 1]) == pytest.approx(0.5, abs=1e-4)
    double = network.to(torch.float64)
    for norm in ("linf", "l2", "l1"):
        ball = crown.Balls(images.double(), torch.ones(1, dtype=torch.float64), norm)
        assert float(crown.margins(double, ball, y, crown.bounds(double, ball))[0, 1]) == pytest.approx(
            0.5, abs=1e-4
        )


@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_a_network_that_overflows_is_proved_nothing_about(name: str, parameters: dict[str, Any]) -> None:
    huge = [layer for _ in range(9) for layer in (nn.Linear(16, 16), nn.ReLU())]
    with torch.no_grad():
        for layer in huge[::2]:
            layer.weight.fill_(1e4)
            layer.weight[::2] *= -1
            layer.bias.normal_()
    whole = nn.Sequential(
        Normalize([0.3], [0.4]), nn.Sequential(nn.Flatten(), *huge, nn.Linear(16, 3))
    ).eval()
    declared = known_verifiers()[name]
    one = importlib.import_module(declared.module).prepare(
        whole, declared.parameters(**parameters), shape=SHAPE, norm="linf", radii=[], precision="fp32"
    )
    images = torch.rand(3, 1, 4, 4)
    verdicts = one.verify(images, one.executed(images).argmax(1))
    assert (verdicts.radius == 0).all()
