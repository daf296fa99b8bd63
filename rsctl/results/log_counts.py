"""Certificates from the counts of an imported log."""

from __future__ import annotations

import numpy as np

from rsctl.catalog import known_datasets
from rsctl.certificates import ABSTAIN, Certified, CountTable, find_certificate
from rsctl.certificates.possible import Draws
from rsctl.errors import RefusedError
from rsctl.store.imports import ImportSpec, Radii, ShownImport


def certify_counts(spec: ImportSpec, log: Radii, certificate: str, alpha: float, n0: int | None) -> Certified:
    """Radii from the counts of a log; raises RefusedError for a certificate that needs more than these counts."""
    rule = find_certificate(certificate)
    table = count_table(spec, log)
    if spec.counts == "top":
        if rule.k > 1:
            raise RefusedError(
                f"{rule.name} needs the counts of every class; this log has only those of the predicted one."
            )
        certified = rule.certify(table, alpha)
        # The table's first class is the predicted one, whichever that is.
        predicted = np.where(certified.predicted == 0, log.predicted, ABSTAIN).astype(np.int64)
    else:
        certified = rule.certify(table, _level(spec, table.counts.shape[1], rule.k, alpha, n0))
        predicted = certified.predicted
    # Unknown settings of the log stay unknown.
    kept = (predicted != ABSTAIN) & (log.predicted != ABSTAIN)
    return Certified(
        np.where(kept, predicted, ABSTAIN), np.where(kept, certified.radius, 0.0), certified.at_cap & kept
    )


def _level(spec: ImportSpec, classes: int, k: int, alpha: float, n0: int | None) -> float:
    """Union bound over the C classes, for a log without separate draws to select the class."""
    return alpha / classes if spec.counts == "classes" and n0 is None and k == 1 else alpha


def draws_of_counts(shown: ShownImport, certificate: str, alpha: float) -> tuple[Draws, int, float]:
    """Sampling of a log with counts, its draws per image, and the alpha left for each bound."""
    spec, log = shown.log.spec, shown.log.radii
    assert log.counts is not None
    assert log.draws is not None
    classes = log.counts.shape[1]
    level = _level(spec, classes, find_certificate(certificate).k, alpha, shown.n0)
    # PREDICT needs the counts of every class, and no part of alpha for their choice.
    classes = classes if level == alpha else 1
    draws = Draws(
        sigma=spec.sigma, noise=spec.noise, exponent=0, selection="noise", n0=shown.n0 or 1, block=1, arithmetic="float", classes=classes,
        dimension=_dimension(spec.dataset),
    )  # fmt: skip
    return draws, int(log.draws.max()), level


def count_table(spec: ImportSpec, log: Radii) -> CountTable:
    """The counts as certificates take them; of a log that counted the predicted class alone all others are one class."""
    assert log.counts is not None
    assert log.draws is not None
    counts, chosen, label = log.counts, np.maximum(log.predicted, 0), log.label
    if spec.counts == "top":
        counts = np.hstack([counts, log.draws[:, None] - counts])
        chosen, label = np.zeros(len(log), np.int32), (log.label != log.predicted).astype(np.int32)
    selection = np.zeros(counts.shape, np.int64)
    selection[np.arange(len(log)), chosen] = 1
    return CountTable(selection, counts, log.draws, spec.sigma, _dimension(spec.dataset), label=label)


def _dimension(dataset: str) -> int:
    """Coordinates of an image; 0 where the catalogue doesn't know."""
    known = known_datasets().get(dataset)
    return known.channels * known.size**2 if known and known.size else 0
