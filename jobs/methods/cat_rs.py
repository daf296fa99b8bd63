"""CAT-RS (Jeong, Kim, Shin 2023, section 3): trains on the noises an image can bear, and on the worst where it can bear all.

As the authors' code has it: of the m cross-entropies the K lowest are summed and divided by m, K a binomial draw
with the share of the m noises that are classified rightly; the worst-case loss counts where K = m. Its target is
the smoothed prediction (class counts over 10,000 noises) of a Gaussian model under the noise it was trained with,
0.25 whatever the pupil's, computed once for every training image. Here without augmentation; the authors' script takes one
random crop of each image.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from jobs.adversary import evaluating
from jobs.device import to_device
from jobs.losses import cross_entropies, kl, noisy_logits, unit, within
from jobs.predictions import SoftPredictions, gather
from jobs.state import TrainingState


def prepare(model: nn.Module, state: TrainingState) -> Iterator[int]:
    """The teacher's smoothed predictions: read from their own run, or computed; each yield is a place to stop."""
    yield from gather(state, state.parameters["teacher_draws"], state.predictions())


def loss(model: nn.Module, x: Tensor, y: Tensor, state: TrainingState) -> tuple[Tensor, Tensor]:
    """Mean of (1/m)·Σ of the K lowest CE(F(x + δ_i), y) + λ·1[K = m]·max_i KL(q ‖ F(x + δ_i*))."""
    p = state.parameters
    m, target = p["noises"], state.get("soft", SoftPredictions).shares[to_device(state.rows, x.device)]
    noise = state.noises(m)
    logits = noisy_logits(model, x, noise)
    if p["confidence"] == "teacher":
        sure = target[torch.arange(len(y)), y]
    else:
        sure = (logits.argmax(dim=2) == y).float().mean(dim=0)
    kept = (state.uniform("confidence", m) < sure[:, None]).sum(dim=1).clamp(min=1)
    lowest = cross_entropies(logits, y).sort(dim=0).values
    low = (lowest * (torch.arange(m, device=x.device)[:, None] < kept)).sum(dim=0) / m
    radius = p["epsilon"] * (2 if 0 < p["doubling_epoch"] <= state.epoch else 1)
    with evaluating(model):
        worst = worst_noises(model, x, noise, target, radius, p["steps"])
    high = kl(target, noisy_logits(model, x, worst)).amax(dim=0)
    return (low + p["lbd"] * (kept == m) * high).mean(), logits[0]


def worst_noises(
    model: nn.Module, x: Tensor, noise: Tensor, target: Tensor, radius: float, steps: int
) -> Tensor:
    """Noises within `radius` of the given ones that raise KL(target ‖ F(x + δ)), brought back to their own mean and size.

    Steps of 2 `radius` / `steps`; after each the noise is given the mean and the root mean square that it had.
    """
    mean, size = _mean(noise), _mean(noise**2).sqrt()
    at = noise
    for _ in range(steps):
        with torch.enable_grad():
            variable = at.detach().requires_grad_()
            (g,) = torch.autograd.grad(kl(target, noisy_logits(model, x, variable)).sum(), variable)
        at = at + (2 * radius / steps) * unit(g)
        at = noise + within(at - noise, radius)
        at = mean + (at - _mean(at)) / _mean(at**2).sqrt() * size
    return at.detach()


def _mean(noise: Tensor) -> Tensor:
    """Mean over the coordinates of each noise, kept broadcastable."""
    return noise.mean(dim=(-3, -2, -1), keepdim=True)
