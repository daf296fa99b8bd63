"""Rows of imported logs, and what can be recovered from radii alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrik, log_ndtr, ndtr

from rsctl.certificates import ABSTAIN, Certified, certificates, find_certificate
from rsctl.certificates.bounds import gaussian_radius, one_minus_lower
from rsctl.certificates.possible import Asked, too_few
from rsctl.config.sections import Certification
from rsctl.errors import RefusedError
from rsctl.report.clean import clean_accuracy
from rsctl.report.logged_counts import asked_of_counts, certify_counts, count_table
from rsctl.report.measured import LoggedRow, average_radius, curve, subset_key
from rsctl.report.radius_logs.printed import of_numbers
from rsctl.report.typeset import percent_up
from rsctl.store.degenerate import judge
from rsctl.store.imports import Radii, ShownImport
from rsctl.store.tally import tally
from rsctl.text import counted, nth

PLAIN = "cohen"
"""The certificate whose largest radius is known: σ Φ⁻¹(α^{1/n})."""
SLACK = 1e-4
"""Relative error near p = 1 of a bound in single precision; one draw of n changes the bound by ten times more."""
EXACT = 1e-9
"""Radii printed more exactly than this aren't called rounded."""


def logged_rows(
    beside: Sequence[ShownImport], radii: Sequence[float], certificate: str | None, alpha: float | None
) -> tuple[list[LoggedRow], list[str]]:
    """A row for each log, and notes. Logs of radii under another certificate or alpha than requested are left out."""
    rows: list[LoggedRow] = []
    notes: list[str] = []
    coarse: list[Radii] = []
    left_out = 0
    asked: list[Asked] = []
    columns = list(radii) or list(Certification().radii)
    alike = alike_logs(beside)
    for shown in sorted(beside, key=_order):
        try:
            row = _row(shown, columns, certificate, alpha)
            rows.append(replace(row, told=alike.get(shown.log.id, "")))
        except RefusedError as error:
            notes.append(f"{shown.log.id}: left out: {error}")
            continue
        except NoCountsError:
            left_out += 1
            continue
        notes += [f"{shown.log.id}: {remark}" for remark in shown.remarks]
        if shown.log.radii.counts is None:
            coarse.append(shown.log.radii)
        elif len(shown.log.radii) and row.alpha:
            asked.append(asked_of_counts(shown, row.certificate, row.alpha, columns))
    notes += too_few(asked)
    notes += _boundary(coarse, columns)
    if left_out:
        notes.append(
            f"left out: {counted(left_out, 'imported log')} with radii of another certificate or alpha, and no counts to derive them from."
        )
    return rows, notes


def _order(shown: ShownImport) -> tuple[Any, ...]:
    spec = shown.log.spec
    trained, seed = spec.trained_sigma or spec.sigma, -1 if spec.seed is None else spec.seed
    return (
        spec.dataset,
        spec.split,
        spec.method,
        spec.model,
        spec.sigma,
        trained,
        seed,
        spec.certificate,
        shown.log.id,
    )


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


class NoCountsError(Exception):
    """The log holds radii under one certificate at one alpha; another was requested."""


@dataclass(frozen=True)
class Reading:
    """The radii of a log under one certificate, and what qualifies them."""

    certificate: str
    alpha: float | None
    certified: Certified
    guarantee: str
    norm: str
    k: int
    caps: bool
    """True where the radii that are the largest that n and alpha allow are known."""


def reading(shown: ShownImport, certificate: str | None = None, alpha: float | None = None) -> Reading:
    """A log under this certificate at this alpha, by default its own; from counts, or as it printed them.

    Raises NoCountsError where it would have to be derived from counts that nobody has, RefusedError where those of the
    log don't hold enough.
    """
    spec, log = shown.log.spec, shown.log.radii
    name, level = certificate or spec.certificate, alpha or shown.alpha
    rule = certificates().get(name)
    norm, k = (rule.norm, rule.k) if rule else ("l2", 1)
    if log.counts is not None:
        level = level or Certification().alpha
        found = certify_counts(spec, log, name, level, shown.n0)
        told = f"{find_certificate(name).guarantee.label(level)}, from logged counts"
        return Reading(name, level, found, told, norm, k, True)
    if name != spec.certificate or level != shown.alpha:
        raise NoCountsError
    caps = name == PLAIN and _cap_shows(shown)
    return Reading(name, level, as_certified(shown), log_guarantee(name, level), norm, k, caps)


