"""Imported logs: radii as they were printed, or derived from the counts of a log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsctl.certificates import Certified, certificates, find_certificate
from rsctl.certificates.bounds import gaussian_radius, one_minus_lower
from rsctl.certificates.possible import too_few
from rsctl.config.sections import Certification
from rsctl.errors import RefusedError
from rsctl.results.accuracy import failure_of, scored
from rsctl.results.clean import clean_accuracy
from rsctl.results.image_order import ImageOrder, describe_subset
from rsctl.results.log_counts import certify_counts, count_table
from rsctl.results.log_radii import PLAIN, SLACK, cap, half_units, p_a_estimate, p_a_lower
from rsctl.results.measurement import Measurement
from rsctl.results.notes import asked_of
from rsctl.results.rounding import percent_up
from rsctl.store.degenerate import judge
from rsctl.store.imports import Radii, ShownImport
from rsctl.store.tally import tally
from rsctl.text import counted

EXACT = 1e-9
"""Radii printed more exactly than this aren't called rounded."""


class NoCountsError(Exception):
    """The log holds radii under one certificate at one alpha; another was requested."""


def measure_logs(
    beside: Sequence[ShownImport], radii: Sequence[float], certificate: str | None, alpha: float | None
) -> tuple[list[Measurement], list[str]]:
    """The logs of a sweep, and notes. Logs of radii under another certificate or alpha than requested are left out."""
    rows: list[Measurement] = []
    notes: list[str] = []
    left_out = 0
    columns = list(radii) or list(Certification().radii)
    alike = alike_logs(beside)
    for shown in sorted(beside, key=_order):
        try:
            row = measure_log(shown, certificate, alpha, columns)
        except RefusedError as error:
            notes.append(f"{shown.log.id}: left out: {error}")
            continue
        except NoCountsError:
            left_out += 1
            continue
        rows.append(replace(row, path_part=alike.get(row.run, "")))
        notes += [f"{shown.log.id}: {remark}" for remark in shown.remarks]
    notes += too_few([asked for row in rows for asked in asked_of(row)])
    notes += _boundary([row.logged.log.radii for row in rows if row.logged and not row.counted], columns)
    if left_out:
        notes.append(
            f"left out: {counted(left_out, 'imported log')} with radii of another certificate or alpha, and no counts to derive them from."
        )
    return rows, notes


def _order(shown: ShownImport) -> tuple[Any, ...]:
    spec = shown.log.spec
    trained, seed = spec.trained_sigma or spec.sigma, -1 if spec.seed is None else spec.seed
    names = (spec.dataset, spec.split, spec.method, spec.model)
    return (*names, spec.sigma, trained, seed, spec.certificate, shown.log.id)


def alike_logs(beside: Sequence[ShownImport]) -> dict[str, str]:
    """Id of a log → the distinguishing part of its file's path, for logs with equal metadata."""
    found: dict[str, list[ShownImport]] = {}
    for shown in beside:
        known = shown.log.spec.model_dump_json(exclude={"rows"})
        found.setdefault(known, []).append(shown)
    told: dict[str, str] = {}
    for several in found.values():
        if len(several) > 1:
            parts = [Path(shown.source).parts for shown in several]
            lengths = range(1, max(map(len, parts)) + 1)
            k = next((k for k in lengths if len({part[-k:] for part in parts}) == len(parts)), 0)
            told |= {
                shown.log.id: "/".join(part[-k:]) or shown.log.id
                for shown, part in zip(several, parts, strict=True)
            }
    return told


