"""Counts in the place of radii: with the number of draws, and without them where the log's own radii contradict them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rsctl.certificates import certificates
from rsctl.config.sections import Certification
from rsctl.report.radius_logs.cells import NotALog
from rsctl.report.radius_logs.logs import ReadLog
from rsctl.results.log_counts import certify_counts
from rsctl.results.log_radii import half_units
from rsctl.store.imports import ImportSpec, Radii


def with_draws(log: ReadLog, spec: ImportSpec, n: int | None, n0: int | None, alpha: float | None) -> ReadLog:
    """A log as stored, given the stated n, n0 and alpha; raises NotALog for impossible counts."""
    radii = log.radii
    counts = radii.counts
    if counts is None:
        return log
    draws = radii.draws
    if draws is None:
        if n is None:
            raise NotALog("it holds counts without a column n, the number of draws. Give it with --n")
        draws = np.full(len(radii), n, np.int64)
    if (counts < 0).any() or (counts.max(axis=1) > draws).any() or (draws < 1).any():
        raise NotALog("a count of it is above the number of draws, or below 0")
    if log.counts == "classes" and max(radii.label.max(), radii.predicted.max()) >= counts.shape[1]:
        raise NotALog("a label or a predicted class of it has no count")
    radii = replace(radii, draws=draws)
    bare = replace(radii, radius=np.zeros(len(radii)), printed=None)
    if radii.radius.any() and not _agree(
        radii, bare, spec.model_copy(update={"counts": log.counts}), n0, alpha
    ):
        losses = [*log.losses, "its counts don't give its radii, and are left out"]
        return replace(log, radii=replace(radii, counts=None, draws=None), losses=losses)
    quirks = [*log.quirks, "it holds counts: radii are derived from them, at any alpha (--alpha of export)"]
    if log.counts == "classes" and (n0 is None or not log.chosen):
        quirks.append(
            "it doesn't state that separate draws selected the class: the bounds divide alpha by the number of classes"
        )
    return replace(log, radii=bare, quirks=quirks)


def _agree(radii: Radii, bare: Radii, spec: ImportSpec, n0: int | None, alpha: float | None) -> bool:
    """Return whether counts give the printed radii, at the stated alpha or the usual one, up to their rounding."""
    if spec.certificate not in certificates():
        return False
    found = certify_counts(spec, bare, spec.certificate, alpha or Certification().alpha, n0 or 1)
    off = np.abs(found.radius - radii.radius) > half_units(radii) + 1e-3 * radii.radius + 1e-9
    return float((off & (radii.radius > 0)).mean()) < 0.01
