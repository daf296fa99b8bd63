"""The recipe: schedules beside torch's own, optimisers written out, label smoothing, clipping, and what is recorded."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from chain import Chain, tiny
from method_cases import CLASSES, agree, case
from pydantic import ValidationError
from torch import Tensor, nn
from torch.optim import lr_scheduler

from jobs.models.statistics import batch_statistics
from jobs.noise import smoothing_noise
from jobs.training.optimizers import make_optimizer
from jobs.training.schedule import learning_rate
from rsctl.catalog.recipe import Recipe
from rsctl.errors import InputError
from rsctl.store.files import read_records

PER_EPOCH = 7


def torchs(make: Any, epochs: int, lr: float = 0.1) -> list[float]:
    """The rate of every epoch by one of torch's schedulers."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler, rates = make(optimizer), []
    for _ in range(epochs):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("recipe", "make"),
    [
        ({"schedule": "step", "step_epochs": 4}, lambda o: lr_scheduler.StepLR(o, 4, gamma=0.1)),
        (
            {"schedule": "step", "milestones": [3.0, 8.0], "step_factor": 0.2},
            lambda o: lr_scheduler.MultiStepLR(o, [3, 8], gamma=0.2),
        ),
        ({"schedule": "constant"}, lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
    ],
)
def test_rates_of_an_epoch_are_torchs(recipe: dict[str, Any], make: Any) -> None:
    ours = Recipe(epochs=10, **recipe)
    for epoch, rate in enumerate(torchs(make, 10)):
        for step in range(PER_EPOCH):
            assert learning_rate(ours, epoch * PER_EPOCH + step, PER_EPOCH) == pytest.approx(rate)


def step_after(optimizer: Any, scheduler: Any, epoch: int, train: Any) -> None:
    """Jeong 2020, 2021, 2023."""
    train()
    scheduler.step(epoch)


def step_before(optimizer: Any, scheduler: Any, epoch: int, train: Any) -> None:
    """Cohen 2019, Salman 2019."""
    scheduler.step(epoch)
    train()


def step_first_without_number(optimizer: Any, scheduler: Any, epoch: int, train: Any) -> None:
    """MACER, whose epochs count from 1."""
    scheduler.step()
    train()


@pytest.mark.filterwarnings("ignore:.*lr_scheduler", "ignore:.*epoch parameter")
@pytest.mark.parametrize(
    ("recipe", "make", "call", "falls"),
    [
        ({"epochs": 150, "step_epochs": 50, "step_shift": 1}, lambda o: lr_scheduler.StepLR(o, 50), step_after, [51, 101]),
        ({"epochs": 90, "step_epochs": 30, "step_shift": 1}, lambda o: lr_scheduler.StepLR(o, 30), step_after, [31, 61]),
        ({"epochs": 150, "step_epochs": 50}, lambda o: lr_scheduler.StepLR(o, 50), step_before, [50, 100]),
        (
            {"epochs": 440, "milestones": [200.0, 400.0], "step_shift": -1},
            lambda o: lr_scheduler.MultiStepLR(o, [200, 400]),
            step_first_without_number,
            [199, 399],
        ),
        ({"epochs": 9, "step_epochs": 3, "step_shift": -1}, lambda o: lr_scheduler.StepLR(o, 3), step_first_without_number, [2, 5, 8]),
    ],
)  # fmt: skip
def test_what_was_executed_is_torchs_scheduler_called_as_the_authors_code_calls_it(
    recipe: dict[str, Any], make: Any, call: Any, falls: list[int]
) -> None:
    ours = Recipe(schedule="step", **recipe)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = make(optimizer)
    theirs: list[float] = []

    def train() -> None:
        theirs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()

    for epoch in range(ours.epochs):
        call(optimizer, scheduler, epoch, train)
    last = PER_EPOCH - 1
    assert [
        learning_rate(ours, epoch * PER_EPOCH, PER_EPOCH) for epoch in range(ours.epochs)
    ] == pytest.approx(theirs)
    assert [
        learning_rate(ours, epoch * PER_EPOCH + last, PER_EPOCH) for epoch in range(ours.epochs)
    ] == pytest.approx(theirs)
    assert [epoch for epoch in range(1, ours.epochs) if theirs[epoch] < theirs[epoch - 1]] == falls


def test_a_shift_beyond_the_training_is_refused() -> None:
    assert Recipe(epochs=1, step_shift=1).step_shift == 1  # a template tried for an epoch
    with pytest.raises(
        ValidationError, match="step_shift = 31 is more than epochs = 30: the learning rate would never fall"
    ):
        Recipe(epochs=30, step_shift=31)


def test_a_cosine_by_step_is_torchs() -> None:
    rates = torchs(lambda o: lr_scheduler.CosineAnnealingLR(o, 10 * PER_EPOCH), 10 * PER_EPOCH)
    ours = Recipe(epochs=10, schedule="cosine")
    assert [learning_rate(ours, step, PER_EPOCH) for step in range(70)] == pytest.approx(rates, abs=1e-12)


