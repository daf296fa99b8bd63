"""Each method's loss against its paper's formula, written out image by image and noise by noise."""

from __future__ import annotations

import math
import pkgutil
from statistics import NormalDist
from typing import Any

import pytest
import torch
from method_cases import CLASSES, IMAGES, agree, case, value_and_gradients, written_out
from pydantic import ValidationError
from torch import Tensor, nn

import jobs.methods
import rsctl.catalog.methods
from jobs.adversary import ddn, pgd
from jobs.losses import within
from rsctl.catalog import known_methods
from rsctl.catalog.recipe import Recipe

QUANTILE = NormalDist().inv_cdf


def softmax(logits: Tensor) -> Tensor:
    e = (logits - logits.max()).exp()
    return e / e.sum()


def cross_entropy(logits: Tensor, y: int) -> Tensor:
    return logits.logsumexp(0) - logits[y]


def divergence(p: Tensor, q: Tensor) -> Tensor:
    return sum(p[c] * (p[c] / q[c]).log() for c in range(CLASSES))


def quantile(p: Tensor) -> Tensor:
    return math.sqrt(2) * torch.erfinv(2 * p - 1)


def smoothed(f: Any, x: Tensor, noises: list[Tensor]) -> Tensor:
    return sum(softmax(f(x + noise)) for noise in noises) / len(noises)


def mean_loss(f: Any, x: Tensor, y: int, noises: list[Tensor]) -> Tensor:
    return sum(cross_entropy(f(x + noise), y) for noise in noises) / len(noises)


def ascent(
    objective: Any, x: Tensor, length: float, steps: int, radius: float = math.inf, last: str = "ball"
) -> list[Tensor]:
    """The points of a projected gradient ascent, one image; cut to [0, 1] and then to the ball, or the other way round."""
    at, points = x, []
    for _ in range(steps):
        variable = at.detach().requires_grad_()
        (g,) = torch.autograd.grad(objective(variable), variable)
        at = at + length * g / g.norm()
        moved = (at.clamp(0, 1) if last == "ball" else at) - x
        at = x + moved * min(1.0, radius / float(moved.norm()))
        at = at if last == "ball" else at.clamp(0, 1)
        points.append(at.detach())
    return points


def test_every_declaration_has_its_loss_and_every_loss_its_declaration() -> None:
    names = {m.name for m in pkgutil.iter_modules(rsctl.catalog.methods.__path__)}
    assert names == {m.name for m in pkgutil.iter_modules(jobs.methods.__path__)}
    for name, declared in known_methods().items():
        assert declared.module == f"jobs.methods.{name.replace('-', '_')}"


@pytest.mark.parametrize("name", sorted(known_methods()))
@pytest.mark.parametrize("dataset", ["cifar10", "imagenet", "digits", "imagefolder", "mnist"])
def test_defaults_are_fields_and_say_where_they_come_from(name: str, dataset: str) -> None:
    method = known_methods()[name]
    for entry in method.defaults:
        assert entry.source
        assert set(entry.values) <= {*method.parameters.model_fields, *Recipe.model_fields}
    for sigma in (0.12, 0.25, 0.5, 1.0):
        values = method.default_values(dataset, sigma)
        hyper = method.parameters(**{k: v for k, v in values.items() if k in method.parameters.model_fields})
        recipe = Recipe(**{k: v for k, v in values.items() if k in Recipe.model_fields})
        if recipe.noise_steps == "smaller":
            assert recipe.batch_size % hyper.noises == 0
    for field in method.parameters.model_fields.values():
        assert field.description


def test_gaussian() -> None:
    agree(case("gaussian"), lambda f, x, y, noises, i: cross_entropy(f(x + noises[0]), y))


def test_stability() -> None:
    def formula(f: Any, x: Tensor, y: int, noises: list[Tensor], i: int) -> Tensor:
        p, q = softmax(f(x)), softmax(f(x + noises[0]))
        return cross_entropy(f(x), y) + 1.5 * -sum(p[c] * q[c].log() for c in range(CLASSES))

    agree(case("stability", lbd=1.5), formula)


