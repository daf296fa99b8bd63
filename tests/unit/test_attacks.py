"""Attacks against classifiers whose smallest adversarial distance is known, and against certificates."""

from __future__ import annotations

import math
import pkgutil
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from samplers import sampler_of
from torch import Tensor, nn

import jobs.attacks.search
import rsctl.catalog.attacks
from jobs.attacks import Found, distances, fooled
from jobs.attacks.search import Attacked, AttackSearch
from jobs.attacks.smoothed import outvoted
from jobs.certify.sampler import ImageCounts
from jobs.data import load
from jobs.models import build_model
from jobs.models.load import Executed
from rsctl.catalog import find, known_attacks, known_datasets
from rsctl.certificates import CountTable, find_certificate
from rsctl.errors import InputError, RefusedError

SIDE, SIGMA = 6, 0.25
CPU = torch.device("cpu")


class Linear(nn.Module):
    """Scores w_c·x + b_c."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight.T + self.bias

    def distance(self, x: Tensor, y: Tensor, order: float) -> Tensor:
        """(N, C): to the boundary with each class, by the dual norm; inf for the label's own."""
        scores, weight = self(x).double().detach(), self.weight.double().detach()
        lead = scores.gather(1, y[:, None]) - scores
        apart = torch.linalg.vector_norm(weight[y][:, None] - weight[None], ord=order, dim=2)
        return (lead / apart).nan_to_num(nan=math.inf).scatter(1, y[:, None], math.inf)


def linear(classes: int, images: int = 12) -> tuple[Linear, Tensor, Tensor]:
    """A linear classifier and images near grey, all of them right and away from the ends of [0, 1]."""
    torch.manual_seed(classes)
    x = 0.5 + 0.12 * torch.randn(images, 1, SIDE, SIDE).clamp(-3, 3)
    model = Linear(torch.randn(classes, SIDE * SIDE), torch.zeros(classes))
    model.bias.data = -model(x).mean(dim=0).detach()
    return model, x, model(x).argmax(dim=1)


def search(
    model: nn.Module, classes: int, attack: str = "ddn", norm: str = "l2", **changes: Any
) -> AttackSearch:
    declared = find("attack", attack, known_attacks())
    target = {key: changes.pop(key) for key in ("sigma", "noises", "n", "alpha", "key") if key in changes}
    return AttackSearch(
        declared.module, declared.parameters(**changes).model_dump(), model, classes, (1, SIDE, SIDE),
        norm=norm, device=CPU, **{"key": (0,), **target},
    )  # fmt: skip


def attacked(searching: AttackSearch, x: Tensor, y: Tensor, positions: list[int] | None = None) -> Attacked:
    """What is found for these images, in a batch that copies of the first fill up."""
    count = len(x)
    rows = [row if row < count else 0 for row in range(searching.batch)]
    positions = positions or list(range(count))
    found = searching(x[rows], y[rows], [positions[row] for row in rows], count)
    return Attacked(found.distance[:count], found.image[:count], found.predicted[:count])


def check(found: Found, model: nn.Module, x: Tensor, y: Tensor, norm: str = "l2", topk: int = 1) -> None:
    """What is found is an image, misclassified, and as far away as it says."""
    there = torch.isfinite(found.distance)
    assert found.image.min() >= 0
    assert found.image.max() <= 1
    assert torch.equal(found.distance[there], distances(x, found.image, norm)[there])
    assert torch.equal(found.image[~there], x[~there])
    if model is not None:
        assert fooled(model(found.image), y, topk)[there].all()


def test_every_declaration_has_its_search_and_every_search_its_declaration() -> None:
    names = {m.name for m in pkgutil.iter_modules(rsctl.catalog.attacks.__path__)}
    assert names == {m.name for m in pkgutil.iter_modules(jobs.attacks.__path__)} - {
        "search",
        "smoothed",
        "cascade",
    }
    for name, declared in known_attacks().items():
        assert declared.module == f"jobs.attacks.{name}"
        for field in declared.parameters.model_fields.values():
            assert field.description


@pytest.mark.parametrize(("attack", "norm"), [("ddn", "l2"), ("pgd", "l2"), ("pgd", "linf")])
def test_the_distance_to_a_plane(attack: str, norm: str) -> None:
    model, x, y = linear(2, 24)
    exact = model.distance(x, y, 2.0 if norm == "l2" else 1.0).min(dim=1).values
    changes = {"levels": 0} if attack == "ddn" else {}
    found = attacked(search(model, 2, attack, norm, **changes), x, y)
    check(found, model, x, y, norm)
    assert (found.distance >= exact * (1 - 1e-5)).all()
    assert (found.distance <= exact * 1.06 + 0.008).all()


