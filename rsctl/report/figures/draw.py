"""Figures for a paper, through matplotlib, which is imported only here and only when one is drawn."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rsctl.certificates.cascade import Cascade
from rsctl.errors import InputError, unknown
from rsctl.report.figures.line_styles import SETTINGS, in_common, method_colours, text
from rsctl.report.figures.plots import KINDS
from rsctl.report.figures.series import Panel, by_cascade, by_norm, collect, hours_of
from rsctl.report.figures.titles import titles
from rsctl.report.output import MAKER, check, write
from rsctl.results.row_filter import RowFilter
from rsctl.results.sweep import Results
from rsctl.store.layout import Store
from rsctl.text import counted

SUFFIXES = (".pdf", ".svg", ".png")
MOST_PANELS, WIDEST = 6, 100


def plot(
    store: Store, sweep: str, file: Path, *, kind: str = "curve", certificate: str | None = None, alpha: float | None = None,
    radius: float = 0.0, width: float = 5.5, force: bool = False, only: RowFilter | None = None, cascade: Cascade | str | None = None,
) -> list[str]:  # fmt: skip
    """Draw one of `KINDS` into a .pdf, .svg or .png; returns the notes its readers need.

    Raises InputError for another kind or ending, and where nothing is in yet; RefusedError as `check` does.
    """
    if file.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"-o {file}: ends in '{file.suffix}'; a figure ends in one of {', '.join(SUFFIXES)}."
        )
    if kind not in KINDS:
        explained = "; ".join(f"{name}: {draw.__doc__}" for name, draw in KINDS.items())
        raise InputError(f"--kind: {unknown('kind', kind, KINDS)} {explained}")
    if not 1 <= width <= WIDEST:
        raise InputError(f"--width: must be 1 to {WIDEST} inches, but it is {width:g}.")
    if not 0 <= radius < float("inf"):
        raise InputError(f"--radius: must be 0 or more, and finite, but it is {radius:g}.")
    check(file, force=force)
    panels, results = collect(
        store, sweep, certificate=certificate, alpha=alpha, radii=[radius], only=only, cascade=cascade
    )
    if not panels:
        raise InputError(f"{sweep}: no image is certified yet. Wait for the first results ('rsctl status').")
    notes = list(results.notes)
    if kind == "families":
        panels = by_norm(panels)
        if not panels:
            raise InputError(
                f"{sweep}: --kind families compares certificates and verifiers of your own runs, but this sweep has imported "
                "logs alone. Use another --kind, such as curve."
            )
        if results.logged:
            notes.append(
                f"Left out: {counted(len(results.logged), 'imported log')}; --kind curve draws them."
            )
    if kind == "cascades":
        panels = by_cascade(panels)
        if not panels:
            raise InputError(
                f"{sweep}: no cascade with finished images. Add [[cascade]] tables to its file, or give --cascade and --tau."
            )
    elif len(panels) > MOST_PANELS and not cascade:
        several = sum(bool(panel.group.first.levels) for panel in panels)
        panels = [panel for panel in panels if not panel.group.first.levels]
        notes += [f"Left out: {counted(several, 'cascade')}; --cascade draws one."] if several else []
    if len(panels) > MOST_PANELS:
        one = ", or one with --cascade" if kind == "cascades" else ""
        raise InputError(
            f"{sweep}: its runs form {len(panels)} groups (data set, images, certificate, n, alpha); a figure has at most {MOST_PANELS}. Select some with --method or --sigma{one}."
        )
    if kind == "ecdf" and results.cascades:
        panels = [panel for panel in panels if not panel.group.first.levels]
        notes.append("Left out: the cascade, which has no draws besides those of its levels.")
    if kind == "hours":
        panels = _timed(panels, store, sweep, notes)
    data = _draw(panels, results, store, kind, radius, width, file.suffix.lower(), notes)
    write(file, file.suffix.lower()[1:], data, force=force)
    return list(dict.fromkeys(notes))


def _timed(panels: Sequence[Panel], store: Store, sweep: str, notes: list[str]) -> list[Panel]:
    """The panels with a run whose time was recorded; raises InputError where there is none."""
    rows = [[row for one in panel.series for row in one.line.rows] for panel in panels]
    timed = [any(hours_of(store, row) > 0 for row in several) for several in rows]
    if not any(timed):
        raise InputError(
            f"{sweep}: no run with a recorded time: imported logs have none. Use another --kind, such as curve."
        )
    left_out = sum(len(several) for several, known in zip(rows, timed, strict=True) if not known)
    if left_out:
        notes.append(f"Left out: the panels of {counted(left_out, 'run')} without a recorded time.")
    return [panel for panel, known in zip(panels, timed, strict=True) if known]


def _draw(
    panels: Sequence[Panel], results: Results, store: Store, kind: str, radius: float, width: float, suffix: str, notes: list[str]
) -> bytes:  # fmt: skip
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(width, (0.62 * width + 0.3) * len(panels)), layout="constrained")
        colours = method_colours([one.line.first.method for panel in panels for one in panel.series])
        places = np.ravel(figure.subplots(len(panels), 1))
        for axes, panel, title in zip(places, panels, titles(panels, kind), strict=True):
            notes += KINDS[kind](axes, panel, colours, radius, store)
            whole = title if kind in ("families", "envelope", "cascades") else title + in_common(panel)
            axes.set_title(_wrapped(text(whole), width), loc="left")
        image = io.BytesIO()
        # Without a date the same results give the same bytes.
        metadata = {
            ".pdf": {"Creator": MAKER, "CreationDate": None},
            ".svg": {"Date": None},
            ".png": {"Software": MAKER},
        }[suffix]
        figure.savefig(image, format=suffix[1:], dpi=300, metadata=metadata)
    return image.getvalue()


def _wrapped(title: str, width: float) -> str:
    """Text wrapped to the figure's width, after a comma; a character of 8 points is about 4.7 wide."""
    kept = ", ".join(part.replace(" ", "\xa0") for part in title.split(", "))
    return textwrap.fill(kept, int(15.2 * width)).replace("\xa0", " ")