def measure_log(
    shown: ShownImport,
    certificate: str | None = None,
    alpha: float | None = None,
    radii: Sequence[float] = (),
) -> Measurement:
    """A log under this certificate at this alpha, by default its own; from counts, or as it printed its radii.

    Raises NoCountsError where the radii would have to be derived from counts that the log lacks, RefusedError where its
    counts don't hold enough.
    """
    spec, log = shown.log.spec, shown.log.radii
    name, level = certificate or spec.certificate, alpha or shown.alpha
    rule = certificates().get(name)
    clean, failure = float("nan"), None
    if log.counts is not None:
        level = level or Certification().alpha
        certified, caps = certify_counts(spec, log, name, level, shown.n0), True
        rule = find_certificate(name)
        guarantee, failure = f"{rule.guarantee.label(level)}, from logged counts", failure_of(rule, level)
        if spec.counts == "classes" and len(log):
            clean = clean_accuracy(count_table(spec, log), log.label, level)
    elif name != spec.certificate or level != shown.alpha:
        raise NoCountsError
    else:
        certified, caps = _as_printed(shown), name == PLAIN and _cap_shows(shown)
        guarantee = _guarantee(name, level)
    order = ImageOrder(log.index, describe_subset(log.index))
    numbers = scored(certified, log.label, radii)
    return Measurement(
        run=shown.log.id, kind="imports", spec=spec, certificate=name, guarantee=guarantee, alpha=level,
        norm=rule.norm if rule else "l2", k=rule.k if rule else 1, failure=failure, index=log.index, seconds=log.seconds,
        planned=len(log), subset=order.subset, subset_key=order.key, clean_accuracy=clean, logged=shown,
        degenerate=judge(tally(log.label, log.predicted), training=False), **numbers | ({} if caps else {"cap_share": float("nan")}),
    )  # fmt: skip


def _guarantee(certificate: str, alpha: float | None) -> str:
    rule = certificates().get(certificate)
    if rule is None:
        return "as the log claims (counts unknown)"
    if alpha is None:
        return f"{rule.guarantee.kind}, alpha not stated, of {rule.guarantee.classifier}, as logged (counts unknown)"
    return f"{rule.guarantee.label(alpha)}, as logged (counts unknown)"


def _as_printed(shown: ShownImport) -> Certified:
    """A log's radii as a certificate would give them; `at_cap` needs n and alpha, and CERTIFY's cap, and is false without."""
    log, at_cap = shown.log.radii, np.zeros(len(shown.log.radii), bool)
    if shown.log.spec.certificate == PLAIN and shown.n is not None and shown.alpha is not None:
        largest = cap(shown.log.spec.sigma, shown.n, shown.alpha)
        # A whole unit of the last digit: some print radii rounded down.
        at_cap = log.radius + 2 * half_units(log) >= largest * (1 - SLACK)
    return Certified(log.predicted.astype(np.int64), log.radius, at_cap)


def _cap_shows(shown: ShownImport) -> bool:
    """Return whether n and alpha are stated, and radii printed finely enough to tell the largest they allow from the next."""
    n, alpha, log = shown.n, shown.alpha, shown.log.radii
    if n is None or alpha is None:
        return False
    sigma = shown.log.spec.sigma
    below = float(gaussian_radius(one_minus_lower(n - 1, n, alpha), sigma)) if n > 1 else 0.0
    return 3 * float(half_units(log).max(initial=0.0)) < cap(sigma, n, alpha) - below


def agreement(row: Measurement) -> NDArray[np.float64]:
    """Share of the draws that give the label, per image; of a log as far as its counts or radii reveal it, else NaN."""
    unknown = np.full(row.images, np.nan)
    if row.agreement is not None or row.logged is None:
        return unknown if row.agreement is None else row.agreement
    log, right = row.logged.log.radii, row.logged.log.radii.predicted == row.labels
    if log.counts is not None and log.draws is not None:
        whole = log.counts.shape[1] > 1
        hits = log.counts[np.arange(len(log)), log.label if whole else 0]
        return np.where(whole | right, hits / log.draws, np.nan)
    if row.norm != "l2":
        return unknown
    if row.n is None or row.logged.alpha is None:
        return np.where(right, p_a_lower(log.radius, row.sigma), np.nan)
    return np.where(right, p_a_estimate(log.radius, row.sigma, row.n, row.logged.alpha), np.nan)


def _boundary(logs: Sequence[Radii], radii: Sequence[float]) -> list[str]:
    """Note on images whose printed radius, perhaps rounded up, equals a column's radius."""
    told = []
    right = [(log, (log.predicted == log.label) & (half_units(log) > EXACT)) for log in logs if len(log)]
    for r in radii:
        shares = [float((hit & (log.radius == r)).mean()) for log, hit in right if r > 0]
        share = max(shares, default=0.0)
        if share:
            told.append(f"{percent_up(share)} points at {r:g}")
    if not told:
        return []
    return [
        "Imported radii are rounded as they were printed, perhaps upward. Images exactly on a column's radius count as certified; "
        f"their share of a log is up to {', '.join(told)}."
    ]
