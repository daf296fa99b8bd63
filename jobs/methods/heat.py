"""HeatSmoothing (Campbell, Finlay, Oberman 2020, equations 3, 10, 15 and 16): a given model is retrained, without labels,
to be its own Gaussian average.

The new model v follows the frozen one f in squared distance while its input gradient is penalised; that is one
implicit step of the heat equation, and `timesteps` of them follow each other, each with the last v as its f.

The penalty's factor is γ·h·σ²/2 with h = 1/timesteps. γ = 1 is the printed loss (3); the heat equation itself
asks for γ = ½, for ½‖v − f‖² has its minimum where v − f = γhσ²Δv (Appendix A keeps a ½ that (15) loses). The authors'
code takes γ = 5 on CIFAR-10 and 1 on ImageNet. The κ projections are summed, as in (16) and the code: unbiased for
κ = the number of classes.

Noise has the standard deviation σ in [0, 1] pixels, always. The gradient is taken in them too, or in those that the
network's first layer makes of them, as the code does on ImageNet: divided by their standard deviations, in which the
same γ weighs a twentieth (0.051) and the step δ is as much shorter.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from jobs.losses import unit
from jobs.models.normalize import normalisation_of
from jobs.precision import at_least_float32
from jobs.state import TrainingState


def prepare(model: nn.Module, state: TrainingState) -> Iterator[None]:
    """The model f to be smoothed: at first the one that the run starts from."""
    state.keep("target", state.load("start"))
    yield from ()


def loss(model: nn.Sequential, x: Tensor, y: Tensor, state: TrainingState) -> tuple[Tensor, Tensor]:
    """Mean of ½‖a(v(x + η)) − a(f(x))‖² + γ·h·σ²/2·‖∇v(x + η)‖², a the softmax or nothing; y isn't used."""
    p = state.parameters
    begin_timestep(model, state)
    target = state.get("target", nn.Module).eval()
    with torch.no_grad():
        wanted = at_least_float32(target(x))
    noisy = x
    if p["noisy_share"]:
        chosen = state.uniform("noisy", 1)[:, :, None, None] < p["noisy_share"]
        noisy = x + chosen * state.noise()
    noisy = noisy.detach().requires_grad_()
    logits = at_least_float32(model(noisy))
    if p["softmax"]:
        distance = (logits.softmax(dim=1) - wanted.softmax(dim=1)).square().sum(dim=1)
    else:
        distance = (logits - wanted).square().sum(dim=1)
    penalty = squared_jacobian(model, noisy, logits, state)
    factor = p["gamma"] * state.sigma**2 / (2 * p["timesteps"])
    return (distance / 2 + factor * penalty).mean(), logits


def squared_jacobian(model: nn.Sequential, x: Tensor, logits: Tensor, state: TrainingState) -> Tensor:
    """Estimates ‖∇v(x)‖² per image: Σ_κ ((w·v(x + dt·ĝ) − w·v(x))/dt)², w ~ N(0, I/C), ĝ the direction of ∇(w·v).

    In normalised pixels z = (x − mean)/std the gradient is std·∇, and a step along it is std times as long in x.
    """
    p = state.parameters
    std = normalisation_of(model).std if p["pixels"] == "normalised" else 1.0
    total = logits.new_zeros(len(x))
    for number in range(p["projections"]):
        w = state.normal(f"projection {number}", logits.shape[1]) / logits.shape[1] ** 0.5
        (g,) = torch.autograd.grad((w * logits).sum(), x, retain_graph=True)
        step = p["difference"] * std * unit(std * at_least_float32(g))
        ahead = at_least_float32(model((x + step).detach()))
        total = total + ((w * (ahead - logits)).sum(dim=1) / p["difference"]).square()
    return total


def begin_timestep(model: nn.Module, state: TrainingState) -> None:
    """At the first step of a timestep: the model so far becomes f; with `reinitialize`, v begins from new weights."""
    p = state.parameters
    number = state.step * p["timesteps"] // state.total_steps
    if state.step and number == (state.step - 1) * p["timesteps"] // state.total_steps:
        return
    if number:
        state.kept["target"].load_state_dict(model.state_dict())
        state.optimizer.state.clear()
    if p["reinitialize"]:
        model.load_state_dict(state.build(f"timestep {number}").state_dict())