@pytest.mark.parametrize("schedule", ["step", "cosine", "onecycle", "constant"])
def test_a_warm_up_grows_by_equal_steps_and_reaches_the_rate(schedule: Any) -> None:
    ours = Recipe(epochs=10, schedule=schedule, warmup_epochs=2.0, step_epochs=5)
    rates = [learning_rate(ours, step, PER_EPOCH) for step in range(70)]
    assert rates[:15] == pytest.approx([0.1 * (step + 1) / 15 for step in range(15)])
    if schedule in ("cosine", "onecycle"):
        assert rates[14:] == sorted(rates[14:], reverse=True)
        assert rates[-1] < 0.001
    if schedule == "step":
        assert rates[34:36] == pytest.approx(
            [0.1, 0.01]
        )  # reductions are counted from the start, not from the warm-up


def test_a_cycle_begins_again() -> None:
    ours = Recipe(epochs=12, schedule="step", milestones=[2.0], cycle_epochs=4)
    epochs = [learning_rate(ours, epoch * PER_EPOCH, PER_EPOCH) for epoch in range(12)]
    assert epochs == pytest.approx([0.1, 0.1, 0.01, 0.01] * 3)


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_is_the_formula(nesterov: bool) -> None:
    recipe = Recipe(lr=0.2, momentum=0.8, weight_decay=0.03, nesterov=nesterov)
    model = nn.Linear(3, 1, bias=False)
    w, v = model.weight.detach().clone(), torch.zeros(1, 3)
    optimizer = make_optimizer(recipe, model)
    for step in range(4):
        g = torch.tensor([[1.0, -2.0, step]])
        model.weight.grad = g.clone()
        optimizer.step()
        d = g + 0.03 * w
        v = d if step == 0 else 0.8 * v + d
        w = w - 0.2 * (d + 0.8 * v if nesterov else v)
        assert torch.allclose(model.weight, w, atol=1e-6)


def test_decay_in_lp_is_that_of_adamw_for_layers_without_a_p() -> None:
    torch.manual_seed(0)
    mine, theirs = (nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)) for _ in range(2))
    theirs.load_state_dict(mine.state_dict())
    recipe = Recipe(optimizer="adamw-lp", lr=0.1, momentum=0.8, weight_decay=0.5)
    for model, optimizer in (
        (mine, make_optimizer(recipe, mine)),
        (
            theirs,
            torch.optim.AdamW(theirs.parameters(), lr=0.1, betas=(0.8, 0.99), eps=1e-10, weight_decay=0.5),
        ),
    ):
        torch.manual_seed(1)
        for _ in range(5):
            optimizer.zero_grad()
            model(torch.rand(6, 4)).square().sum().backward()
            optimizer.step()
    for one, other in zip(mine.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_adam_is_the_formula() -> None:
    recipe = Recipe(optimizer="adam", lr=0.2, momentum=0.8, weight_decay=0.03)
    model = nn.Linear(3, 1, bias=False)
    w, m, v = model.weight.detach().clone(), torch.zeros(1, 3), torch.zeros(1, 3)
    optimizer = make_optimizer(recipe, model)
    for step in range(1, 5):
        g = torch.tensor([[1.0, -2.0, step]])
        model.weight.grad = g.clone()
        optimizer.step()
        d = g + 0.03 * w
        m, v = 0.8 * m + 0.2 * d, 0.999 * v + 0.001 * d**2
        w = w - 0.2 * (m / (1 - 0.8**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)
        assert torch.allclose(model.weight, w, atol=1e-5)


def smoothed_labels(logits: Tensor, y: int, share: float) -> Tensor:
    """Cross-entropy to (1 − share)·onehot + share/C."""
    log_p = logits - logits.logsumexp(0)
    return -(1 - share) * log_p[y] - share * log_p.sum() / CLASSES


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("gaussian", {}),
        ("stability", {"lbd": 0.0}),
        ("consistency", {"noises": 2, "lbd": 0.0, "eta": 0.0}),
        ("smoothmix", {"noises": 2, "eta": 0.0}),
        ("adre-reg", {"noises": 2, "lbd": 0.0, "single_draw": False}),
    ],
)
def test_labels_are_smoothed_in_every_cross_entropy(name: str, changes: dict[str, Any]) -> None:
    one = case(name, scale=2.0, **changes)
    one.state.label_smoothing = 0.3

    def formula(f: Any, x: Tensor, y: int, noises: list[Tensor], i: int) -> Tensor:
        seen = [x] if name == "stability" else [x + noise for noise in noises]
        return sum(smoothed_labels(f(at), y, 0.3) for at in seen) / len(seen)

    agree(one, formula)


