"""Learning rates as pure functions of the step: a resumed training needs no scheduler state."""

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
        epoch = step // steps_per_epoch
        reductions = (
            sum(epoch >= milestone for milestone in recipe.milestones)
            if recipe.milestones
            else epoch // recipe.step_epochs
        )
        return recipe.lr * recipe.step_factor**reductions
    if recipe.schedule == "constant":
        return recipe.lr
    # `cosine` and `onecycle` differ in their warm-up only: both fall along half a cosine to zero.
    start = warmup + recipe.hold_epochs * steps_per_epoch
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * max(0.0, step - start) / max(1.0, total - start)))
