"""Training with Lipschitz margins: equal in double precision to transcriptions of two authors' code, and the same in two processes."""

from __future__ import annotations

import math
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from chain import Chain, tiny
from pydantic import ValidationError
from test_verifiers_training import state_for
from torch import Tensor, distributed, nn

from jobs.methods import lipschitz_margin
from jobs.models import Normalize
from jobs.models.architectures import linf_distance
from jobs.models.architectures.linf_distance import Distance, set_p
from jobs.models.statistics import batch_statistics
from jobs.training.optimizers import make_optimizer
from jobs.training.schedule import learning_rate
from rsctl.catalog.recipe import Recipe
from rsctl.config.validate import Invalid
from rsctl.store.files import read_records

IMAGES, CLASSES = 6, 3
MEAN, STD = 0.125, 0.3125  # which float32 holds


def batch(step: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(100 + step)
    return torch.rand(IMAGES, 1, 2, 2, dtype=torch.float64), torch.randint(CLASSES, (IMAGES,))


def distance_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        Normalize([MEAN], [STD]),
        linf_distance.build("linf-distance", CLASSES, 4, 1, widths=[5, 5], initial="identity"),
    ).double()


class Zhang:
    """L_inf-dist-net as its command/ell_inf_dist_net_mnist.sh trains it: MLP, hinge(mix=0.75), AdamW of its own."""

    def __init__(self, model: nn.Sequential, epochs: tuple[int, int, int], per_epoch: int) -> None:
        layers = [layer for layer in model[1] if isinstance(layer, Distance)]
        self.weights = [layer.weight.detach().clone().requires_grad_() for layer in layers]
        self.bias = torch.zeros(CLASSES, dtype=torch.float64, requires_grad=True)
        self.means = [torch.zeros(5, dtype=torch.float64) for _ in layers[:-1]]
        self.epochs, self.per_epoch = epochs, per_epoch
        self.moments = [(torch.zeros_like(w), torch.zeros_like(w)) for w in [*self.weights, self.bias]]

    def schedule(self, step: int) -> tuple[float, float]:
        """Rate and p: a constant beginning, p up to ∞, the rate down to the end."""
        first, third, total = (epoch * self.per_epoch for epoch in self.epochs)
        rate = 0.5 * 0.02 * (1 + math.cos(max((step - first) / (total - first), 0) * math.pi))
        ratio = min(max((step - first) / (third - first), 0), 1)
        return rate, math.inf if ratio >= 1 else 8 * math.exp(math.log(1000 / 8) * ratio)

    def loss(self, x: Tensor, y: Tensor, p: float, epsilon: float) -> Tensor:
        x = ((x - MEAN) / STD).flatten(1)
        for number, weight in enumerate(self.weights):
            apart = x[:, None] - weight
            largest = apart.detach().abs().amax(2, keepdim=True)
            x = torch.linalg.vector_norm(apart / largest, ord=p, dim=2) * largest[:, :, 0]
            if number < len(self.means):
                self.means[number] = 0.9 * self.means[number] + 0.1 * x.mean(0).detach()
                x = x - x.mean(0)
        x = -(x + self.bias)
        upper, lower = x + epsilon / STD, x - epsilon / STD
        worst = upper - lower.gather(1, y[:, None])
        worst = worst.scatter(1, y[:, None], 0.0)
        return 0.75 * worst.max(1)[0].clamp(min=0).mean() + 0.25 * worst.clamp(min=0).mean()

    def step(self, number: int, decay: float, epsilon: float) -> Tensor:
        """The loss, before the step is taken."""
        rate, p = self.schedule(number)
        parameters = [*self.weights, self.bias]
        value = self.loss(*batch(number), p, epsilon)
        gradients = torch.autograd.grad(value, parameters)
        with torch.no_grad():
            for w, g, (m, v) in zip(parameters, gradients, self.moments, strict=True):
                for row in w.view(len(w), -1):
                    if math.isinf(p):
                        at = row.abs().argmax()
                        row[at] -= rate * decay * row[at]
                    else:
                        square = row**2 + 1e-10
                        square = square / square.max()
                        norm = (square ** (p / 2)).sum() ** (1 / p)
                        row -= rate * decay * row * (square.sqrt() / norm) ** (p - 2)
                m.mul_(0.9).add_(0.1 * g)
                v.mul_(0.99).add_(0.01 * g * g)
                t = number + 1
                w -= rate / (1 - 0.9**t) * m / ((v / (1 - 0.99**t)).sqrt() + 1e-10)
        return value.detach()


