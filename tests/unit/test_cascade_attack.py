"""Attacks on a cascade whose smallest adversarial distance is known, and the level of their confirmation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from samplers import sampler_of
from scipy.special import ndtri
from test_attacks import SIDE, Linear, attacked, check, digits

from jobs.attacks.cascade import SOFTNESS, answers, joined, refuted
from jobs.attacks.search import AttackSearch, Before
from jobs.certify.sampler import ImageCounts
from rsctl.catalog import find, known_attacks
from rsctl.certificates import CountTable
from rsctl.certificates.cascade import Cascade
from rsctl.errors import InputError

CPU = torch.device("cpu")
TARGET = {"noises": 32, "n": 2000, "alpha": 0.001}


def search(model: Any, sigma: float, before: list[Before], classes: int, side: int, attack: str = "ddn", **changes: Any) -> AttackSearch:  # fmt: skip
    declared = find("attack", attack, known_attacks())
    return AttackSearch(
        declared.module, declared.parameters(**changes).model_dump(), model, classes, (1, side, side),
        norm="l2", device=CPU, key=(0,), sigma=sigma, before=before, **TARGET,
    )  # fmt: skip


def test_scores_are_those_of_the_level_that_answers() -> None:
    torch.manual_seed(0)
    logits = [torch.randn(200, 4) * 3 for _ in range(3)]
    taus = [0.8, 0.6]
    scores = joined([one.log_softmax(dim=1) for one in logits], taus)
    levels = set()
    for row in range(200):
        p = [one[row].softmax(0).numpy() for one in logits]
        level = next((k for k, tau in enumerate(taus) if p[k].max() > tau), 2)
        levels.add(level)
        np.testing.assert_allclose(scores[row].exp(), p[level], atol=1e-5)
    assert levels == {0, 1, 2}


def test_their_gradient_is_that_of_the_soft_choice_of_a_level() -> None:
    torch.manual_seed(1)
    logits = [torch.randn(5, 3, dtype=torch.float64).requires_grad_() for _ in range(3)]
    taus = [0.7, 0.6]
    p = [one.softmax(dim=1) for one in logits]
    shares, left = [], torch.ones(5, dtype=torch.float64)
    for one, tau in zip(p, taus, strict=False):
        answers_here = torch.sigmoid((one.max(dim=1).values - tau) / SOFTNESS)
        shares.append(left * answers_here)
        left = left * (1 - answers_here)
    mixed = sum(share[:, None] * one for share, one in zip([*shares, left], p, strict=True))
    expected = torch.autograd.grad(mixed[:, 0].log().sum(), logits)
    found = torch.autograd.grad(joined([one.log_softmax(dim=1) for one in logits], taus)[:, 0].sum(), logits)
    for mine, its in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, its)
        assert its.abs().max() > 0


def two_planes(offsets: tuple[float, float]) -> tuple[list[Linear], torch.Tensor, torch.Tensor]:
    """Levels with parallel planes, each with an offset, and images at several distances t from the middle; (N,) t."""
    torch.manual_seed(2)
    normal = torch.randn(SIDE * SIDE)
    normal /= normal.norm()
    grey = torch.full((SIDE * SIDE,), 0.5)
    models = [
        Linear(50 * torch.stack([-normal, normal]), 50 * torch.tensor([1.0, -1.0]) * (normal @ grey - b))
        for b in offsets
    ]
    t = torch.linspace(-0.9, 0.9, 16)
    return models, (grey + t[:, None] * normal).view(-1, 1, SIDE, SIDE), t


def of_line(t: NDArray[np.float64], offsets: tuple[float, float], sigmas: tuple[float, float], tau: float) -> NDArray[np.bool_]:  # fmt: skip
    """The class of the cascade at these distances: p^k_1 = Φ((t + b_k) / σ_k) of a steep linear network."""
    z = [(t + b) / sigma for b, sigma in zip(offsets, sigmas, strict=True)]
    return np.where(z[0] > ndtri(tau), True, np.where(-z[0] > ndtri(tau), False, z[1] > 0))


@pytest.mark.parametrize(("attack", "changes"), [("ddn", {"steps": 60}), ("pgd", {"searches": 10})])
@pytest.mark.parametrize(
    ("offsets", "tau"), [((0.0, 0.0), 0.8), ((0.3, -0.3), 0.7), ((-0.3, 0.2), 0.9), ((0.0, -0.5), 0.6)]
)
def test_the_distance_to_the_nearest_change_of_the_cascade(
    offsets: tuple[float, float], tau: float, attack: str, changes: dict[str, Any]
) -> None:
    """Across the plane of a level, and where level 1 stops answering and level 2 has another class."""
    models, x, t = two_planes(offsets)
    sigmas = (0.25, 0.5)
    here = of_line(t.double().numpy(), offsets, sigmas, tau)
    line = np.linspace(-2, 2, 40_001)
    there = of_line(line, offsets, sigmas, tau)
    exact = np.array(
        [np.abs(line[there != c] - s).min() for s, c in zip(t.double().numpy(), here, strict=True)]
    )
    y = torch.from_numpy(here.astype(np.int64))
    searching = search(models[1], 0.5, [Before(models[0], 0.25, tau)], 2, SIDE, attack, **changes)
    found = attacked(searching, x, y)
    check(found, None, x, y)
    distance = found.distance.numpy()
    # Draws can't tell what is within a few 1/√n of a change; nothing may be found before it.
    assert (distance >= exact - 1e-3).all()
    near = exact < 1
    assert np.isfinite(distance[near]).mean() >= 0.9
    close = np.isfinite(distance) & near
    assert (distance[close] <= exact[close] * 1.15 + 20 * max(sigmas) / math.sqrt(2000)).mean() >= 0.9


@pytest.mark.parametrize(
    ("p", "taus"),
    [
        ([[0.701, 0.299, 0], [0.02, 0.97, 0.01]], [0.7]),  # level 1 just returns the label, level 2 would not
        ([[0.3, 0.7, 0], [0.97, 0.02, 0.01]], [0.7]),  # level 1 nearly returns another class
        ([[0.4, 0.4, 0.2], [0.5, 0.5, 0]], [0.7]),  # level 1 passes, level 2 ties
        (
            [[0.61, 0.39, 0], [0.5, 0.5, 0], [0.1, 0.9, 0]],
            [0.6, 0.8],
        ),  # of three levels the first just returns it
        ([[0.5, 0.5, 0], [0.81, 0.19, 0], [0.1, 0.9, 0]], [0.6, 0.8]),
        ([[0.701, 0.299, 0], [0.5, 0.5, 0]], [0.7]),  # two of the hypotheses hold at once
    ],
)
def test_a_confirmation_is_wrong_with_probability_alpha_at_most(
    p: list[list[float]], taus: list[float]
) -> None:
    """Class 0 is what the cascade returns, or would with the next digit."""
    drawn, times = np.random.default_rng(0), 20_000
    votes = np.stack(
        [np.stack([drawn.multinomial(n, one, times) for one in p], axis=1) for n in (20, 200)], axis=1
    )
    for alpha in (0.05, 0.01):
        share = (refuted(votes, np.zeros(times, np.int64), taus) <= alpha).mean()
        assert share <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / times)


def test_what_is_certainly_wrong_is_confirmed() -> None:
    sure = np.array(
        [[[[2, 98], [50, 50]], [[20, 980], [500, 500]]], [[[50, 50], [3, 97]], [[520, 480], [30, 970]]]]
    )
    np.testing.assert_array_less(refuted(sure, np.array([0, 0]), [0.8]), 1e-9)
    assert (refuted(sure, np.array([1, 1]), [0.8]) == 1).all()
    level, rival = answers(sure[:, 1], [0.8])
    assert (level.tolist(), rival.tolist()) == ([0, 1], [1, 1])


def test_no_attack_beats_the_certificate_of_a_cascade() -> None:
    x, y, model = digits()
    x, y, n, sigmas, taus = x[:16], y[:16], 1000, (0.15, 0.3), (0.8,)
    tables = []
    for key, sigma in enumerate(sigmas):
        sampler = sampler_of(
            model, 10, sigma=sigma, key=(5, key), n0=100, n=n, tile=400, block=100, device=CPU
        )
        images = [
            ImageCounts(i, int(label), image, torch.zeros(2, 10, dtype=torch.int64))
            for i, (image, label) in enumerate(zip(x, y, strict=True))
        ]
        for _ in sampler.run(images):
            pass
        counts = np.stack([image.counts.numpy() for image in images])
        tables.append(CountTable(counts[:, 0], counts[:, 1], counts[:, 1].sum(1), sigma, 64))
    made = Cascade(sigmas, taus).certify(tables, 0.001)
    right = made.predicted == y.numpy()
    assert made.radius[right].mean() > 0.1
    found = attacked(search(model, 0.3, [Before(model, 0.15, 0.8)], 10, 8, steps=20), x, y)
    distance = found.distance.numpy()
    assert (distance[right] >= made.radius[right]).all()
    assert np.isfinite(distance).mean() > 0.9
    assert np.median(distance[right]) < 4 * np.median(made.radius[right])


def test_a_cascade_needs_noise_and_has_no_top_k() -> None:
    models, *_ = two_planes((0.0, 0.0))
    with pytest.raises(InputError, match="a cascade is attacked with sigma above 0"):
        search(models[1], 0.0, [Before(models[0], 0.25, 0.8)], 2, SIDE)
