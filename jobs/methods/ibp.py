"""Interval bound propagation training (Gowal et al. 2019, equations 9 to 12): part of the loss is that of the worst logits.

κ·CE(f(x), y) + (1 − κ)·CE(ẑ, y), with ẑ_y = 0 and ẑ_c the interval's upper bound of f_c − f_y. ε grows from 0 and κ
falls while it does; before that, training is ordinary (warm start).
"""

from __future__ import annotations

from torch import Tensor, nn

from jobs.state import TrainingState
from jobs.worst_case import WorstCase, ramp, worst_cross_entropy


def loss(model: nn.Module, x: Tensor, y: Tensor, state: TrainingState) -> tuple[Tensor, Tensor]:
    """Loss with the ε and κ of this step, and logits."""
    p = state.parameters
    share = ramp(state.epoch, p["epsilon_start"], p["epsilon_epochs"], p["epsilon_shape"])
    logits = model(x)
    natural = state.cross_entropy(logits, y)
    if not share:
        return natural, logits
    kappa = p["kappa_start"] + (p["kappa_end"] - p["kappa_start"]) * share
    worst = WorstCase(model, x, p["epsilon"] * share).interval_margins(y)
    return kappa * natural + (1 - kappa) * worst_cross_entropy(worst, y, state.label_smoothing), logits
