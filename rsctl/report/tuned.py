"""Choices of cascades as text: a `[[cascade]]` block for a sweep file, with the values it was chosen by as comments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rsctl.config.toml_text import to_toml
from rsctl.results.rounding import arrows, percent
from rsctl.results.tune import TunedCascade


def choice_json(choice: TunedCascade) -> dict[str, Any]:
    """The choice as one JSON object."""
    return {
        "method": choice.method, "seeds": choice.seeds, "levels": list(choice.sigmas), "taus": list(choice.taus),
        "value": choice.value, "better": choice.better, "alone": [{"sigma": sigma, "value": value} for sigma, value in choice.alone],
        "alpha": choice.alpha,
        "tuned": {"sweep": choice.sweep, "split": choice.split, "images": choice.images, "objective": choice.objective},
    }  # fmt: skip


def choice_text(found: Sequence[TunedCascade]) -> str:
    """All choices as one TOML text."""
    return "\n".join(_block(one) for one in found).rstrip()


def _block(choice: TunedCascade) -> str:
    lines = [
        f"# {choice.method}: {choice.objective} on {choice.images} {choice.split} images of {choice.sweep}, alpha = {choice.alpha:g}"
    ]
    named = [(f"σ = {arrows(choice.sigmas)}, τ = {choice.taus[0]:g}", choice.value)]
    named += [(f"σ = {sigma:g} alone", value) for sigma, value in choice.alone]
    width = max(len(name) for name, _ in named)
    lines += [f"#   {name:<{width}}  {_value(choice, value)}" for name, value in named]
    if not choice.better:
        sigma, best = choice.alone[0]
        outcome = f"No cascade is better here than σ = {sigma:g} alone."
        if not best:
            outcome = "No choice certifies any of these images: take a smaller radius."
        return "\n".join([*lines, f"# {outcome}", ""])
    options = f"--cascade {','.join(f'{sigma:g}' for sigma in choice.sigmas)} --tau {choice.taus[0]:g}"
    lines += [f"# On other images: rsctl export SWEEP {options}", "", to_toml({"cascade": [choice.block]})]
    return "\n".join(lines)


def _value(choice: TunedCascade, value: float) -> str:
    return f"{value:.4f}" if choice.objective.startswith("average") else f"{percent(value)} %"
