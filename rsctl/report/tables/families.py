"""Sampling and proofs side by side: one norm, the same images, every number with its guarantee.

Rows under different certificates never share a table otherwise. Here they do, over the images that all of them have,
at the verifiers' radii, and separately by norm: an ℓ2 radius is no ℓ∞ radius unless a certificate
converts it (the `-linf` forms).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsctl.certificates import Certified
from rsctl.report.measured import Cell, OwnRow, ProvedRow, curve
from rsctl.report.notes import data_of
from rsctl.report.typeset import percent, radius_text
from rsctl.text import counted

LARGEST_ASKED = 12
"""Most columns, where verifiers have many radii."""


@dataclass(frozen=True)
class Scored:
    """The images of one row, ascending in `index`."""

    row: OwnRow
    index: NDArray[np.int64]
    label: NDArray[np.int32]
    certified: Certified


@dataclass(frozen=True)
class FamilyLine:
    """One row over the images common to all rows."""

    row: OwnRow
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
        return (
            f"Side by side: certified accuracy (%) at {self.norm} radius, {self.dataset} {self.split}, over the {counted(self.images, 'image')} common to "
            f"all rows. Rounded down. Each row is about its own classifier: {'; '.join(self.guarantees)}."
        )

    @property
    def guarantees(self) -> list[str]:
        """The guarantee of each certificate or verifier: too long for a column."""
        told = {f"{line.row.certificate}: {line.row.guarantee}": None for line in self.lines}
        return list(told)


def families(scored: Sequence[Scored], radii: Sequence[float] | None = None) -> list[Family]:
    """A table per norm in which a verifier and another row share their data; `radii` default to the verifiers' own."""
    together: dict[tuple[Any, ...], list[Scored]] = {}
    for one in scored:
        together.setdefault((one.row.norm, data_of(one.row)), []).append(one)
    found = []
    for several in together.values():
        proofs = [one.row for one in several if isinstance(one.row, ProvedRow)]
        if not proofs or len({one.row.certificate for one in several}) < 2:
            continue
        columns = list(radii or sorted({cell.radius for row in proofs for cell in row.cells}))[:LARGEST_ASKED]
        common = several[0].index
        for one in several[1:]:
            common = np.intersect1d(common, one.index)
        first = several[0].row
        lines = [FamilyLine(one.row, _cells(one, common, columns)) for one in several]
        found.append(Family(first.norm, first.dataset, first.split, len(common), lines))
    return found


def _cells(one: Scored, common: NDArray[np.int64], radii: Sequence[float]) -> list[Cell]:
    keep = np.isin(one.index, common)
    certified = Certified(
        one.certified.predicted[keep], one.certified.radius[keep], one.certified.at_cap[keep]
    )
    return curve(certified, one.label[keep], radii)


BEFORE = ("Method", "Model", "σ", "Seed", "Certified by")


def family_table(family: Family) -> list[list[str]]:
    """The cells of the printed table; the first line is the header."""
    header = [*BEFORE, *(radius_text(radius) for radius in family.radii)]
    return [
        header,
        *(
            [
                line.row.label, line.row.model, f"{line.row.sigma:g}", str(line.row.seed), line.row.certificate,
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
            "sigma": line.row.sigma, "certificate": line.row.certificate, "guarantee": line.row.guarantee,
            "norm": family.norm, "images": family.images, "radius": cell.radius,
            "certified_accuracy": cell.accuracy if family.images else None,
        }
        for line in family.lines
        for cell in line.cells
    ]  # fmt: skip
