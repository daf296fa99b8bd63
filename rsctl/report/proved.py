"""Rows of verifiers: proved radii, without counts."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from rsctl.catalog import known_verifiers
from rsctl.certificates import Certified
from rsctl.config.runs import TrainSpec, VerifySpec
from rsctl.report.measured import ProvedRow, average_radius, curve, subset_key
from rsctl.report.notes import seedless
from rsctl.report.typeset import percent_up, radius_text
from rsctl.store.degenerate import of_folder
from rsctl.store.layout import Run
from rsctl.store.rows import DistanceBounds
from rsctl.store.tables import StoredTable
from rsctl.store.tally import verdict


def proved_guarantee(spec: VerifySpec) -> str:
    """The guarantee of a verifier: its kind, the classifier, and the treatment of rounding."""
    verifier = known_verifiers().get(spec.verifier)
    rounding = verifier.rounding if verifier else "by a plugin that isn't there any more"
    return f"deterministic, of the base classifier, {rounding}"


def as_certified(findings: DistanceBounds) -> Certified:
    """Proved radii in the form of a certificate's: 0 and the predicted class where nothing is proved."""
    return Certified(findings.predicted.astype(np.int64), findings.lower, np.zeros(len(findings), bool))


def proved_row(
    table: StoredTable[DistanceBounds],
    train: TrainSpec,
    radii: Sequence[float],
    order: Sequence[int],
    subset: str,
) -> ProvedRow:
    """The row of the finished images."""
    findings, run = table.rows, table.run
    spec = verify_spec(run)
    certified = as_certified(findings)
    right = findings.predicted == findings.label
    undecided = [
        float((right & (findings.lower < r) & (findings.upper > r)).mean()) if len(findings) else math.nan
        for r in radii
    ]
    return ProvedRow(
        run=run.id,
        train=train,
        verify=spec,
        certificate=spec.verifier,
        guarantee=proved_guarantee(spec),
        norm=spec.norm,
        k=1,
        images=len(findings),
        planned=len(order),
        cells=curve(certified, findings.label, radii),
        # Where only some radii were tried the others are unknown, and so is their mean.
        acr=math.nan if spec.radii else average_radius(certified, findings.label),
        abstain_rate=0.0 if len(findings) else math.nan,
        cap_share=math.nan,
        clean_accuracy=float(right.mean()) if len(findings) else math.nan,
        recipe=json.dumps(seedless(run.store, train), sort_keys=True),
        subset=subset,
        subset_key=subset_key(np.asarray(order, np.int64)),
        undecided=undecided,
        degenerate=verdict(findings) or of_folder(run.store.run("models", spec.model_run).path),
    )


def verify_spec(run: Run) -> VerifySpec:
    assert isinstance(run.spec, VerifySpec)
    return run.spec


def about_proofs(rows: Sequence[ProvedRow]) -> list[str]:
    """Notes on undecided images, and on radii that a verifier didn't try."""
    notes = []
    for name in dict.fromkeys(row.certificate for row in rows):
        worst: dict[float, float] = {}
        for row in rows:
            if row.certificate == name and row.images:
                for cell, share in zip(row.cells, row.undecided, strict=True):
                    worst[cell.radius] = max(worst.get(cell.radius, 0.0), share)
        told = [f"{percent_up(share)} % at {radius_text(radius)}" for radius, share in worst.items() if share]
        if told:
            notes.append(
                f"{name} neither proved nor refuted some images of a run, which count as not certified: at most {', '.join(told)}."
            )
    for row in rows:
        asked: Any = row.verify.radii
        between = [
            radius_text(cell.radius)
            for cell in row.cells
            if asked and cell.radius and cell.radius not in asked
        ]
        if between:
            notes.append(
                f"{row.certificate} tried only the radii {', '.join(map(radius_text, asked))}; numbers at {', '.join(between)} "
                "follow from those."
            )
    return list(dict.fromkeys(notes))
