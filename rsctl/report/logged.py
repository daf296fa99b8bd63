"""Rows of imported logs, and what can be recovered from radii alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrik, log_ndtr, ndtr

from rsctl.certificates import ABSTAIN, Certified, certificates
from rsctl.certificates.bounds import gaussian_radius, one_minus_lower
from rsctl.report.logs import rounded
from rsctl.report.measured import LoggedRow, average_radius, curve, subset_key
from rsctl.report.text import percent_up
from rsctl.spec.sections import Certification
from rsctl.store.degenerate import judge
from rsctl.store.imports import Radii, Shown
from rsctl.store.tally import tally
from rsctl.words import counted, nth


def logged_rows(
    beside: Sequence[Shown], radii: Sequence[float], certificate: str | None, alpha: float | None
) -> tuple[list[LoggedRow], list[str]]:
    """A row for each log, and notes. Logs of another certificate or alpha than asked for are left out."""
    rows: list[LoggedRow] = []
    notes: list[str] = []
    coarse: list[Radii] = []
    left_out = 0
    columns = list(radii) or list(Certification().radii)
    for shown in beside:
        spec = shown.log.spec
        if (certificate and certificate != spec.certificate) or (alpha and alpha != shown.alpha):
            left_out += 1
            continue
        log = shown.log.radii
        rows.append(_row(shown, log, columns))
        notes += [f"{shown.log.id}: {remark}" for remark in shown.remarks]
        if rounded(log.radius):
            coarse.append(log)
    notes += _boundary(coarse, columns)
    if left_out:
        notes.append(
            f"left out: {counted(left_out, 'imported log')} with radii of another certificate or alpha, and no counts to derive these from."
        )
    return rows, notes


def _row(shown: Shown, log: Radii, radii: Sequence[float]) -> LoggedRow:
    spec = shown.log.spec
    certified = as_certified(log, spec.sigma, shown.n, shown.alpha)
    known = shown.n is not None and shown.alpha is not None
    return LoggedRow(
        run=shown.log.id,
        method=spec.method,
        dataset=spec.dataset,
        split=spec.split,
        model=spec.model,
        sigma=spec.sigma,
        noise=spec.noise,
        stopping="fixed",
        seed=spec.seed,
        n=shown.n,
        n0=shown.n0,
        alpha=shown.alpha,
        certificate=spec.certificate,
        guarantee=log_guarantee(spec.certificate, shown.alpha),
        norm="l2",
        k=1,
        images=len(log),
        planned=len(log),
        cells=curve(certified, log.label, radii),
        acr=average_radius(certified, log.label),
        abstain_rate=float((certified.predicted == ABSTAIN).mean()) if len(log) else float("nan"),
        cap_share=float(certified.at_cap.mean()) if known and len(log) else float("nan"),
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


def as_certified(log: Radii, sigma: float, n: int | None, alpha: float | None) -> Certified:
    """The log's radii as a certificate would give them; `at_cap` needs n and alpha and is false without."""
    at_cap = np.zeros(len(log), bool)
    if n is not None and alpha is not None and len(log):
        largest = float(log.radius.max())
        # 1e-9: the cap keeps a margin to the safe side, which somebody else's code doesn't.
        if largest + rounding(largest) >= cap(sigma, n, alpha) * (1 - 1e-9):
            at_cap = log.radius == largest
    return Certified(log.predicted.astype(np.int64), log.radius, at_cap)


def rounding(radius: float) -> float:
    """Half a unit of the third significant digit, by how much a printed radius may be off; 0 where it has more digits."""
    if radius <= 0 or float(f"{radius:.3g}") != radius:
        return 0.0
    return 0.5 * 10.0 ** (math.floor(math.log10(radius)) - 2)


def cap(sigma: float, n: int, alpha: float) -> float:
    """The largest radius that n draws can show at alpha: σ Φ⁻¹(α^{1/n})."""
    return float(gaussian_radius(one_minus_lower(n, n, alpha), sigma))


def implied_alpha(largest: float, sigma: float, n: int) -> tuple[float, float]:
    """The alphas under which n draws reach the printed radius `largest` at most: α = Φ(R/σ)ⁿ at both ends of its rounding."""
    ends = [(largest + side * rounding(largest)) / sigma for side in (-1, 1)]
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
    """Which positions, in words."""
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
    """Logs print three digits, which may round up: images that sit exactly on a column's radius."""
    told = []
    for r in radii:
        shares = [float(((log.predicted == log.label) & (log.radius == r)).mean()) for log in logs if r > 0]
        share = max(shares, default=0.0)
        if share:
            told.append(f"{percent_up(share)} points at {r:g}")
    if not told:
        return []
    return [
        "Imported radii are rounded to three digits, perhaps upward. Images exactly on a column's radius count as certified; "
        f"their share of a log is up to {', '.join(told)}."
    ]
