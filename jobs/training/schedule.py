"""Learning rates as pure functions of the step: a resumed training needs no scheduler state.

Epochs count from 0. A recipe prints reductions as torch's StepLR means them: `step_epochs` = 50 of 150 leaves epochs
0 to 49 at the first rate, 50 to 99 at the second, 100 to 149 at the third. So ran the code that calls
scheduler.step(epoch) before the epoch (Cohen 2019, Salman 2019). Called after the epoch, with the number of the
epoch that has just ended, the same StepLR gives epoch e the rate of e - 1: epochs 0 to 50, 51 to 100 and 101 to 149
(Jeong 2020, 2021, 2023 and, from their code, DSRS), which is `step_shift` = 1; the rates in the training logs of
Jeong 2023 change there. MACER and HeatSmoothing step before their epochs 1, 2, ...: their milestones come one
epoch early, -1.
"""

from __future__ import annotations

import math

from rsctl.catalog.recipe import Recipe


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """The rate of optimiser step `step` (0 for the first)."""
    total = (recipe.cycle_epochs or recipe.epochs) * steps_per_epoch
    warmup = recipe.warmup_epochs * steps_per_epoch
    step %= total
    if step < warmup:
        return recipe.lr * (step + 1) / (warmup + 1)
    if recipe.schedule == "step":
        epoch = step // steps_per_epoch - recipe.step_shift
        reductions = (
            sum(epoch >= milestone for milestone in recipe.milestones)
            if recipe.milestones
            else max(0, epoch) // recipe.step_epochs
        )
        return recipe.lr * recipe.step_factor**reductions
    if recipe.schedule == "constant":
        return recipe.lr
    # `cosine` and `onecycle` differ in their warm-up only: both fall along half a cosine to zero.
    start = warmup + recipe.hold_epochs * steps_per_epoch
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * max(0.0, step - start) / max(1.0, total - start)))