@pytest.mark.parametrize("attack", ["ddn", "pgd"])
@pytest.mark.parametrize("loss", ["cross-entropy", "margin"])
def test_several_planes_and_the_failure_of_the_best_k(attack: str, loss: str) -> None:
    model, x, y = linear(6)
    exact = model.distance(x, y, 2.0).sort(dim=1).values
    for topk in (1, 3):
        changes = {"levels": 0} if attack == "ddn" else {}
        found = attacked(search(model, 6, attack, loss=loss, topk=topk, **changes), x, y)
        check(found, model, x, y, topk=topk)
        # The label must fall behind `topk` classes: no nearer than the k-th plane.
        assert (found.distance >= exact[:, topk - 1] * (1 - 1e-5)).all()
        if topk == 1:
            assert (found.distance <= exact[:, 0] * 1.45 + 0.01).all()
        assert torch.isfinite(found.distance).all()


def test_what_is_wrong_already_is_at_distance_zero_and_what_is_too_far_is_not_found() -> None:
    model, x, y = linear(2)
    wrong = torch.where(torch.arange(len(y)) < 3, 1 - y, y)
    exact = model.distance(x, y, 2.0).min(dim=1).values
    most = float(exact[3:].median())
    found = attacked(search(model, 2, epsilon=most, levels=0), x, wrong)
    check(found, model, x, wrong)
    assert found.distance[:3].tolist() == [0, 0, 0]
    assert torch.equal(torch.isfinite(found.distance[3:]), found.distance[3:] <= most)
    assert not torch.isfinite(found.distance[3:][exact[3:] > most]).any()
    assert torch.isfinite(found.distance[3:][exact[3:] < 0.9 * most]).all()


def test_a_model_that_is_certain_is_attacked_all_the_same() -> None:
    """Its probabilities round to 0 and 1 in float32; the gradient's squares would be zero."""
    model, x, y = linear(2)
    exact = model.distance(x, y, 2.0).min(dim=1).values
    for factor in (1e3, 1e5):
        sure = Linear(model.weight.data * factor, model.bias.data * factor)
        found = attacked(search(sure, 2, loss="margin", levels=0), x, y)
        assert (found.distance <= exact * 1.06 + 0.008).all()


def test_an_image_is_attacked_alike_whatever_stands_beside_it() -> None:
    x, y, model = digits()
    for attack, changes in {
        "pgd": {"restarts": 2, "searches": 3, "steps": 5},
        "ddn": {"steps": 10, "sigma": SIGMA, "noises": 64, "n": 200, "alpha": 0.001},
    }.items():
        searching = shaped(model, attack, **changes)
        together = attacked(searching, x[:6], y[:6], list(range(6)))
        for row in (0, 5):
            alone = attacked(searching, x[row : row + 1], y[row : row + 1], [row])
            assert torch.equal(alone.distance, together.distance[row : row + 1])
            assert torch.equal(alone.image, together.image[row : row + 1])
        assert torch.equal(attacked(searching, x[:6], y[:6], list(range(6))).distance, together.distance)
        other = attacked(shaped(model, attack, key=(1,), **changes), x[:6], y[:6], list(range(6)))
        assert not torch.equal(other.distance, together.distance)


@pytest.mark.parametrize(("attack", "changes"), [
    ("ddn", {}), ("ddn", {"noise": "fixed"}), ("ddn", {"average": "losses"}), ("pgd", {"searches": 5}),
])  # fmt: skip
def test_the_smoothed_classifier_of_a_plane(attack: str, changes: dict[str, Any]) -> None:
    """Votes of a linear f tie on its plane: the smoothed classifier has the same boundary."""
    model, x, y = linear(2)
    exact = model.distance(x, y, 2.0).min(dim=1).values
    target = {"sigma": SIGMA, "noises": 32, "n": 2000, "alpha": 0.001}
    found = attacked(search(model, 2, attack, **target, **changes), x, y)
    check(found, None, x, y)
    there = torch.isfinite(found.distance)
    assert there.float().mean() >= 0.9
    assert (found.distance > exact)[there].all()
    assert (found.distance[there] <= exact[there] * 1.1 + SIGMA * 10 / math.sqrt(2000)).all()


