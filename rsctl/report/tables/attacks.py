"""Tables of attacks: distances of the nearest adversarial images found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rsctl.results.attacks import (
    attack_spec,
    attacked_classifier,
    describe_attack,
    distances,
    mean,
    median,
    withstands,
)
from rsctl.results.measurement import Measurement
from rsctl.results.rounding import MISSING, percent, percent_up
from rsctl.text import radius_text


def attack_tables(rows: Sequence[Measurement]) -> list[tuple[str, list[list[str]]]]:
    """One table per data set, split, norm and attacked classifier: its caption, and its cells with the header first."""
    groups: dict[tuple[str, str, str, str], list[Measurement]] = {}
    for row in rows:
        key = (row.dataset, row.split, row.norm, attacked_classifier(attack_spec(row.spec)))
        groups.setdefault(key, []).append(row)
    return [(_caption(*key, several), _cells(several)) for key, several in groups.items()]


def _caption(dataset: str, split: str, norm: str, classifier: str, rows: Sequence[Measurement]) -> str:
    sure, target = "", attack_spec(rows[0].spec).target
    if target != "base":
        ns, alphas = sorted({row.n or 0 for row in rows}), sorted({row.alpha or 0.0 for row in rows})
        sure = (
            f" Each adversarial image is confirmed by n = {', '.join(map(str, ns))} draws: where g does return the label, a confirmation "
            f"has probability at most {', '.join(f'{alpha:g}' for alpha in alphas)}."
        )
    return (
        f"Attacks on {classifier}{' g' if target == 'smoothed' else ''}, {dataset} {split}: {norm} distance of the nearest adversarial image found, and share of images (%) "
        "without one within each radius: an upper bound on the certified accuracy of that classifier on the same images, "
        f"not on others.{sure}"
    )


def _cells(rows: Sequence[Measurement]) -> list[list[str]]:
    radii = list(dict.fromkeys(cell.radius for row in rows for cell in row.cells))
    before, after = ("Method", "Model", "σ", "Seed", "Attack", "Median", "Mean", "Found"), "Images"
    lines = [[*before, *(radius_text(r) for r in radii), after]]
    for row in rows:
        right = distances(row)
        lines.append(
            [
                row.label, row.model, f"{row.sigma:g}", str(row.seed), describe_attack(attack_spec(row.spec)), _distance(median(row)),
                _distance(mean(row)), percent(float(np.isfinite(right).mean())) if len(right) else MISSING,
                *(percent_up(withstands(row, r)) for r in radii),
                str(row.images) if row.complete else f"{row.images} of {row.planned}",
            ]
        )  # fmt: skip
    return lines


def _distance(value: float) -> str:
    return MISSING if np.isnan(value) else "none" if np.isinf(value) else f"{value:.4f}"


def attack_values(row: Measurement) -> dict[str, Any]:
    """A row as JSON values; shares in [0, 1], None where unknown."""
    spec, right = attack_spec(row.spec), distances(row)
    middle, average = median(row), mean(row)
    assert row.distance is not None
    return {
        "run": row.run, "method": row.method, "settings": row.label, "model": row.model, "dataset": row.dataset,
        "split": row.split, "sigma": row.sigma, "seed": row.seed, "attack": spec.attack, "target": spec.target,
        "norm": spec.norm, "noises": spec.noises, "n": spec.n, "alpha": spec.alpha,
        **({"before": [{"run": one.run, "sigma": one.sigma, "tau": one.tau} for one in spec.before]} if spec.before else {}),
        "parameters": spec.parameters, "images": row.images, "planned": row.planned,
        "misclassified": float((row.distance == 0).mean()) if row.images else None,
        "found": float(np.isfinite(right).mean()) if len(right) else None,
        "median": middle if np.isfinite(middle) else None, "mean": average if np.isfinite(average) else None,
        "withstands": [{"radius": cell.radius, "share": cell.accuracy if row.images else None} for cell in row.cells],
    }  # fmt: skip
