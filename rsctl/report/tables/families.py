"""Sampling and proofs side by side: one norm, the same images, every number with its guarantee.

Rows under different certificates never share a table otherwise. Here they do, over the images that all of them have,
at the radii of the verifier or cascade, and separately by norm: an ℓ2 radius is no ℓ∞ radius unless a certificate
converts it (the `-linf` forms).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rsctl.results.accuracy import Cell, curve
from rsctl.results.measurement import Measurement, common_images
from rsctl.results.notes import data_of
from rsctl.results.rounding import percent
from rsctl.results.sweep import Results
from rsctl.text import counted, radius_text

BESIDE = ("verifications", "cascades")
"""Kinds that get a table together with the others that share their data."""
LARGEST_ASKED = 12
"""Most columns, where verifiers have many radii."""


@dataclass(frozen=True)
class FamilyLine:
    """One row over the images common to all rows."""

    row: Measurement
    cells: list[Cell]


@dataclass(frozen=True)
class Family:
    """Rows of one norm on one set of images."""

    norm: str
    dataset: str
    split: str
    images: int
    lines: list[FamilyLine]

    @property
    def radii(self) -> list[float]:
        return [cell.radius for cell in self.lines[0].cells]

    @property
    def caption(self) -> str:
        # Too long for a column.
        guarantees = dict.fromkeys(f"{line.row.certificate}: {line.row.guarantee}" for line in self.lines)
        return (
            f"Side by side: certified accuracy (%) at {self.norm} radius, {self.dataset} {self.split}, over the {counted(self.images, 'image')} common to "
            f"all rows. Rounded down. Each row is about its own classifier: {'; '.join(guarantees)}."
        )


def families(results: Results) -> list[Family]:
    """A table per norm in which a verifier or a cascade and other measurements share their data, at its radii unless others were requested."""
    together: dict[tuple[Any, ...], list[Measurement]] = {}
    for one in results.measurements:
        if one.kind in ("counts", *BESIDE):
            together.setdefault((one.norm, data_of(one)), []).append(one)
    found = []
    for several in together.values():
        beside = [one for one in several if one.kind in BESIDE]
        if not beside or len({one.certificate for one in several}) < 2:
            continue
        columns = list(results.radii or sorted({cell.radius for row in beside for cell in row.cells}))[
            :LARGEST_ASKED
        ]
        common, first = common_images(several), several[0]
        shown = [(one, one.restrict(common)) for one in several]
        lines = [FamilyLine(one, curve(kept.certified, kept.labels, columns)) for one, kept in shown]
        found.append(Family(first.norm, first.dataset, first.split, len(common), lines))
    return found


BEFORE = ("Method", "Model", "σ", "Seed", "Certified by")


def family_table(family: Family) -> list[list[str]]:
    """The cells of the printed table; the first line is the header."""
    header = [*BEFORE, *(radius_text(radius) for radius in family.radii)]
    return [
        header,
        *(
            [
                line.row.label, line.row.model, line.row.sigmas, str(line.row.seed), line.row.certificate,
                *(percent(cell.accuracy) for cell in line.cells),
            ]
            for line in family.lines
        ),
    ]  # fmt: skip


def family_values(family: Family) -> list[dict[str, Any]]:
    """One dict per line and radius, shares in [0, 1]; None where no image is common."""
    return [
        {
            "run": line.row.run, "method": line.row.method, "settings": line.row.label, "model": line.row.model,
            "sigma": None if line.row.levels else line.row.sigma, "certificate": line.row.certificate, "guarantee": line.row.guarantee,
            "norm": family.norm, "images": family.images, "radius": cell.radius,
            "certified_accuracy": cell.accuracy if family.images else None,
        }
        for line in family.lines
        for cell in line.cells
    ]  # fmt: skip