def test_the_gradient_is_that_of_the_average_asked_for() -> None:
    """Against the sums written out: Salman 2019, equation S, and Campbell 2020, equation 9."""
    x, y, model = digits()
    x, y = x[:3], y[:3]
    for average in ("probabilities", "losses"):
        target = shaped(
            model, sigma=SIGMA, noises=5, n=100, alpha=0.1, average=average, noise="fixed"
        ).smoothed
        assert target is not None
        target.rows = 6  # two noises at a time
        at = x.clone().requires_grad_()
        scores = target.classify([0, 1, 2])(at)
        (gradient,) = torch.autograd.grad(-scores[range(3), y].sum(), at)
        noise = target._noise([0, 1, 2], (1, 8, 8), 0)
        again = x.clone().requires_grad_()
        each = torch.stack([model(again + one).softmax(dim=1) for one in noise])
        assert torch.allclose(scores, each.mean(dim=0).log(), atol=1e-5)
        loss = -each.mean(dim=0).log() if average == "probabilities" else -each.log().mean(dim=0)
        (expected,) = torch.autograd.grad(loss[range(3), y].sum(), again)
        assert torch.allclose(gradient, expected, atol=1e-4 * float(expected.abs().max()))


def test_a_few_lucky_noises_are_no_adversarial_image() -> None:
    """Just on the right side of the plane a few noises often flip; that g doesn't return the label is never confirmed."""
    model, x, y = linear(2)
    normal = (model.weight.data[1] - model.weight.data[0]).view(1, SIDE, SIDE)
    normal = normal / normal.norm()
    signed = model.distance(x, torch.zeros_like(y), 2.0)[:, 1].float()
    near = x + (signed - 0.01 * SIGMA)[:, None, None, None] * normal
    target = search(model, 2, sigma=SIGMA, noises=8, n=500, alpha=0.001).smoothed
    assert target is not None
    label = model(near).argmax(dim=1)
    lucky = sum(
        fooled(target.classify([i * 100 + j for j in range(12)])(near), label, 1).sum() for i in range(10)
    )
    assert lucky > 20
    for trial in range(20):
        assert not target.wrong(target.votes(near, label, list(range(12)), trial), label).any()


def test_an_attack_takes_all_its_noise_from_all_of_its_key() -> None:
    """Starts, gradients and confirmations: what follows the seed tells the noise of splits apart."""
    drawn = []
    for key in ((0,), (0, "val", "data")):
        searching = search(linear(2)[0], 2, "pgd", sigma=SIGMA, noises=8, n=500, alpha=0.001, key=key)
        target = searching.smoothed
        assert target is not None
        near = torch.full((1, 1, SIDE, SIDE), 0.5)
        votes = target.votes(near, torch.zeros(1, dtype=torch.int64), [0], 0)
        attacker: Any = searching._attacker(target.classify([0]), [0])
        drawn.append((attacker.draw(), target._noise([0], (1, SIDE, SIDE), 0), torch.from_numpy(votes)))
    assert [torch.equal(one, other) for one, other in zip(*drawn, strict=True)] == [False] * 3


@dataclass
class Liar:
    """Calls the image of a small step adversarial, unseen."""

    step: float

    def search(self, images: Tensor, labels: Tensor) -> Found:
        at = (images + self.step / SIDE).clamp(0, 1)
        return Found(distances(images, at, "l2"), at)


def test_an_attack_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, y = linear(2)
    module = ModuleType("lying")
    module.prepare = lambda *_, **__: Liar(1e-4)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lying", module)
    for target in ({}, {"sigma": 0.01, "noises": 2, "n": 100, "alpha": 0.001}):
        searching = AttackSearch(
            "lying", {}, model, 2, (1, SIDE, SIDE), norm="l2", key=(0,), device=CPU, **target
        )
        exact = model.distance(x, y, 2.0).min(dim=1).values
        found = attacked(searching, x, y)
        # Of the smoothed classifier an image is moved on until it really is wrong, or given up.
        there = torch.isfinite(found.distance)
        assert (found.distance > exact)[there].all()
        assert not there.all()
        assert torch.equal(found.predicted, y)
        check(found, model, x, y)


def test_the_test_of_a_confirmation_holds_its_level() -> None:
    """When the label ties with its rival, a share alpha of confirmations may be wrong, and no more."""
    drawn = np.random.default_rng(0)
    for p, topk in (([0.5, 0.5], 1), ([0.3, 0.3, 0.4], 2), ([0.34, 0.33, 0.33], 1)):
        counts = np.stack([drawn.multinomial(100, p, 4000), drawn.multinomial(1000, p, 4000)], axis=1)
        share = (outvoted(counts, np.zeros(4000, np.int64), topk) <= 0.05).mean()
        assert share <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 4000)
    sure = np.array([[[10, 90], [100, 900]]])
    assert outvoted(sure, np.array([0]), 1) < 1e-9
    assert outvoted(sure, np.array([1]), 1) > 0.999


