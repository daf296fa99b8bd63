"""Titles of a figure's panels: the settings common to their lines, and those that distinguish panels."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from rsctl.report.figures.series import Panel
from rsctl.results.lines import per_level
from rsctl.results.measurement import Measurement
from rsctl.results.notes import data_of
from rsctl.text import counted


def titles(panels: Sequence[Panel], kind: str) -> list[str]:
    """A title for each panel; equal ones are extended by further distinguishing settings."""
    found = [_family_title(panel) if kind == "families" else _title(panel, kind) for panel in panels]
    further = [_further(panel.group.first, kind) for panel in panels]
    # Fingerprints last, and only where nothing that can be read differs.
    for keys in (
        ("n0", "noise", "arithmetic", "stopping", "norm", "subset", "images"),
        ("positions", "files"),
    ):
        before = list(found)
        for key in keys:
            for title in dict.fromkeys(before):
                alike = [i for i, text in enumerate(before) if text == title]
                if len({further[i][key] for i in alike}) > 1:
                    for i in alike:
                        found[i] += f", {further[i][key]}"
    return found


def _further(row: Measurement, kind: str) -> dict[str, str]:
    """Further settings common to the rows of one panel, as text."""
    families = kind == "families"
    return {
        "n0": "" if families else _n0(row),
        "noise": "" if families else f"{row.noise} noise",
        "arithmetic": "" if families else f"{row.arithmetic} arithmetic",
        "stopping": ""
        if families
        else "fixed n"
        if row.stopping == "fixed"
        else f"stopped by {row.stopping}",
        "norm": row.norm,
        "subset": "" if families else row.subset,
        "images": "" if families else counted(row.planned, "image"),
        "positions": "" if families else f"images {row.subset_key[:8]}",
        "files": f"files {_digest(data_of(row))}" if row.own else "files not stated",
    }


def _n0(row: Measurement) -> str:
    if row.levels:
        return f"n0 = {per_level(row, 'n0')}"
    return "n0 not stated" if row.n0 is None else f"n0 = {row.n0}"


def _digest(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


def _title(panel: Panel, kind: str) -> str:
    row = panel.group.first
    if not row.estimated:
        return f"{row.dataset} {row.split}, {row.certificate}, deterministic"
    n = "n not stated" if row.n is None else f"n = {row.n}"
    if row.levels:
        n = f"n = {per_level(row, 'n')}"
    alpha = "α not stated" if row.alpha is None else f"α = {row.alpha:g}"
    name = row.certificate
    if row.levels:
        # A panel of its own names the method, which other panels have in their legends.
        name = row.name if kind == "cascades" and not row.level_names else row.cascade_text
    return f"{row.dataset} {row.split}, {name}, {n}, {alpha}"


def _family_title(panel: Panel) -> str:
    row = panel.group.first
    return (
        f"{row.dataset} {row.split}, the {counted(panel.series[0].images[0].images, 'image')} common to all"
    )
