"""CROWN-IBP training (Zhang et al. 2020, equation 13): as `ibp`, with linear bounds over the intervals while ε is small.

The margins are (1 − β)·(those of intervals) + β·(those of linear bounds); β falls while ε grows, for linear bounds guide the
beginning better, and intervals end up certifying more.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jobs.state import TrainingState
from jobs.worst_case import WorstCase, ramp, worst_cross_entropy


def loss(model: nn.Module, x: Tensor, y: Tensor, state: TrainingState) -> tuple[Tensor, Tensor]:
    """Loss with the ε, κ and β of this step, and logits."""
    p = state.parameters
    share = ramp(state.epoch, p["epsilon_start"], p["epsilon_epochs"], p["epsilon_shape"])
    logits = model(x)
    natural = state.cross_entropy(logits, y)
    if not share:
        return natural, logits
    kappa, beta = (
        p[f"{name}_start"] + (p[f"{name}_end"] - p[f"{name}_start"]) * share for name in ("kappa", "beta")
    )
    bounds = WorstCase(model, x, p["epsilon"] * share)
    # Neither bound is computed where it counts nothing.
    nothing = torch.zeros_like(logits)
    linear = bounds.linear_margins(y) * beta if beta else nothing
    intervals = bounds.interval_margins(y) * (1 - beta) if beta < 1 else nothing
    worst = worst_cross_entropy(linear + intervals, y, state.label_smoothing)
    return kappa * natural + (1 - kappa) * worst, logits