def test_consistency() -> None:
    def formula(f: Any, x: Tensor, y: int, noises: list[Tensor], i: int) -> Tensor:
        mean = smoothed(f, x, noises)
        spread = sum(divergence(mean, softmax(f(x + noise))) for noise in noises) / len(noises)
        return mean_loss(f, x, y, noises) + 7.0 * spread - 0.5 * sum(m * m.log() for m in mean)

    agree(case("consistency", noises=3, lbd=7.0, eta=0.5, scale=2.0), formula)


@pytest.mark.parametrize("last", ["ball", "box"])
def test_consistency_at_adversarial_images(last: str) -> None:
    def formula(f: Any, x: Tensor, y: int, noises: list[Tensor], i: int) -> Tensor:
        found = [
            ascent(lambda v: -smoothed(f, v, noises)[y].log(), x, 2 * 0.9 / 3, 3, 0.9, order)[-1]
            for order in (last, "ball")
        ]
        apart.append(float((found[0] - found[1]).abs().max()))
        at = found[0]
        mean = smoothed(f, at, noises)
        spread = sum(divergence(mean, softmax(f(at + noise))) for noise in noises) / len(noises)
        return mean_loss(f, at, y, noises) + 2.0 * spread - 0.5 * sum(m * m.log() for m in mean)

    apart: list[float] = []
    changes = {"steps": 3, "epsilon": 1.8, "warmup": 4, "epoch": 1.0, "last_cut": last}
    agree(case("consistency", noises=2, lbd=2.0, eta=0.5, scale=2.0, **changes), formula, digits=5e-4)
    assert (max(apart) > 0.01) == (last == "box")


@pytest.mark.parametrize(("gamma", "epoch"), [(8.0, 5.0), (1.0, 5.0), (8.0, 1.0)])
def test_macer(gamma: float, epoch: float) -> None:
    def formula(f: Any, x: Tensor, y: int, noises: list[Tensor], i: int) -> Tensor:
        value = -(smoothed(f, x, noises)[y] + 1e-10).log()
        hot = sum(softmax(4.0 * f(x + noise)) for noise in noises) / len(noises)
        order = hot.argsort(descending=True)
        if order[0] == y and epoch >= 2:
            margin = quantile(hot[order[0]]) - quantile(hot[order[1]])
            if margin <= gamma:
                value = value + 12.0 * 0.25 / 2 * (gamma - margin)
        return value

    one = case("macer", noises=5, beta=4.0, gamma=gamma, lbd=12.0, lbd_from_epoch=2.0, scale=1.0, epoch=epoch)
    agree(one, formula, digits=1e-3)


def test_macer_has_finite_gradients_where_the_network_is_certain() -> None:
    value, gradients = value_and_gradients(case("macer", scale=1000.0))
    assert math.isfinite(value)
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("noises", [1, 3])
@pytest.mark.parametrize("epoch", [0.5, 9.0])
def test_smoothadv_with_pgd(noises: int, epoch: float) -> None:
    radius = min(0.6, (int(epoch) + 1) * 0.6 / 4)

    def formula(f: Any, x: Tensor, y: int, noises: list[Tensor], i: int) -> Tensor:
        def objective(at: Tensor) -> Tensor:
            return -smoothed(f, at, noises)[y].log()

        at = ascent(objective, x, 2 * radius / 3, 3, radius)[-1]
        return mean_loss(f, at, y, noises)

    agree(case("smoothadv", noises=noises, steps=3, epsilon=0.6, warmup=4, epoch=epoch, scale=3.0), formula)


