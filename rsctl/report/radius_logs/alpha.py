"""Checks of the stated n, alpha and σ against the largest radius of a log."""

from __future__ import annotations

import math

from scipy.special import log_ndtr

from rsctl.report.radius_logs.sigma import MOST_SIGMAS, USUAL_SIGMAS
from rsctl.results.log_radii import PLAIN, SLACK, cap, half_units, implied_alpha, shortest_between
from rsctl.store.imports import ImportSpec, Radii
from rsctl.text import counted

LEAST_SHARING, SHARING = 5, 0.02
"""Numbers and shares of images above which a common largest radius isn't due to chance."""
NO_ALPHA = 0.1
"""An implausible failure probability: a radius that needs more has another n or σ."""

LEAST_ALPHA = 1e-12
"""Smallest plausible failure probability: smaller bounds are uninformative."""


def impossible(spec: ImportSpec, log: Radii, n: int | None, alpha: float | None) -> str:
    """The reason why these radii are impossible at this σ, or at the stated n and alpha; empty where they are possible."""
    largest, half = _largest(spec, log)
    said = f"its largest radius, {largest:g}, is {largest / spec.sigma:.3g} sigma, which"
    if largest > MOST_SIGMAS * spec.sigma:
        return f"{said} no number of draws can show: is sigma = {spec.sigma:g} right?"
    usual = largest <= USUAL_SIGMAS * spec.sigma  # then it is rather n or alpha that is wrong
    if n is not None and alpha is not None and spec.certificate == PLAIN and largest and not usual:
        low, _ = implied_alpha(largest, half, spec.sigma, n)
        if low > max(NO_ALPHA, alpha):
            return f"{said} {n} draws can't show at any alpha below {low:.2g}: is sigma = {spec.sigma:g} right, and n?"
    return ""


def low_cap(spec: ImportSpec, log: Radii, n: int | None, alpha: float | None) -> tuple[str, bool]:
    """A remark on n, or else σ, from many images with one largest radius below the cap; and whether σ is likelier to be wrong.

    Empty where the largest radius is the cap, or no more than a few have it.
    """
    largest, half = _largest(spec, log)
    if n is None or alpha is None or largest == 0 or spec.certificate != PLAIN:
        return "", False
    limit, sharing = cap(spec.sigma, n, alpha), int((log.radius == largest).sum())
    if sharing < max(LEAST_SHARING, SHARING * len(log)) or largest + 2 * half >= limit * (1 - SLACK):
        return "", False
    said = f"{counted(sharing, 'image')} share the largest radius, {largest:g} = {largest / spec.sigma:.3g} sigma, as if it were the cap;"
    if 2 * largest < limit:
        return (
            f"{said} at n = {n} and alpha = {alpha:g} it is that of sigma = {largest / cap(1.0, n, alpha):.3g}: is sigma = {spec.sigma:g} right?",
            True,
        )
    draws = math.log(alpha) / float(log_ndtr(largest / spec.sigma))
    low, high = implied_alpha(largest, half, spec.sigma, n)
    other = f", or at this n of alpha = {shortest_between(low, high):.2g}" if high >= LEAST_ALPHA else ""
    return f"{said} at the stated alpha it is that of n = {draws:.2g}, not {n}{other}", False


def alpha_shown(
    spec: ImportSpec, log: Radii, n: int | None, alpha: float | None
) -> tuple[float | None, list[str]]:
    """The alpha to show, and remarks where the largest radius contradicts the stated one."""
    largest, half = _largest(spec, log)
    if n is None or largest == 0 or spec.certificate != PLAIN:
        return alpha, []
    low, high = implied_alpha(largest, half, spec.sigma, n)
    if low <= alpha if alpha is not None else high < LEAST_ALPHA:
        return alpha, []
    if low > NO_ALPHA and alpha is not None:
        draws = math.log(alpha) / float(log_ndtr(largest / spec.sigma))
        return None, [
            f"n = {n} and alpha = {alpha:g} are contradicted: the largest radius, {largest:g} = {largest / spec.sigma:.3g} sigma, needs "
            f"n = {draws:.2g} or more at this alpha, and no alpha below {low:.2g} shows it at this n; shown with alpha not stated"
        ]
    likely = shortest_between(low, high)
    which = f"the largest radius, {largest:g} = {largest / spec.sigma:.3g} sigma, needs alpha = {likely:g} or more at n = {n}"
    if alpha is None:
        return None, [f"alpha isn't stated; {which}"]
    limit = cap(spec.sigma, n, alpha)
    return likely, [
        f"alpha = {alpha:g} is contradicted: {which}, and at the stated alpha no radius exceeds {limit:.4g}; shown with alpha = {likely:g}"
    ]


def _largest(spec: ImportSpec, log: Radii) -> tuple[float, float]:
    """The largest radius in ℓ2 and half a unit of its last digit; 0 where there is none."""
    if log.counts is not None or not len(log) or spec.certificate.endswith(("-l1", "-linf")):
        return 0.0, 0.0
    i = int(log.radius.argmax())
    return float(log.radius[i]), float(half_units(log)[i])
