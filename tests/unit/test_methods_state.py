"""What a method leaves behind: batch statistics, its own networks and optimisers, and what processes add up."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import pytest
import torch
from method_cases import CLASSES, IMAGES, SHAPE, case
from torch import Tensor, nn

from jobs.data.images import ArrayImages
from jobs.predictions import SoftPredictions
from jobs.random import hash32
from rsctl.catalog.declare import DataShape


class Normalised(nn.Module):
    """A network whose batch normalisation counts the batches it has seen in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1)
        self.last = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.norm(x).flatten(1))


@pytest.mark.parametrize(
    ("name", "changes", "forwards"),
    [
        ("smoothadv", {"steps": 2, "noises": 2}, 1),
        ("smoothadv", {"steps": 2, "noises": 2, "attack": "ddn"}, 1),
        ("smoothadv", {"steps": 2, "noises": 2, "attack": "pgd-no-grad"}, 1),
        ("consistency", {"steps": 2, "noises": 2}, 1),
        ("smoothmix", {"steps": 2, "noises": 2}, 2),
        ("adre-adv", {"steps": 2, "noises": 2}, 1),
        ("cat-rs", {"steps": 2, "noises": 2}, 2),
    ],
)
def test_an_attack_leaves_batch_statistics_alone(name: str, changes: dict[str, Any], forwards: int) -> None:
    """They come from what is trained on: an attack's forward passes are in eval mode, and the mode comes back."""
    one = case(name, **changes)
    model = Normalised().train()
    if name == "cat-rs":
        one.state.kept["soft"] = soft = SoftPredictions(IMAGES, CLASSES, torch.device("cpu"))
        soft.shares.fill_(1 / CLASSES)
    one.module.loss(model, one.x, one.y, one.state)[0].backward()
    assert model.training
    assert int(model.norm.num_batches_tracked) == forwards
    assert all(p.grad is not None for p in model.parameters())


def test_heat_follows_a_model_in_eval_mode() -> None:
    one = case("heat", timesteps=1)
    target = Normalised().train()
    one.state.kept["target"] = target
    one.module.loss(one.model, one.x, one.y, one.state)
    assert int(target.norm.num_batches_tracked) == 0


def test_heat_begins_a_timestep_with_an_optimiser_that_remembers_nothing() -> None:
    one = case("heat", timesteps=2, step=0)
    list(one.module.prepare(one.model, one.state))
    optimizer = one.state.optimizer = torch.optim.SGD(one.model.parameters(), lr=0.1, momentum=0.9)
    for step in (0, 49, 50):
        one.state.step = step
        one.module.loss(one.model, one.x, one.y, one.state)[0].backward()
        assert bool(optimizer.state) == (step == 49)
        optimizer.step()


def mapping_gradients(parts: list[slice]) -> list[Tensor]:
    """What the processes of a SODM step hand to `sum` for the mapping network, added up."""
    handed: list[list[Tensor]] = []
    for part in parts:
        one = case("sodm", noises=4, mapping_noises=10, mapping_interval=1, scale=1.0, step=5)
        list(one.module.prepare(one.model, one.state))
        one.state.mine, one.state.rows = part, torch.arange(IMAGES)[part]
        given: list[Tensor] = []
        one.state.sum = lambda tensor, given=given: given.append(tensor.clone()) or tensor
        one.module.update_mapping(one.model, one.state.kept["mapping"], one.x[part], one.y[part], one.state)
        handed.append(given)
    return [torch.stack(list(each)).sum(0) for each in zip(*handed, strict=True)]