def test_smoothadv_without_gradients_follows_steins_direction_and_may_train_on_one_noise() -> None:
    def formula(f: Any, x: Tensor, y: int, noises: list[Tensor], i: int) -> Tensor:
        at = x
        for _ in range(2):
            direction = sum(-softmax(f(at + n))[y].detach() * n for n in noises) / len(noises)
            at = (at + 0.5 * direction / direction.norm()).clamp(0, 1)
            at = x + (at - x) * min(1.0, 0.5 / float((at - x).norm()))
        return cross_entropy(f(at + noises[0]), y)

    changes = {"attack": "pgd-no-grad", "train_multi_noise": False, "warmup": 1}
    agree(case("smoothadv", noises=6, steps=2, epsilon=0.5, scale=3.0, **changes), formula)


@pytest.mark.parametrize("decision", ["mean", "votes"])
def test_smoothadv_with_ddn(decision: str) -> None:
    def votes(f: Any, at: Tensor, noises: list[Tensor]) -> int:
        classes = [int(f(at + noise).argmax()) for noise in noises]
        return max(range(CLASSES), key=classes.count)

    def formula(f: Any, x: Tensor, y: int, noises: list[Tensor], i: int) -> Tensor:
        delta, norm, best = torch.zeros_like(x), 0.8, None
        for step in range(4):
            by_mean = int(smoothed(f, x + delta, noises).argmax())
            by_votes = votes(f, x + delta, noises)
            differ.append(by_mean != by_votes)
            fooled = (by_votes if decision == "votes" else by_mean) != y
            if fooled and (best is None or delta.norm() < best.norm()):
                best = delta
            at = (x + delta).detach().requires_grad_()
            (g,) = torch.autograd.grad(-smoothed(f, at, noises)[y].log(), at)
            delta = delta + (0.01 + 0.99 * (1 + math.cos(math.pi * step / 4)) / 2) * g / g.norm()
            norm *= 0.95 if fooled else 1.05
            delta = delta * norm / delta.norm()
            delta = ((x + delta).clamp(0, 1) * 255).round() / 255 - x
        at = x if best is None else x + best * (min(1.0, 0.8 / float(best.norm())) if best.norm() else 1.0)
        return mean_loss(f, at.detach(), y, noises)

    differ: list[bool] = []
    changes = {"attack": "ddn", "steps": 4, "epsilon": 0.8, "warmup": 1, "decision": decision}
    agree(case("smoothadv", noises=4, scale=3.0, **changes), formula)
    assert any(differ)


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        (
            "smoothadv",
            {"decision": "votes"},
            "decision = 'votes' is of attack = 'ddn', and this one is 'pgd'",
        ),
        ("consistency", {"last_cut": "box"}, "last_cut = 'box' is of the attack: set steps"),
    ],
)
def test_what_an_attack_is_told_wants_that_attack(name: str, values: dict[str, str], said: str) -> None:
    """Otherwise one training would have two names."""
    with pytest.raises(ValidationError, match=said):
        known_methods()[name].parameters(**values)


def test_attacks_stay_in_their_ball_and_among_images() -> None:
    torch.manual_seed(0)
    x = torch.rand(20, 1, 4, 4)
    weight = torch.randn(1, 4, 4)
    for found in (
        pgd(x, lambda at: weight.expand_as(at), 0.7, 4),
        x + within(ddn(x, lambda at: ((at * weight).sum((1, 2, 3)) > 1, weight.expand_as(at)), 0.7, 8), 0.7),
    ):
        assert float((found - x).flatten(1).norm(dim=1).max()) <= 0.7 + 1e-5
        assert found.min() >= -1e-6
        assert found.max() <= 1 + 1e-6


def test_ddn_leaves_an_image_that_is_wrong_already() -> None:
    x = torch.rand(3, 1, 4, 4)
    found = ddn(x, lambda at: (torch.ones(3, dtype=torch.bool), torch.ones_like(at)), 0.5, 5)
    assert torch.equal(found, torch.zeros_like(x))


