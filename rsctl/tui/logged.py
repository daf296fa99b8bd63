"""Curves and images of imported logs: radii as they were printed, without counts to derive others from.

Imported on a background thread only.
"""

from __future__ import annotations

from pathlib import Path

from rsctl.certificates import Certified
from rsctl.errors import UserError
from rsctl.report.logged import as_certified, log_guarantee
from rsctl.store.imports import Import
from rsctl.tui.plain import plain
from rsctl.tui.views import Curve, RunView, Sample


def logged_curve(
    folder: Path, run: RunView, certificate: str | None, alpha: float | None
) -> tuple[Curve, Certified | None]:
    """What is known of a log, and its radii; none where another certificate or alpha is asked for."""
    log, entry = Import(folder), run.entry
    own, level, n = str(entry["certificates"][0]), entry["alpha"], entry["n"]
    try:
        spec, radii = log.spec, log.radii
        about = Curve(
            run.key, run.title, own, log_guarantee(own, level), "l2", level or 0.0, n or 0, len(radii), len(radii),
            problems=tuple(plain(remark) for remark in entry["remarks"]),
        )  # fmt: skip
        certified = as_certified(radii, spec.sigma, n, level)
    except UserError as error:
        return _without(run, own, level, str(error)), None
    if (certificate or own) != own or (alpha or level) != level:
        said = f"alpha = {level:g}" if level else "an alpha that nobody stated"
        why = f"an imported log holds radii of {own} at {said}, and no counts to derive others from"
        return _without(run, own, level, why), None
    return about, certified


def _without(run: RunView, certificate: str, alpha: float | None, why: str) -> Curve:
    return Curve(run.key, run.title, certificate, "", "l2", alpha or 0.0, 0, 0, 0, problems=(plain(why),))


def logged_samples(folder: Path, n: int | None) -> list[Sample]:
    """The images of a log in ascending order of their position; its counts are unknown."""
    radii = Import(folder).radii
    columns = (radii.index, radii.label, radii.predicted, radii.radius, radii.seconds)
    return [
        Sample(index, label, predicted, radius, 0, 0, n or 0, seconds)
        for index, label, predicted, radius, seconds in zip(*(c.tolist() for c in columns), strict=True)
    ]