def test_a_distance_network_trains_as_the_authors_train_it() -> None:
    """Rates, p, losses, decay and means over a whole small training: 2 epochs at p = 8, 5 of growth, 2 at ∞."""
    per_epoch, model = 4, distance_net()
    theirs = Zhang(model, (2, 7, 9), per_epoch)
    recipe = Recipe(
        epochs=9, optimizer="adamw-lp", lr=0.02, weight_decay=0.05, schedule="cosine", hold_epochs=2.0
    )
    optimizer = make_optimizer(recipe, model)
    changes = {"norm": "linf", "radius": 0.3, "radius_epochs": 0.0, "hinge": True, "hinge_mix": 0.75, "p_hold": 2.0, "p_epochs": 5.0}  # fmt: skip
    state = state_for("lipschitz-margin", 0.0, **changes)
    list(lipschitz_margin.prepare(model, state))
    model.train()
    for step in range(9 * per_epoch):
        state.epoch = step / per_epoch
        optimizer.param_groups[0]["lr"] = learning_rate(recipe, step, per_epoch)
        value, _ = lipschitz_margin.loss(model, *batch(step), state)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        torch.testing.assert_close(value.detach(), theirs.step(step, 0.05, 0.3), rtol=1e-8, atol=1e-10)
    layers = [layer for layer in model[1] if isinstance(layer, Distance)]
    for layer, weight in zip(layers, theirs.weights, strict=True):
        torch.testing.assert_close(layer.weight, weight, rtol=1e-8, atol=1e-10)
    for layer, mean in zip(layers[:-1], theirs.means, strict=True):
        torch.testing.assert_close(layer.running_mean, mean, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(layers[-1].bias, theirs.bias, rtol=1e-8, atol=1e-10)


def test_the_first_weights_of_a_distance_network_hand_on_its_inputs() -> None:
    torch.manual_seed(0)
    wide, narrow = Distance(3, 7, identity=True), Distance(7, 3, identity=True)
    torch.manual_seed(0)
    drawn = torch.randn(7, 3)
    for unit in range(7):
        drawn[unit, unit % 3] = -10.0
    assert torch.equal(wide.weight, drawn)
    assert float(narrow.weight.detach().min()) > -5
    x = torch.rand(4, 3)
    torch.testing.assert_close(wide.eval()(x), x[:, [0, 1, 2, 0, 1, 2, 0]] + 10)


def test_the_added_margin_is_cut_as_lmts_code_cuts_it() -> None:
    """y + min_c clip(margin/l, 0, 1)·l with l = c·‖w_c − w_y‖·(the norms before), the factor without a gradient."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, CLASSES))
    model = nn.Sequential(Normalize([MEAN], [STD]), network).double()
    with torch.no_grad():
        model[1][3].weight *= 3
    x, y = torch.rand(40, 1, 2, 2, dtype=torch.float64), torch.zeros(40, dtype=torch.int64)
    y[:] = model(x).argmax(1)
    y[:8] = (y[:8] + 1) % CLASSES
    state = state_for("lipschitz-margin", 0.0, radius=0.02, radius_epochs=0.0, scaled=True)
    list(lipschitz_margin.prepare(model, state))
    for name, direction in state.kept["directions"].named_buffers():
        state.kept["directions"].register_buffer(name, direction.double())
    for _ in range(200):
        value, logits = lipschitz_margin.loss(model, x, y, state)
    mine = torch.autograd.grad(value, list(model.parameters()))
    first, last = model[1][1].weight, model[1][3].weight
    out, norm, total, factors = model(x), torch.linalg.matrix_norm(first, 2) / STD, 0.0, []
    for row, label in zip(out, y.tolist(), strict=True):
        length = torch.stack([0.02 * norm * (last[c] - last[label] + (0 if c != label else 1)).norm() for c in range(CLASSES)])  # fmt: skip
        margin = row[label] - row
        factor = min(
            float((margin[c] / length[c]).clamp(0, 1).detach()) for c in range(CLASSES) if c != label
        )
        factors.append(factor)
        raised = torch.stack([row[c] + (factor * length[c] if c != label else 0.0) for c in range(CLASSES)])
        total = total + raised.logsumexp(0) - row[label]
    theirs = torch.autograd.grad(total / len(x), list(model.parameters()))
    assert 0.0 in factors
    assert 1.0 in factors
    assert any(0 < factor < 1 for factor in factors)
    torch.testing.assert_close(value, total / len(x), rtol=1e-9, atol=1e-10)
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)
    assert logits.shape == (40, CLASSES)


def test_a_mix_of_hinges_wants_the_hinge(chain: Chain) -> None:
    with pytest.raises(Invalid, match=r"hinge_mix = 0.75 is of the hinge: set hinge = true"):
        chain.plan(tiny(method={"name": "lipschitz-margin", "hinge_mix": 0.75}))


def test_a_rate_is_held_before_it_falls() -> None:
    recipe = Recipe(epochs=10, schedule="cosine", warmup_epochs=1.0, hold_epochs=4.0)
    rates = [learning_rate(recipe, step, 10) for step in range(100)]
    assert rates[10:51] == pytest.approx([0.1] * 41)
    assert rates[75] == pytest.approx(0.05)
    assert rates[99] < 1e-3
    wrongs = (
        ({"schedule": "step"}, "needs schedule = 'cosine'"),
        ({"warmup_epochs": 7.0}, "is more than epochs = 10"),
        ({"cycle_epochs": 2}, "is more than cycle_epochs = 2: the learning rate would never fall"),
    )
    for wrong, said in wrongs:
        with pytest.raises(ValidationError, match=said):
            Recipe(**{"epochs": 10, "schedule": "cosine", "hold_epochs": 4.0, **wrong})


def part_of_a_step(rank: int, folder: Path, given: dict[str, Any]) -> None:
    """One of two processes: its images, its gradients, and those of both."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    network = linf_distance.build("linf-distance", 3, 4, 1, widths=[5, 5]).double()
    network.load_state_dict(given["weights"])
    set_p(network, 8.0)
    x, target = (given[name].split([4, 2])[rank] for name in ("x", "target"))  # unequal parts
    (network(x) * target).sum().backward()
    found = {name: value.grad for name, value in network.named_parameters()}
    for gradient in found.values():
        distributed.all_reduce(gradient)
    torch.save(found | dict(network.named_buffers()), folder / f"found{rank}.pt")
    os._exit(0)


def test_two_processes_subtract_the_mean_of_all_their_images(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = linf_distance.build("linf-distance", 3, 4, 1, widths=[5, 5]).double()
    x, target = torch.rand(6, 4, dtype=torch.float64), torch.randn(6, 3, dtype=torch.float64)
    given = {
        "weights": {name: value.clone() for name, value in network.state_dict().items()},
        "x": x,
        "target": target,
    }
    # Not forked: torch's backward pass refuses to run in a fork of a process that ran one.
    fresh = multiprocessing.get_context("spawn")
    both = [fresh.Process(target=part_of_a_step, args=(rank, tmp_path, given)) for rank in range(2)]
    for process in both:
        process.start()
    set_p(network, 8.0)
    (network(x) * target).sum().backward()
    expected = {name: value.grad for name, value in network.named_parameters()}
    expected |= dict(network.named_buffers())
    for rank, process in enumerate(both):
        process.join(timeout=60)
        assert process.exitcode == 0
        found = torch.load(tmp_path / f"found{rank}.pt")
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-11, atol=1e-12)


def test_what_is_recorded_of_a_distance_networks_means() -> None:
    alone = nn.Sequential(Distance(2, 2, centred=False))
    assert [batch_statistics(distance_net(), n) for n in (1, 2)] == ["of the whole step"] * 2
    assert batch_statistics(alone, 2) == "none"
    assert batch_statistics(nn.Sequential(nn.BatchNorm1d(2)), 2) == "of each process by itself"


@pytest.mark.long
def test_two_processes_train_a_distance_network_as_one_does(chain: Chain) -> None:
    method = {"name": "lipschitz-margin", "norm": "linf", "radius": 0.1, "hinge": True, "p_epochs": 0.5}
    values: dict[str, Any] = tiny(method=method, sigma=0.0, training={"epochs": 1, "batch_size": 160})
    values["training"] |= {"warmup_epochs": 0.0}
    values |= {"model": {"name": "linf-distance", "widths": [12, 12], "initial": "identity"}, "certification": {"split": "test", "max_images": 5, "shards": 1}}  # fmt: skip
    values["verification"] = [{"verifier": "ibp", "norm": "linf", "radii": [0.01]}]
    (task,) = [r.task for r in chain.plan(values).requests if r.task.run.kind == "models"]
    found = []
    for processes in (1, 2):
        task.run.write_launch({**task.run.launch(), "processes": processes})
        done = subprocess.run(
            [sys.executable, "-m", "rsctl.cluster.task", str(task.run.path), "0"],
            capture_output=True, text=True, timeout=300, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        found.append(torch.load(task.run.model_file, weights_only=True)["state_dict"])
        task.run.model_file.unlink()
    for name, value in found[0].items():
        assert torch.allclose(value, found[1][name], rtol=1e-3, atol=1e-3), name
    last = [r for file in sorted((task.run.path / "tasks").glob("*.jsonl")) for r in read_records(file) if "batch_statistics" in r]  # fmt: skip
    assert (last[-1]["processes"], last[-1]["batch_statistics"]) == (2, "of the whole step")