@pytest.mark.parametrize("one_step", [False, True])
def test_smoothmix(one_step: bool) -> None:
    one = case(
        "smoothmix", noises=2, steps=3, alpha=0.3, eta=5.0, warmup=4, one_step=one_step, epoch=1.2, scale=2.0
    )
    shares = one.state.uniform("mixing", 1)[:, 0].double() / 2

    def formula(f: Any, x: Tensor, y: int, noises: list[Tensor], i: int) -> Tensor:
        points = ascent(lambda at: -smoothed(f, at, noises)[y].log(), x, 0.3, 3)
        # The first step's length grows with the weight: half of it in the second of four epochs.
        first = x + (points[0] - x) * min(1.0, 0.3 * 2 / 4 / float((points[0] - x).norm()))
        start, share = (first if one_step else x), shares[i]
        mean = smoothed(f, start, noises)
        value = mean_loss(f, start, y, noises)
        if int(mean.argmax()) == y:
            target = (1 - share) * mean + share / CLASSES
            mixed = (1 - share) * start + share * points[-1]
            spread = sum(divergence(target, softmax(f(mixed + noise))) for noise in noises) / len(noises)
            value = value + 5.0 * (2 / 4) * spread
        return value

    assert 0 <= float(shares.min()) < float(shares.max()) <= 0.5
    agree(one, formula, digits=5e-4)


@pytest.mark.parametrize("single_draw", [False, True])
def test_adre_reg(single_draw: bool) -> None:
    def formula(f: Any, x: Tensor, y: int, noises: list[Tensor], i: int) -> Tensor:
        g = smoothed(f, x, noises)
        wrong = max((c for c in range(CLASSES) if c != y), key=lambda c: float(g[c].detach()))
        first = mean_loss(f, x, y, noises[:1] if single_draw else noises)
        return first - 0.3 * -g[wrong].log()

    agree(case("adre-reg", noises=4, lbd=0.3, single_draw=single_draw, floor=1e-12, scale=2.0), formula)


def test_adre_is_bounded_where_the_runner_up_vanishes() -> None:
    one = case("adre-reg", noises=2, lbd=10.0, floor=1e-3, scale=500.0)
    value, _ = value_and_gradients(one)
    assert value >= 10.0 * math.log(1e-3)


def test_adre_adv() -> None:
    def objective(f: Any, at: Tensor, y: int, noises: list[Tensor]) -> Tensor:
        g = smoothed(f, at, noises)
        wrong = max((c for c in range(CLASSES) if c != y), key=lambda c: float(g[c].detach()))
        return -g[y].log() - 0.3 * -g[wrong].log()

    def formula(f: Any, x: Tensor, y: int, noises: list[Tensor], i: int) -> Tensor:
        radius = 0.6 * 2 / 3  # the second of three epochs of warm-up
        at = ascent(lambda point: objective(f, point, y, noises), x, 2 * radius / 2, 2, radius)[-1]
        g = smoothed(f, at, noises)
        wrong = max((c for c in range(CLASSES) if c != y), key=lambda c: float(g[c].detach()))
        return mean_loss(f, at, y, noises) - 0.3 * -g[wrong].log()

    changes = {"steps": 2, "epsilon": 0.6, "warmup": 3, "epoch": 1.5}
    one = case("adre-adv", noises=3, lbd=0.3, floor=1e-12, scale=2.0, **changes)
    agree(one, formula, digits=5e-4)


@pytest.mark.parametrize("epoch", [0.0, 35.0])
def test_sodm(epoch: float) -> None:
    one = case(
        "sodm",
        noises=4,
        beta=6.0,
        beta_epoch=35.0,
        beta_factor=10.0,
        rho=0.6,
        mapping_interval=1000,
        scale=4.0,
        epoch=epoch,
    )
    list(one.module.prepare(one.model, one.state))
    beta, kinds = 60.0 if epoch >= 35 else 6.0, set()

    def formula(f: Any, x: Tensor, y: int, noises: list[Tensor], i: int) -> Tensor:
        g = smoothed(f, x, noises)  # the mapping network begins as the softmax
        kinds.add("wrong" if int(g.argmax()) != y else "right" if g[y] < 0.6 else "sure")
        if int(g.argmax()) != y:
            return -g[y].log()
        return -beta * quantile(g[y]) if g[y] < 0.6 else 0.0 * g[y]

    agree(one, formula)
    assert kinds == {"wrong", "right", "sure"}


