"""SODM (anonymous CVPR 2021 submission 4750, equation 13 and Algorithm 1): optimises the radius through a learned mapping.

ĝ(x) is the mean over noises of M(F(x + δ)), M a small network from logits to probabilities that is trained on
the same objective every few steps, from more noises than F can afford.

What the paper leaves open, and what is done here: M(u) = softmax(s(u)·u), s a network with one hidden layer and
one positive output that begins at 1. So M begins as the softmax of the paper's section 4.1 and never changes which
class comes first. (A residual network free to do so certified 64.7 % of digits at σ = 0.5 where this one certifies
94.7 %, one run each; perhaps it classifies in F's stead, and F is what is certified.) M is updated on the step's own batch
with fresh noises and F held fixed ("repeat the step 5 and 6" would update F twice). The objective is a mean over
images, not a sum. The radius's gradient is autograd's (the printed ones, equations 10 and 12, differ from it).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from jobs.losses import noisy_logits
from jobs.random import hash32
from jobs.state import TrainingState

SMALLEST = 1e-10


class Mapping(nn.Module):
    """M: logits (..., classes) → probabilities (..., classes) in the same order; at first the softmax."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(classes, width)
        self.out = nn.Linear(width, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, logits: Tensor) -> Tensor:
        scale: Tensor = self.out(self.hidden(logits).relu()).clamp(-3, 3).exp()
        return (scale * logits).softmax(dim=-1)


def prepare(model: nn.Module, state: TrainingState) -> Iterator[None]:
    """The mapping network and its optimiser, which are saved and resumed with the classifier."""
    p = state.parameters
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(hash32(state.seed, "mapping"))
        mapping = Mapping(state.images.shape.classes, p["mapping_width"]).to(state.device)
    state.keep("mapping", mapping)
    state.keep("mapping_optimizer", torch.optim.Adam(mapping.parameters(), lr=p["mapping_lr"]))
    yield from ()


def loss(model: nn.Module, x: Tensor, y: Tensor, state: TrainingState) -> tuple[Tensor, Tensor]:
    """−log ĝ_y where ĝ is wrong; −β·Φ⁻¹(ĝ_y) where it is right and below ρ; nothing above ρ."""
    p = state.parameters
    mapping = state.get("mapping", Mapping)
    if state.step and state.step % p["mapping_interval"] == 0:
        update_mapping(model, mapping, x, y, state)
    logits = noisy_logits(model, x, state.noises(p["noises"]))
    return objective(mapping(logits).mean(0), y, state).mean(), logits.mean(0)


def objective(smoothed: Tensor, y: Tensor, state: TrainingState) -> Tensor:
    """The loss of each image, (B, classes) → (B,)."""
    p = state.parameters
    beta = p["beta"] * (p["beta_factor"] if state.epoch >= p["beta_epoch"] else 1.0)
    own = smoothed.gather(1, y[:, None])[:, 0]
    right = smoothed.argmax(dim=1) == y
    accuracy = -own.clamp(min=SMALLEST).log()
    # Right images above ρ are cut off before Φ⁻¹: infinity times zero is no number.
    robustness = -beta * torch.special.ndtri(own.clamp(SMALLEST, p["rho"]))
    return torch.where(right, torch.where(own < p["rho"], robustness, 0.0), accuracy)


def update_mapping(model: nn.Module, mapping: nn.Module, x: Tensor, y: Tensor, state: TrainingState) -> None:
    """One step of the mapping network, summed over processes, from `mapping_noises` noises that F sees without a gradient."""
    p = state.parameters
    together, wanted = p["noises"], p["mapping_noises"]
    with torch.no_grad():
        logits = torch.cat([
            noisy_logits(model, x, state.noises(min(together, wanted - done), first=together + done))
            for done in range(0, wanted, together)
        ])  # fmt: skip
    value = objective(mapping(logits).mean(0), y, state).mean() * state.share(y)
    optimizer = state.get("mapping_optimizer", torch.optim.Optimizer)
    optimizer.zero_grad(set_to_none=True)
    value.backward()
    for parameter in mapping.parameters():
        assert parameter.grad is not None
        parameter.grad = state.sum(parameter.grad)
    optimizer.step()
