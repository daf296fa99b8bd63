"""Rows of attacks: distances of the nearest adversarial images found, as in Campbell 2020, tables 3 and 5."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsctl.config.runs import AttackSpec, TrainSpec
from rsctl.report.typeset import marked, percent, percent_up, plain, radius_text
from rsctl.store.degenerate import Verdict, of_folder
from rsctl.store.rows import DistanceBounds
from rsctl.store.tables import StoredTable
from rsctl.text import counted

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class AttackedRow:
    """One attack on one model."""

    run: str
    train: TrainSpec
    spec: AttackSpec
    planned: int
    distance: Floats
    """(N,): of the nearest adversarial image found; 0 where the image itself is misclassified, inf where none was found."""
    radii: Sequence[float]
    varying: dict[str, Any] = field(default_factory=dict)
    degenerate: Verdict | None = None
    """The verdict that the training of its model learned nothing."""

    @property
    def label(self) -> str:
        """The method with its distinguishing settings, and a mark where the network learned nothing."""
        told = [f"{key.split('.', 1)[-1]}={plain(v)}" for key, v in self.varying.items() if v is not None]
        name = f"{self.train.method} ({', '.join(told)})" if told else self.train.method
        return marked(name, self.degenerate.mark if self.degenerate else "")

    @property
    def images(self) -> int:
        return len(self.distance)

    @property
    def sigma(self) -> float:
        """Noise level of the smoothed classifier, or of the training."""
        return self.spec.sigma if self.spec.target == "smoothed" else self.train.sigma

    @property
    def right(self) -> Floats:
        """Distances of the images that are classified correctly without perturbation."""
        return self.distance[self.distance > 0]

    @property
    def median(self) -> float:
        """Median over the images classified correctly, with inf for those without an adversarial image; NaN for no images."""
        return float(np.sort(self.right)[(len(self.right) - 1) // 2]) if len(self.right) else float("nan")

    @property
    def mean(self) -> float:
        """Mean over the images classified correctly for which one was found; NaN for none."""
        found = self.right[np.isfinite(self.right)]
        return float(found.mean()) if len(found) else float("nan")

    def withstands(self, radius: float) -> float:
        """Share of all images without a known adversarial image within the radius; an upper bound on robust accuracy."""
        return float((self.distance > radius).mean()) if self.images else float("nan")

    @property
    def what(self) -> str:
        """The attack and its unusual settings."""
        smoothed = f", {counted(self.spec.noises, 'noise')}" if self.spec.target == "smoothed" else ""
        topk = self.spec.parameters.get("topk", 1)
        return f"{self.spec.attack}{smoothed}" + (f", top-{topk} failure" if topk != 1 else "")


def attack_guarantee(spec: AttackSpec) -> str:
    """The meaning of an attack's numbers."""
    classifier = {"base": "the base classifier", "smoothed": "the smoothed classifier"}[spec.target]
    return f"no guarantee: accuracy under attack of {classifier}, an upper bound on its certified accuracy on these images"


def attacked_row(
    table: StoredTable[DistanceBounds], train: TrainSpec, radii: Sequence[float], planned: int
) -> AttackedRow:
    """The row of the finished images."""
    spec = table.run.spec
    assert isinstance(spec, AttackSpec)
    model = table.run.store.run("models", spec.model_run)
    return AttackedRow(
        table.run.id, train, spec, planned, table.rows.upper, list(radii), degenerate=of_folder(model.path)
    )


def attack_tables(rows: Sequence[AttackedRow]) -> list[tuple[str, list[list[str]]]]:
    """One table per data set, split, norm and attacked classifier: its caption, and its cells with the header first."""
    groups: dict[tuple[str, str, str, str], list[AttackedRow]] = {}
    for row in rows:
        key = (row.train.dataset, row.spec.split, row.spec.norm, row.spec.target)
        groups.setdefault(key, []).append(row)
    return [(_caption(*key, several), _cells(several)) for key, several in groups.items()]


def _caption(dataset: str, split: str, norm: str, target: str, rows: Sequence[AttackedRow]) -> str:
    classifier = {"base": "the base classifier", "smoothed": "the smoothed classifier g"}[target]
    sure = ""
    if target == "smoothed":
        ns, alphas = sorted({r.spec.n for r in rows}), sorted({r.spec.alpha for r in rows})
        sure = (
            f" Each adversarial image is confirmed by n = {', '.join(map(str, ns))} draws: where g does return the label, a confirmation "
            f"has probability at most {', '.join(f'{alpha:g}' for alpha in alphas)}."
        )
    return (
        f"Attacks on {classifier}, {dataset} {split}: {norm} distance of the nearest adversarial image found, and share of images (%) "
        "without one within each radius: an upper bound on the certified accuracy of that classifier on the same images, "
        f"not on others.{sure}"
    )


def _cells(rows: Sequence[AttackedRow]) -> list[list[str]]:
    radii = list(dict.fromkeys(radius for row in rows for radius in row.radii))
    header = [
        "Method",
        "Model",
        "σ",
        "Seed",
        "Attack",
        "Median",
        "Mean",
        "Found",
        *(radius_text(r) for r in radii),
        "Images",
    ]
    lines = [header]
    for row in rows:
        right = row.right
        lines.append(
            [
                row.label, row.train.model, f"{row.sigma:g}", str(row.train.seed), row.what, _distance(row.median),
                _distance(row.mean), percent(float(np.isfinite(right).mean())) if len(right) else "–",
                *(percent_up(row.withstands(r)) if row.images else "–" for r in radii),
                str(row.images) if row.images == row.planned else f"{row.images} of {row.planned}",
            ]
        )  # fmt: skip
    return lines


def _distance(value: float) -> str:
    return "–" if np.isnan(value) else "none" if np.isinf(value) else f"{value:.4f}"


def attack_values(row: AttackedRow) -> dict[str, Any]:
    """A row as JSON values; shares in [0, 1], None where unknown."""
    return {
        "run": row.run, "method": row.train.method, "settings": row.label, "model": row.train.model, "dataset": row.train.dataset,
        "split": row.spec.split, "sigma": row.sigma, "seed": row.train.seed, "attack": row.spec.attack, "target": row.spec.target,
        "norm": row.spec.norm, "noises": row.spec.noises, "n": row.spec.n, "alpha": row.spec.alpha,
        "parameters": row.spec.parameters, "images": row.images, "planned": row.planned,
        "misclassified": float((row.distance == 0).mean()) if row.images else None,
        "found": float(np.isfinite(row.right).mean()) if len(row.right) else None,
        "median": row.median if np.isfinite(row.median) else None, "mean": row.mean if np.isfinite(row.mean) else None,
        "withstands": [{"radius": r, "share": row.withstands(r) if row.images else None} for r in row.radii],
    }  # fmt: skip
