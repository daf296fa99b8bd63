"""Proofs of a verifier about the network itself, without counts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from rsctl.catalog import known_verifiers
from rsctl.certificates import Certified
from rsctl.config.runs import VerifySpec
from rsctl.results.accuracy import scored, share
from rsctl.results.image_order import ImageOrder
from rsctl.results.measurement import Measurement
from rsctl.results.own_runs import about_run, network_verdict
from rsctl.results.rounding import percent_up
from rsctl.store.layout import Run
from rsctl.store.rows import DistanceBounds
from rsctl.store.tables import StoredTable
from rsctl.text import radius_text


def measure_proofs(
    table: StoredTable[DistanceBounds], order: ImageOrder, radii: Sequence[float] = ()
) -> Measurement:
    """The proved radii of a table: 0 and the predicted class where nothing is proved."""
    rows, spec = table.rows, verify_spec(table.run)
    certified = Certified(rows.predicted.astype(np.int64), rows.lower, np.zeros(len(rows), bool))
    right = rows.predicted == rows.label
    numbers = scored(certified, rows.label, radii)
    # Where only some radii were tried the others are unknown, and so is their mean.
    numbers |= {"cap_share": math.nan, "abstain_rate": 0.0 if len(rows) else math.nan}
    numbers |= {"acr": math.nan} if spec.radii else {}
    return Measurement(
        certificate=spec.verifier,
        guarantee=_guarantee(spec),
        norm=spec.norm,
        distance=rows.upper,
        clean_accuracy=share(right),
        undecided=[share(right & (rows.lower < r) & (rows.upper > r)) for r in radii],
        degenerate=network_verdict(table),
        **numbers,
        **about_run(table, order),
    )


def _guarantee(spec: VerifySpec) -> str:
    """The guarantee of a verifier: its kind, the classifier, and the treatment of rounding."""
    verifier = known_verifiers().get(spec.verifier)
    rounding = verifier.rounding if verifier else "by a plugin that isn't there any more"
    return f"deterministic, of the base classifier, {rounding}"


def verify_spec(run: Run) -> VerifySpec:
    assert isinstance(run.spec, VerifySpec)
    return run.spec


def about_proofs(rows: Sequence[Measurement]) -> list[str]:
    """Notes on undecided images, and on radii that a verifier didn't try."""
    notes = []
    for name in dict.fromkeys(row.certificate for row in rows):
        worst: dict[float, float] = {}
        for row in rows:
            if row.certificate == name and row.images:
                for cell, undecided in zip(row.cells, row.undecided, strict=True):
                    worst[cell.radius] = max(worst.get(cell.radius, 0.0), undecided)
        told = [f"{percent_up(most)} % at {radius_text(radius)}" for radius, most in worst.items() if most]
        if told:
            notes.append(
                f"{name} neither proved nor refuted some images of a run, which count as not certified: at most {', '.join(told)}."
            )
    for row in rows:
        tried = row.spec.radii if isinstance(row.spec, VerifySpec) else []
        between = [
            radius_text(cell.radius)
            for cell in row.cells
            if tried and cell.radius and cell.radius not in tried
        ]
        if between:
            notes.append(
                f"{row.certificate} tried only the radii {', '.join(map(radius_text, tried))}; numbers at {', '.join(between)} "
                "follow from those."
            )
    return list(dict.fromkeys(notes))
