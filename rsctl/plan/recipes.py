"""The training recipes in effect and the source of each value, as `rsctl check` prints them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rsctl.catalog.recipe import Recipe
from rsctl.config.resolve import FILE
from rsctl.config.runs import TrainSpec
from rsctl.plan.plan import Plan
from rsctl.text import counted

COLUMNS, WIDE = 71, 9
"""Width of a line and of its label."""
OF_STEPS = ("step_epochs", "step_factor", "milestones", "step_shift")
"""Fields that only the step schedule reads."""


@dataclass
class AppliedRecipe:
    """One recipe and the trainings that use it."""

    recipe: Recipe
    sources: dict[str, str]
    """Field → source of its value, for fields not at rsctl's default."""
    trained: list[TrainSpec] = field(default_factory=list)

    @property
    def values(self) -> dict[str, Any]:
        return {
            "methods": self.of("method"),
            "models": self.of("model"),
            "datasets": self.of("dataset"),
            "sigmas": self.of("sigma"),
            "runs": self.of("run_id"),
            "recipe": self.recipe.model_dump(),
            "sources": self.sources,
        }

    def of(self, name: str) -> list[Any]:
        """Return the distinct values of this field in its trainings."""
        return list(dict.fromkeys(getattr(one, name) for one in self.trained))

    def text(self, every: Sequence[AppliedRecipe]) -> str:
        """Format a paragraph of at most `COLUMNS` characters a line, with the values that distinguish its trainings from the others."""
        beside = [one for one in every if one is not self and set(one.of("method")) & set(self.of("method"))]
        apart = [
            f"{'σ ' if name == 'sigma' else ''}{', '.join(f'{v:g}' if name == 'sigma' else v for v in self.of(name))}"
            for name in ("dataset", "model", "sigma")
            if any(one.of(name) != self.of(name) for one in beside)
        ]
        who = ", ".join(self.of("method")) + (f" ({', '.join(apart)})" if apart else "")
        return textwrap.fill(
            f"{who}: {in_words(self.recipe)}. {_origin(self.sources)}",
            COLUMNS,
            initial_indent=f"{'recipe':{WIDE}}",
            subsequent_indent=" " * (WIDE + 2),
            break_on_hyphens=False,
        )


def recipes_of(plan: Plan) -> list[AppliedRecipe]:
    """Return each recipe once, in the order of the sweep file; models loaded from a file have none."""
    found: dict[str, AppliedRecipe] = {}
    known = {run: sources for resolved in plan.sweep.points for run, sources in resolved.sources.items()}
    for run, model in plan.models.items():
        train, recipe = model.spec, model.spec.recipe
        if train.file or run not in known:  # predictions have no recipe
            continue
        sources = {
            key: known[run][key]
            for key in Recipe.model_fields
            if key in known[run] and (key not in OF_STEPS or recipe.schedule == "step")
        }
        key = f"{recipe.model_dump_json()} {sources}"
        found.setdefault(key, AppliedRecipe(recipe, sources)).trained.append(train)
    return list(found.values())


def recipe_lines(recipes: list[AppliedRecipe]) -> list[str]:
    """Format a paragraph for each recipe."""
    return [one.text(recipes) for one in recipes]


def in_words(recipe: Recipe) -> str:
    """`90 epochs, batch 400, sgd, lr 0.1 × 0.1 every 30 epochs, weight decay 0.0001`."""
    rate = f"lr {recipe.lr:g}"
    if recipe.schedule == "step":
        steps = (
            f"at epochs {', '.join(f'{m:g}' for m in recipe.milestones)}"
            if recipe.milestones
            else f"every {counted(recipe.step_epochs, 'epoch')}"
        )
        rate += f" × {recipe.step_factor:g} {steps}"
        if recipe.step_shift:
            when = "later" if recipe.step_shift > 0 else "earlier"
            rate += f" ({counted(abs(recipe.step_shift), 'epoch')} {when} as executed)"
    else:
        rate += f" ({recipe.schedule})"
    parts = [
        counted(recipe.epochs, "epoch"),
        f"batch {recipe.batch_size}",
        recipe.optimizer + (f" (momentum {recipe.momentum:g}{', nesterov' if recipe.nesterov else ''})" if recipe.optimizer == "sgd" else ""),
        rate,
        f"warm-up {counted_epochs(recipe.warmup_epochs)}" if recipe.warmup_epochs else "no warm-up",
        f"rate held for {counted_epochs(recipe.hold_epochs)}" if recipe.hold_epochs else "",
        f"weight decay {recipe.weight_decay:g}",
        f"schedule begins again every {counted(recipe.cycle_epochs, 'epoch')}" if recipe.cycle_epochs else "",
        f"label smoothing {recipe.label_smoothing:g}" if recipe.label_smoothing else "",
        f"gradient clipped at {recipe.gradient_clip:g}" if recipe.gradient_clip else "",
        f"exponent grown over {counted(recipe.exponent_warmup, 'epoch')}" if recipe.exponent_warmup else "",
        "no normalisation layer" if recipe.normalisation == "none" else "",
        "one step per noise" if recipe.noise_steps == "smaller" else "",
        *(["no augmentation"] if not recipe.augment else _augmented(recipe)),
    ]  # fmt: skip
    return ", ".join(filter(None, parts))


def _augmented(recipe: Recipe) -> list[str]:
    """Describe the settings of the augmentation that aren't the default."""
    usual = Recipe()
    return [
        f"crops by {recipe.crop_padding} pixels" if recipe.crop_padding != usual.crop_padding else "",
        "no mirrors" if not recipe.mirror else "",
    ]


def counted_epochs(epochs: float) -> str:
    return f"{epochs:g} epoch{'' if epochs == 1 else 's'}"


def _origin(sources: dict[str, str]) -> str:
    """Describe the sources of values: that of most, then the others with theirs, the sweep file's own last."""
    by: dict[str, list[str]] = {}
    for key, source in sources.items():
        by.setdefault(source, []).append(key)
    own = by.pop(FILE, [])
    lead = max(by, key=lambda source: len(by[source]), default="")
    parts = [f"From {lead}" if lead else "From rsctl's defaults (Cohen 2019)"]
    parts += [f"{', '.join(keys)}: {source}" for source, keys in by.items() if source != lead]
    parts += [f"{', '.join(own)}: {FILE}"] if own else []
    return "; ".join(parts) + "."