def test_sodm_updates_its_mapping_every_few_steps_and_leaves_the_classifier_alone() -> None:
    one = case("sodm", noises=4, mapping_noises=10, mapping_interval=5, scale=1.0, step=5)
    list(one.module.prepare(one.model, one.state))
    mapping = one.state.kept["mapping"]
    before = [p.clone() for p in mapping.parameters()]
    classifier = [p.clone() for p in one.model.parameters()]
    value_and_gradients(one)
    assert any(not torch.equal(a, b) for a, b in zip(before, mapping.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(classifier, one.model.parameters(), strict=True))
    before = [p.clone() for p in mapping.parameters()]
    one.state.step = 6
    value_and_gradients(one)
    assert all(torch.equal(a, b) for a, b in zip(before, mapping.parameters(), strict=True))


def soft_predictions(one: Any) -> Tensor:
    """A teacher's class shares, with zeros among them, in the state as `prepare` leaves them."""
    from jobs.predictions import SoftPredictions

    soft = one.state.keep("soft", SoftPredictions(IMAGES, CLASSES, torch.device("cpu")))
    soft.shares.copy_(torch.softmax(4 * torch.randn(IMAGES, CLASSES), dim=1))
    soft.shares[0] = torch.eye(CLASSES)[1]
    soft.done.fill_(IMAGES)
    return soft.shares.double()


@pytest.mark.parametrize("confidence", ["current", "teacher"])
@pytest.mark.parametrize("epoch", [0.0, 80.0])
def test_cat_rs(confidence: str, epoch: float) -> None:
    changes = {"steps": 2, "epsilon": 0.5, "lbd": 2.0, "doubling_epoch": 80.0, "confidence": confidence}
    one = case("cat-rs", noises=3, scale=2.0, epoch=epoch, **changes)
    shares = soft_predictions(one)
    chance = one.state.uniform("confidence", 3).double()
    radius, counted = (1.0 if epoch >= 80 else 0.5), set()

    def formula(f: Any, x: Tensor, y: int, noises: list[Tensor], i: int) -> Tensor:
        q = shares[i]

        def spread(noise: Tensor) -> Tensor:
            log_f = softmax(f(x + noise)).log()
            return sum(q[c] * (q[c].log() - log_f[c]) for c in range(CLASSES) if q[c] > 0)

        sure = (
            sum(int(f(x + n).argmax()) == y for n in noises) / 3 if confidence == "current" else float(q[y])
        )
        k = max(1, int((chance[i] < sure).sum()))
        losses = sorted((cross_entropy(f(x + n), y) for n in noises), key=lambda v: float(v.detach()))
        value = sum(losses[:k]) / 3
        counted.add(k)
        if k < 3:
            return value
        worst = []
        for n in noises:
            at = n
            for _ in range(2):
                variable = at.detach().requires_grad_()
                (g,) = torch.autograd.grad(spread(variable), variable)
                moved = at + radius * g / g.norm() - n
                at = n + moved * min(1.0, radius / float(moved.norm()))
                at = n.mean() + (at - at.mean()) / at.square().mean().sqrt() * n.square().mean().sqrt()
            worst.append(spread(at.detach()))
        return value + 2.0 * max(worst, key=lambda v: float(v.detach()))

    agree(one, formula, digits=1e-3)
    assert 3 in counted
    assert len(counted) > 1


@pytest.mark.parametrize("softmaxed", [False, True])
@pytest.mark.parametrize("noisy_share", [0.0, 0.5])
def test_heat(softmaxed: bool, noisy_share: float) -> None:
    changes = {"gamma": 3.0, "timesteps": 4, "projections": 3, "difference": 0.1}
    one = case("heat", softmax=softmaxed, noisy_share=noisy_share, scale=2.0, **changes)
    list(one.module.prepare(one.model, one.state))
    teacher = one.teacher.double()
    chosen = one.state.uniform("noisy", 1)[:, 0] < noisy_share
    directions = [one.state.normal(f"projection {j}", CLASSES).double() / CLASSES**0.5 for j in range(3)]

    def formula(f: Any, x: Tensor, y: int, noises: list[Tensor], i: int) -> Tensor:
        u = teacher(x[None])[0]
        at = x + noises[0] if chosen[i] else x
        a = softmax if softmaxed else (lambda v: v)
        value = 0.5 * (a(f(at)) - a(u)).square().sum()
        for w in (direction[i] for direction in directions):
            variable = at.detach().requires_grad_()
            (g,) = torch.autograd.grad((w * f(variable)).sum(), variable)
            ahead = at + 0.1 * g / g.norm()
            value = (
                value + 3.0 * (1 / 4) * 0.25**2 / 2 * (((w * f(ahead)).sum() - (w * f(at)).sum()) / 0.1) ** 2
            )
        return value

    one.teacher.float()
    mine = value_and_gradients(one)
    one.teacher.double()
    expected = written_out(one, formula)
    assert mine[0] == pytest.approx(expected[0], rel=1e-3)
    for got, wanted in zip(mine[1], expected[1], strict=True):
        assert torch.allclose(got, wanted, rtol=1e-2, atol=1e-3 * float(wanted.abs().max()))


def test_heat_estimates_the_jacobian_of_a_linear_model() -> None:
    """κ projections estimate ‖∇v‖²·κ/C: exactly ‖W‖² on average for κ = C."""
    one = case("heat", projections=400, difference=0.01)
    weight = torch.randn(CLASSES, 16)
    x = torch.rand(IMAGES, 1, 4, 4, requires_grad=True)
    linear = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, CLASSES, bias=False))
    linear[1].weight.data = weight
    found = one.module.squared_jacobian(linear, x, linear(x), one.state).mean() * CLASSES / 400
    assert float(found.detach()) == pytest.approx(float(weight.square().sum()), rel=0.05)


