"""What the largest radius of a log has to say about the stated n, alpha and σ."""

from __future__ import annotations

from rsctl.report.log_sigma import MOST_SIGMAS
from rsctl.report.logged import PLAIN, cap, half_units, implied_alpha, shortest_between
from rsctl.store.imports import ImportSpec, Radii

NO_ALPHA = 0.1
"""Nobody certifies at this failure probability: what needs more has another n or σ."""


def impossible(spec: ImportSpec, log: Radii, n: int | None, alpha: float | None) -> str:
    """Why these radii can't be of this σ, or of the n and alpha that are stated; empty where they can."""
    largest, half = _largest(spec, log)
    said = f"its largest radius, {largest:g}, is {largest / spec.sigma:.3g} sigma, which"
    if largest > MOST_SIGMAS * spec.sigma:
        return f"{said} no number of draws shows: is sigma = {spec.sigma:g} right?"
    if n is not None and alpha is not None and spec.certificate == PLAIN and largest:
        low, _ = implied_alpha(largest, half, spec.sigma, n)
        if low > max(NO_ALPHA, alpha):
            return (
                f"{said} {n} draws show at no alpha below {low:.2g}: is sigma = {spec.sigma:g} right, and n?"
            )
    return ""


def alpha_shown(
    spec: ImportSpec, log: Radii, n: int | None, alpha: float | None
) -> tuple[float | None, list[str]]:
    """The alpha to show, and what the largest radius has to say about the stated one."""
    largest, half = _largest(spec, log)
    if n is None or largest == 0 or spec.certificate != PLAIN:
        return alpha, []
    low, high = implied_alpha(largest, half, spec.sigma, n)
    if alpha is not None and low <= alpha:
        return alpha, []
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
