"""Curves and images of imported logs: radii as they were printed, without counts to derive others from.

Imported on a background thread only.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rsctl.certificates.possible import too_few
from rsctl.errors import UserError
from rsctl.plain import plain
from rsctl.report.logged import NoCountsError, Reading, reading
from rsctl.report.logged_counts import asked_of_counts
from rsctl.store.imports import Import, ShownImport
from rsctl.tui.views import Curve, ImageView, RunView


def logged_curve(
    folder: Path, run: RunView, certificate: str | None, alpha: float | None
) -> tuple[Curve, Reading | None]:
    """The curve of a log and its radii; no radii if another certificate or alpha is requested and it has no counts."""
    log, entry = Import(folder), run.entry
    own, level, n = str(entry["certificates"][0]), entry["alpha"], entry["n"]
    try:
        shown = ShownImport(log, n, entry["n0"], level, "", [])
        found = reading(shown, certificate, alpha)
        short: list[str] = []
        if log.radii.counts is not None and len(log.radii) and found.alpha:
            short = too_few([asked_of_counts(shown, found.certificate, found.alpha, entry["radii"])])
        about = Curve(
            run.key, run.title, found.certificate, found.guarantee, found.norm, found.alpha or 0.0, n or 0, len(log.radii),
            len(log.radii), problems=tuple(plain(remark) for remark in [*entry["remarks"], *short]),
        )  # fmt: skip
    except NoCountsError:
        said = f"alpha = {level:g}" if level else "an unstated alpha"
        why = f"the imported log has radii of {own} at {said}, but no counts to compute others from"
        return _without(run, own, level, why), None
    except UserError as error:
        return _without(run, certificate or own, level, str(error)), None
    return about, found


def _without(run: RunView, certificate: str, alpha: float | None, why: str) -> Curve:
    return Curve(run.key, run.title, certificate, "", "l2", alpha or 0.0, 0, 0, 0, problems=(plain(why),))


def logged_samples(folder: Path, run: RunView, certificate: str, alpha: float) -> list[ImageView]:
    """The images of a log in ascending order of their position; 0 for counts that are unknown."""
    log, entry = Import(folder), run.entry
    radii, shown = log.radii, ShownImport(log, entry["n"], entry["n0"], entry["alpha"], "", [])
    found = (
        reading(shown, certificate, alpha).certified if radii.counts is not None else reading(shown).certified
    )
    first, second = np.zeros(len(radii), np.int64), np.zeros(len(radii), np.int64)
    draws = np.full(len(radii), entry["n"] or 0) if radii.draws is None else radii.draws
    if radii.counts is not None:
        ordered = np.sort(radii.counts, axis=1)[:, ::-1]
        first, second = ordered[:, 0], ordered[:, 1] if ordered.shape[1] > 1 else second
    columns = (radii.index, radii.label, found.predicted, found.radius, first, second, draws, radii.seconds)
    return [ImageView(*values) for values in zip(*(column.tolist() for column in columns), strict=True)]