def one_step(chain: Chain, **training: Any) -> dict[str, Tensor]:
    """The weights after a single step of plain gradient descent."""
    recipe = {
        "epochs": 1, "batch_size": 2000, "warmup_epochs": 0.0, "schedule": "constant", "momentum": 0.0,
        "weight_decay": 0.0, "lr": 0.5, **training,
    }  # fmt: skip
    committed = chain.plan(tiny(name=f"clip{training.get('gradient_clip', 0)}", training=recipe))
    (task,) = [r.task for r in committed.requests if r.task.run.kind == "models"]
    chain.run(task)
    return dict(torch.load(task.run.model_file, weights_only=True)["state_dict"])


def test_clipping_cuts_the_norm_of_the_whole_gradient(chain: Chain) -> None:
    """Two clipped steps go the same way: their ends are the learning rate times the difference of the norms apart."""
    short, longer = one_step(chain, gradient_clip=0.02), one_step(chain, gradient_clip=0.05)
    apart = torch.cat([(longer[key] - short[key]).flatten() for key in short]).norm()
    assert float(apart) == pytest.approx(0.5 * (0.05 - 0.02), rel=1e-3)
    free, wide = one_step(chain), one_step(chain, gradient_clip=1e6)
    assert all(torch.equal(free[key], wide[key]) for key in free)


def test_the_exponent_grows_over_the_epochs_as_in_dsrs(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    from jobs import state

    drawn: list[int] = []

    def watch(shape: Any, sigma: float, exponent: int, key: Any, law: str) -> Tensor:
        drawn.append(exponent)
        return smoothing_noise(shape, sigma, exponent, key, law)

    monkeypatch.setattr(state, "smoothing_noise", watch)
    recipe = {"epochs": 5, "batch_size": 2000, "warmup_epochs": 0.0}  # one step per epoch
    runs = {}
    for warmup in (0, 3):
        committed = chain.plan(
            tiny(name=f"k{warmup}", exponent=8, training={**recipe, "exponent_warmup": warmup})
            | {"certification": {"certificates": ["dsrs"], "shells": [0.5], "n": 200, "n0": 50}}
        )
        (task,) = [r.task for r in committed.requests if r.task.run.kind == "models"]
        chain.run(task)
        runs[warmup] = (task.run.id, drawn[:])
        drawn.clear()
    assert runs[0][1] == [8] * 5
    assert runs[3][1] == [0, 4, 6, 7, 8]  # 8 - 8, 8 - 4, 8 - 2, 8 - 1, then the value itself
    assert runs[0][0] != runs[3][0]


def test_the_exponent_of_every_epoch_is_that_of_dsrs() -> None:
    """Li et al. 2022: k - k exp(-epoch ln k / warm-up), rounded up, up to and with the epoch of the warm-up's length."""
    one = case("gaussian").state
    one.exponent, one.exponent_warmup = 1530, 100
    for epoch in range(150):
        one.epoch = epoch + 0.7  # all steps of an epoch have its exponent
        theirs = 1530 - 1530 * math.exp(-epoch * math.log(1530) / 100) if epoch <= 100 else 1530
        assert one.grown_exponent == math.ceil(theirs - 1e-9), epoch
    assert (one.exponent, one.grown_exponent) == (1530, 1530)
    one.exponent_warmup, one.epoch = 0, 0.0
    assert one.grown_exponent == 1530
    one.exponent, one.exponent_warmup = 0, 0
    assert one.grown_exponent == 0


def test_a_warm_up_of_the_exponent_needs_one_and_ends_before_the_training(chain: Chain) -> None:
    with pytest.raises(InputError, match=r"training\.exponent_warmup.*set exponent"):
        chain.plan(tiny(training={"exponent_warmup": 2}))
    with pytest.raises(InputError, match="exponent_warmup = 9 is longer than epochs = 3"):
        chain.plan(tiny(exponent=4, training={"epochs": 3, "exponent_warmup": 9}))


def test_a_training_records_its_batch_its_processes_and_its_batch_statistics(chain: Chain) -> None:
    committed = chain.plan(tiny(training={"epochs": 1, "warmup_epochs": 0.0, "batch_size": 500}))
    (task,) = [r.task for r in committed.requests if r.task.run.kind == "models"]
    work = chain.run(task)
    (last,) = [r for r in read_records(work.claim.file) if r.get("record") == "progress"][-1:]
    assert (last["images_per_step"], last["processes"], last["batch_statistics"]) == (500, 1, "none")


def test_batch_statistics_are_said_as_they_are() -> None:
    plain, normal = nn.Sequential(nn.Linear(2, 2)), nn.Sequential(nn.BatchNorm2d(2))
    together = nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(nn.BatchNorm2d(2)))
    assert [batch_statistics(model, 2) for model in (plain, normal, together)] == [
        "none",
        "of each process by itself",
        "of the whole step",
    ]
    assert batch_statistics(normal, 1) == "of the whole step"