def _row(
    shown: ShownImport, radii: Sequence[float], certificate: str | None, alpha: float | None
) -> LoggedRow:
    spec, log = shown.log.spec, shown.log.radii
    read = reading(shown, certificate, alpha)
    every = spec.counts == "classes" and read.alpha is not None and len(log)
    rule = certificates().get(read.certificate) if log.counts is not None else None
    failure = rule.guarantee.times_alpha * read.alpha if rule and read.alpha else None
    return LoggedRow(
        run=shown.log.id,
        method=spec.method,
        dataset=spec.dataset,
        split=spec.split,
        model=spec.model,
        sigma=spec.sigma,
        trained_sigma=spec.trained_sigma,
        noise=spec.noise,
        stopping="fixed",
        seed=spec.seed,
        n=shown.n,
        n0=shown.n0,
        alpha=read.alpha,
        certificate=read.certificate,
        guarantee=read.guarantee,
        norm=read.norm,
        k=read.k,
        images=len(log),
        planned=len(log),
        cells=curve(read.certified, log.label, radii),
        acr=average_radius(read.certified, log.label),
        abstain_rate=float((read.certified.predicted == ABSTAIN).mean()) if len(log) else float("nan"),
        cap_share=float(read.certified.at_cap.mean()) if read.caps and len(log) else float("nan"),
        clean_accuracy=clean_accuracy(count_table(spec, log), log.label, read.alpha)
        if every and read.alpha
        else float("nan"),
        failure=failure if failure and failure < 1 else None,
        counted=log.counts is not None,
        subset=describe_subset(log.index),
        subset_key=subset_key(log.index),
        degenerate=judge(tally(log.label, log.predicted), training=False),
    )


def log_guarantee(certificate: str, alpha: float | None) -> str:
    rule = certificates().get(certificate)
    if rule is None:
        return "as the log claims (counts unknown)"
    if alpha is None:
        return f"{rule.guarantee.kind}, alpha not stated, of {rule.guarantee.classifier}, as logged (counts unknown)"
    return f"{rule.guarantee.label(alpha)}, as logged (counts unknown)"


def as_certified(shown: ShownImport) -> Certified:
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


def half_units(log: Radii) -> NDArray[np.float64]:
    """Rounding error of each printed radius of a log, (N,)."""
    return of_numbers(log.radius) if log.printed is None else log.printed


def cap(sigma: float, n: int, alpha: float) -> float:
    """The largest radius that n draws can show at alpha: σ Φ⁻¹(α^{1/n})."""
    return float(gaussian_radius(one_minus_lower(n, n, alpha), sigma))


def implied_alpha(largest: float, half: float, sigma: float, n: int) -> tuple[float, float]:
    """The alphas under which n draws reach the printed radius `largest` at most: α = Φ(R/σ)ⁿ at both ends of its rounding.

    `half` is half a unit of its last digit; what single precision adds to it counts too.
    """
    ends = [(largest * (1 + side * SLACK) + side * half) / sigma for side in (-1, 1)]
    low, high = (float(np.exp(n * log_ndtr(end))) for end in ends)
    return low, high


def shortest_between(low: float, high: float) -> float:
    """The number with the fewest digits in [low, high]."""
    for digits in range(1, 17):
        scale = 10.0 ** (digits - 1 - math.floor(math.log10(high)))
        value = math.floor(high * scale) / scale
        if value >= low:
            return float(f"{value:.{digits}g}")
    return high


def p_a_lower(radius: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """p̲_A = Φ(R/σ), (N,) float64; NaN where it abstained."""
    return np.where(radius > 0, ndtr(radius / sigma), np.nan)


def p_a_estimate(radius: NDArray[np.float64], sigma: float, n: int, alpha: float) -> NDArray[np.float64]:
    """N_A / n recovered by inverting the Clopper–Pearson bound, (N,) float64; NaN where it abstained.

    P(Bin(n, p̲_A) ≤ N_A − 1) = 1 − α gives N_A; a radius of three digits leaves it uncertain in the third.
    """
    low = p_a_lower(radius, sigma)
    hits = bdtrik(1 - alpha, n, np.where(np.isnan(low), 0.5, low)) + 1
    return np.where(np.isnan(low), np.nan, np.minimum(np.rint(hits) / n, 1.0))


def describe_subset(index: NDArray[np.int64]) -> str:
    """Description of the positions."""
    if len(index) == 0:
        return "none"
    if len(index) == 1:
        return f"position {index[0]}"
    steps = np.unique(np.diff(np.sort(index)))
    span = f"{index.min()} to {index.max()}"
    if len(steps) == 1:
        return f"positions {span}" if steps[0] == 1 else f"every {nth(steps[0])} position, {span}"
    return f"positions {span}, irregular"


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