def test_processes_add_up_to_the_mapping_networks_gradient() -> None:
    whole = mapping_gradients([slice(0, IMAGES)])
    halves = mapping_gradients([slice(0, 5), slice(5, IMAGES)])
    assert len(whole) == 4
    assert float(torch.stack([g.abs().max() for g in whole]).max()) > 1e-4
    for one, other in zip(whole, halves, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_a_mapping_update_draws_noises_of_its_own_and_gives_the_classifier_no_gradient() -> None:
    one = case("sodm", noises=4, mapping_noises=10, scale=1.0)
    list(one.module.prepare(one.model, one.state))
    drawn, noise = [], one.state.noise
    one.state.noise = lambda draw=0: drawn.append(draw) or noise(draw)
    one.module.update_mapping(one.model, one.state.kept["mapping"], one.x, one.y, one.state)
    assert drawn == list(range(4, 14))
    assert all(p.grad is None for p in one.model.parameters())


def test_the_mapping_network_steps_along_what_all_processes_add_up_to() -> None:
    one = case("sodm", noises=2, mapping_noises=4, scale=1.0, mapping_lr=0.01)
    list(one.module.prepare(one.model, one.state))
    mapping = one.state.kept["mapping"]
    before = [p.detach().clone() for p in mapping.parameters()]
    one.state.sum = lambda tensor: torch.full_like(tensor, 7.0)
    one.module.update_mapping(one.model, mapping, one.x, one.y, one.state)
    for old, new in zip(
        before, mapping.parameters(), strict=True
    ):  # Adam's first step: the rate, against the sign
        assert torch.allclose(old - 0.01, new, atol=1e-5)


class Halfspace(nn.Module):
    """Two classes apart by a plane: under noise the first has probability Φ(distance / σ)."""

    def forward(self, x: Tensor) -> Tensor:
        z = x.flatten(1).sum(1) / math.sqrt(16) - 2.0
        return torch.stack([z, torch.zeros_like(z)], dim=1)


@pytest.mark.parametrize("processes", [1, 2])
def test_cat_rs_has_the_teachers_smoothed_predictions(processes: int) -> None:
    """Σx/4 − 2 is the distance to the plane; the noise is the teacher's own (0.1, the pupil's is 0.25), another one for
    every image; processes share the images."""
    draws, pixels = 2500, torch.full((70, *SHAPE), 128, dtype=torch.uint8)
    pixels[1::2] = 133
    images = ArrayImages(pixels, torch.zeros(70, dtype=torch.int64), DataShape(1, 4, 2, {}), "")
    found = []
    for process in range(processes):
        one = case("cat-rs", teacher_draws=draws)
        one.state.images, one.state.process, one.state.processes = images, process, processes
        one.state.load = lambda role: Halfspace().eval()
        yields = sum(1 for _ in one.module.prepare(one.model, one.state))
        assert yields == 2  # a place to stop every 64 images
        found.append(one.state.kept["soft"].shares)
    shares = torch.stack(found).sum(0)
    assert torch.allclose(shares.sum(1), torch.ones(70))
    for value, rows in ((128, slice(0, 70, 2)), (133, slice(1, 70, 2))):
        p = NormalDist().cdf((16 * value / 255 / 4 - 2) / 0.1)
        assert 0.5 < p < 0.9
        sd = math.sqrt(p * (1 - p) / draws)
        assert float((shares[rows, 0] - p).abs().max()) < 5 * sd
        assert float(shares[rows, 0].std()) == pytest.approx(sd, rel=0.5)


def test_streams_of_training_noise_teacher_and_projections_are_apart() -> None:
    """Two purposes with one stream would make what should be independent the same."""
    one = case("cat-rs", noises=3)
    noises = one.state.noises(3)
    assert not any(torch.equal(noises[i], noises[j]) for i in range(3) for j in range(i))
    assert torch.equal(noises[1], one.state.noise(1))
    before = one.state.noise(0)
    one.state.step += 1
    assert not torch.equal(before, one.state.noise(0))
    keys = [
        hash32(3, purpose, 0)
        for purpose in ("training-noise", "teacher-noise", "crops", "confidence", "mixing", "noisy")
    ]
    assert len(set(keys)) == len(keys)