@cache
def digits() -> tuple[Tensor, Tensor, nn.Module]:
    """Test images of digits and a small network trained on noisy ones for a second or two."""
    dataset = find("data set", "digits", known_datasets())
    train, test = (load("digits", {}, split, Path("/nowhere")) for split in ("train", "test"))
    torch.manual_seed(0)
    model = build_model("cnn", {"width": 4}, dataset=dataset, shape=test.shape)
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    pixels, labels = train.batch(torch.arange(len(train)))
    for _ in range(150):
        rows = torch.randint(len(train), (128,))
        noisy = pixels[rows] / 255 + SIGMA * torch.randn(128, 1, 8, 8)
        loss = nn.functional.cross_entropy(model(noisy), labels[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    pixels, labels = test.batch(torch.arange(40))
    return pixels.float() / 255, labels, Executed(model.eval(), "fp32")


def shaped(model: nn.Module, attack: str = "ddn", **changes: Any) -> AttackSearch:
    """A search on images of digits."""
    searching = search(model, 10, attack, **changes)
    searching.shape = (1, 8, 8)
    return searching


def test_ddn_finds_nearer_images_than_one_run_of_pgd_and_searching_helps_pgd() -> None:
    x, y, model = digits()
    ddn = attacked(shaped(model), x, y)
    once = attacked(shaped(model, "pgd", searches=1), x, y)
    pgd = attacked(shaped(model, "pgd"), x, y)
    for found in (ddn, once, pgd):
        check(found, model, x, y)
        assert torch.isfinite(found.distance).all()
    assert float(model(x).argmax(dim=1).eq(y).float().mean()) > 0.8
    assert ddn.distance.mean() < 0.9 * once.distance.mean()
    assert pgd.distance.mean() < 0.9 * once.distance.mean()
    assert 0.9 < float(ddn.distance.mean() / pgd.distance.mean()) < 1.1
    assert 0.1 < float(ddn.distance.median()) < 1.5


def test_no_attack_beats_a_certificate() -> None:
    x, y, model = digits()
    x, y, n = x[:16], y[:16], 1000
    radius, predicted = certified(model, x, y, n)
    right = predicted == y.numpy()
    assert radius[right].mean() > 0.1
    for attack in ("ddn", "pgd"):
        changes = {"steps": 20} if attack == "ddn" else {"searches": 3, "steps": 6}
        found = attacked(shaped(model, attack, sigma=SIGMA, noises=32, n=n, alpha=0.001, **changes), x, y)
        check(found, None, x, y)
        distance = found.distance.numpy()
        assert (distance[right] >= radius[right]).all()
        assert np.isfinite(distance).mean() > 0.9
        # Not because it finds nothing: it stays within a few times the certificate.
        assert np.median(distance[right]) < 3 * np.median(radius[right])


def certified(model: nn.Module, x: Tensor, y: Tensor, n: int) -> tuple[np.ndarray, np.ndarray]:
    sampler = sampler_of(model, 10, sigma=SIGMA, key=(5,), n0=100, n=n, tile=400, block=100, device=CPU)
    images = [
        ImageCounts(i, int(label), image, torch.zeros(2, 10, dtype=torch.int64))
        for i, (image, label) in enumerate(zip(x, y, strict=True))
    ]
    for _ in sampler.run(images):
        pass
    counts = np.stack([image.counts.numpy() for image in images]).astype(np.int32)
    table = CountTable(
        counts[:, 0], counts[:, 1], counts[:, 1].sum(1), SIGMA, 64, "gaussian", "fixed", label=y.numpy()
    )
    made = find_certificate("cohen").certify(table, 0.001)
    return np.asarray(made.radius), np.asarray(made.predicted)


def test_what_cannot_be_attacked_is_named() -> None:
    model, x, y = linear(2)
    with pytest.raises(InputError, match="topk = 2 must be less than the number of classes, 2"):
        search(model, 2, topk=2)
    spoilt = Linear(model.weight.data * math.nan, model.bias.data)
    with pytest.raises(RefusedError, match="NaN or infinite"):
        attacked(search(spoilt, 2), x, y)
    with pytest.raises(RefusedError, match="not numbers"):
        attacked(search(spoilt, 2, sigma=SIGMA, noises=4, n=100, alpha=0.1), x, y)