def test_heat_takes_each_timestep_from_the_last_and_may_begin_anew() -> None:
    for reinitialize in (False, True):
        one = case("heat", timesteps=4, reinitialize=reinitialize, step=0)
        list(one.module.prepare(one.model, one.state))
        target = one.state.kept["target"]
        for step, begins in ((0, True), (1, False), (24, False), (25, True), (26, False), (75, True)):
            before = {k: v.clone() for k, v in one.model.state_dict().items()}
            f_before = {k: v.clone() for k, v in target.state_dict().items()}
            one.state.step = step
            one.module.begin_timestep(one.model, one.state)
            changed = not all(torch.equal(before[k], v) for k, v in one.model.state_dict().items())
            assert changed == (begins and reinitialize)
            expected = before if begins and step else f_before
            assert all(torch.equal(expected[k], v) for k, v in target.state_dict().items())


def test_images_share_nothing_but_the_mean() -> None:
    """A loss is a mean over images: else two processes with half a batch each would train something else."""
    for name in sorted({*known_methods()} - {"denoise"}):  # in test_denoised.py
        one = case(name, scale=2.0, step=1)
        if name in ("crown-ibp", "ibp", "lipschitz-margin"):  # they bound networks that they can outline
            one.model = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, CLASSES))
        if name == "cat-rs":
            soft_predictions(one)
        elif hasattr(one.module, "prepare"):
            list(one.module.prepare(one.model, one.state))
        whole = float(one.module.loss(one.model, one.x, one.y, one.state)[0].detach())
        parts, x, y = [], one.x, one.y
        for part in (slice(0, 5), slice(5, IMAGES)):
            one.state.mine, one.state.rows = part, torch.arange(IMAGES)[part]
            parts.append(
                one.state.share(y[part])
                * float(one.module.loss(one.model, x[part], y[part], one.state)[0].detach())
            )
        assert sum(parts) == pytest.approx(whole, abs=2e-5), name
