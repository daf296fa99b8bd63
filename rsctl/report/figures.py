"""Figures for a paper, through matplotlib, which is imported only here and only when one is drawn."""

from __future__ import annotations

import io
import math
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rsctl.catalog import known_methods
from rsctl.errors import InputError, unknown
from rsctl.report.measured import ProvedRow, Results
from rsctl.report.only import Only
from rsctl.report.output import MAKER, check, write
from rsctl.report.series import Panel, Series, at_least, by_norm, collect, hours_of
from rsctl.report.text import printable
from rsctl.report.titles import titles
from rsctl.store.layout import Store
from rsctl.words import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
"""Okabe and Ito's palette (2008), told apart with every common colour vision; its yellow, too light for lines, replaced."""
STYLES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)), (0, (8, 2)), (0, (2, 2)))
MARKERS = "osD^vP*X"
SUFFIXES = (".pdf", ".svg", ".png")
MOST_PANELS = 6
_POINTS = 400
_SETTINGS: Any = {
    "font.size": 8, "axes.labelsize": 8, "axes.titlesize": 8, "legend.fontsize": 7, "xtick.labelsize": 7, "ytick.labelsize": 7,
    "axes.linewidth": 0.6, "lines.linewidth": 1.2, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
    "pdf.fonttype": 42, "svg.hashsalt": "rsctl", "axes.grid": True, "grid.linewidth": 0.4, "grid.alpha": 0.4,
}  # fmt: skip


def plot(
    store: Store, sweep: str, file: Path, *, kind: str = "curve", certificate: str | None = None, alpha: float | None = None,
    radius: float = 0.0, width: float = 5.5, force: bool = False, only: Only | None = None,
) -> list[str]:  # fmt: skip
    """Draw one of `KINDS` into a .pdf, .svg or .png; returns the notes its readers need.

    Raises InputError for another kind or ending, and where nothing is in yet; RefusedError as `check` does.
    """
    if file.suffix.lower() not in SUFFIXES:
        raise InputError(f"-o {file}: ends in '{file.suffix}'; a figure is one of {', '.join(SUFFIXES)}.")
    if kind not in KINDS:
        explained = "; ".join(f"{name}: {draw.__doc__}" for name, draw in KINDS.items())
        raise InputError(f"--kind: {unknown('kind', kind, KINDS)} {explained}")
    check(file, force=force)
    panels, results = collect(store, sweep, certificate=certificate, alpha=alpha, radii=[radius], only=only)
    if not panels:
        raise InputError(f"{sweep}: no image is certified yet; there is nothing to draw.")
    if kind == "families":
        panels = by_norm(panels)
    if len(panels) > MOST_PANELS:
        raise InputError(
            f"{sweep}: its runs fall into {len(panels)} groups (data set, images, certificate, n, alpha); at most {MOST_PANELS} fit one figure."
        )
    notes = list(results.notes)
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
            f"{sweep}: no run with a recorded time: imported logs have none. Another --kind draws them, such as curve."
        )
    left_out = sum(len(several) for several, known in zip(rows, timed, strict=True) if not known)
    if left_out:
        notes.append(f"Left out: a panel, or several, of {counted(left_out, 'run')} without a recorded time.")
    return [panel for panel, known in zip(panels, timed, strict=True) if known]


def _draw(
    panels: Sequence[Panel], results: Results, store: Store, kind: str, radius: float, width: float, suffix: str, notes: list[str]
) -> bytes:  # fmt: skip
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(width, (0.62 * width + 0.3) * len(panels)), layout="constrained")
        colours = method_colours([one.line.first.method for panel in panels for one in panel.series])
        places = np.ravel(figure.subplots(len(panels), 1))
        for axes, panel, title in zip(places, panels, titles(panels, kind), strict=True):
            notes += KINDS[kind](axes, panel, colours, radius, store)
            axes.set_title(_text(title), loc="left")
        image = io.BytesIO()
        # Without a date the same results give the same bytes.
        metadata = {
            ".pdf": {"Creator": MAKER, "CreationDate": None},
            ".svg": {"Date": None},
            ".png": {"Software": MAKER},
        }[suffix]
        figure.savefig(image, format=suffix[1:], dpi=300, metadata=metadata)
    return image.getvalue()


def method_colours(methods: Sequence[str]) -> dict[str, str]:
    """A colour per method, the same in every figure as far as there are enough of them."""
    known = sorted(known_methods())
    taken: dict[str, str] = {}
    for method in sorted(set(methods), key=lambda name: (name not in known, name)):
        first = known.index(method) if method in known else zlib.crc32(method.encode())
        turns = [COLOURS[(first + i) % len(COLOURS)] for i in range(len(COLOURS))]
        taken[method] = next((colour for colour in turns if colour not in taken.values()), turns[0])
    return taken


def _text(text: str) -> str:
    """Text that matplotlib draws as it is: no mathematics, and no leading _, which would hide it from the legend."""
    text = printable(text).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def _label(one: Series, *, sigma: bool = True) -> str:
    line = one.line
    seeds = f", {line.seeds}" if len(line.rows) > 1 else ""
    done = "" if line.complete else f", {min(r.images for r in line.rows)} of {line.first.planned} images"
    return _text(f"{line.label}{f', σ = {one.sigma:g}' if sigma else ''}{seeds}{done}")


def _places(series: Sequence[Series]) -> list[int]:
    """A number for each one's line style or marker: that of its σ, moved on where method and σ agree.

    Settings of one method share its colour, so the rest has to tell them apart.
    """
    sigmas = sorted({one.sigma for one in series})
    seen: Counter[tuple[str, float]] = Counter()
    found = []
    for one in series:
        alike = (one.line.first.method, one.sigma)
        found.append(sigmas.index(one.sigma) + len(sigmas) * seen[alike])
        seen[alike] += 1
    return found


def _styles(series: Sequence[Series]) -> list[Any]:
    return [STYLES[place % len(STYLES)] for place in _places(series)]


def _markers(series: Sequence[Series]) -> list[str]:
    return [MARKERS[place % len(MARKERS)] for place in _places(series)]


def _radii(panel: Panel) -> Any:
    return np.linspace(0, 1.05 * max([one.largest for one in panel.series] + [1e-6]), _POINTS)


def _radius_axes(axes: Axes, panel: Panel) -> None:
    norm = {"l1": r"$\ell_1$", "l2": r"$\ell_2$", "linf": r"$\ell_\infty$"}.get(panel.group.first.norm, "")
    axes.set_xlabel(f"{norm} radius")
    axes.set_ylabel("certified accuracy")
    axes.set_xlim(left=0)
    axes.set_ylim(0, 1)
    _legend(axes)


def _legend(axes: Axes) -> None:
    entries = len(axes.get_legend_handles_labels()[0])
    if entries > 6:
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    elif entries:
        axes.legend()


def _curve(axes: Axes, panel: Panel, colours: dict[str, str], radius: float, store: Store) -> list[str]:
    """certified accuracy against radius, one line per method and σ, with its band"""
    radii = _radii(panel)
    for one, style in zip(panel.series, _styles(panel.series), strict=True):
        colour = colours[one.line.first.method]
        mean, low, high = one.accuracy(radii)
        axes.plot(radii, mean, color=colour, linestyle=style, label=_label(one))
        axes.fill_between(radii, low, high, color=colour, alpha=0.15, linewidth=0)
    for attacked in panel.attacked:
        reached = attacked.right[np.isfinite(attacked.right)]
        wide = np.linspace(0, max([radii[-1], *reached * 1.05]), _POINTS)
        shares = [attacked.withstands(float(r)) for r in wide]
        axes.plot(
            wide, shares, color=colours[attacked.train.method], linestyle=(0, (1, 2)), linewidth=0.9,
            label=_text(f"{attacked.label}, σ = {attacked.sigma:g}, not broken by {attacked.what}"),
        )  # fmt: skip
    _radius_axes(axes, panel)
    return [
        *_about_attacks(panel),
        "Bands: 95 % Clopper-Pearson over images for one run, mean ± one standard deviation for several seeds.",
    ]


def _about_attacks(panel: Panel) -> list[str]:
    if not panel.attacked:
        return []
    return [
        "Dotted: share of images without an adversarial image within the radius, as far as the attack found any; the truth lies "
        "between it and the certified line."
    ]


def _families(axes: Axes, panel: Panel, colours: dict[str, str], radius: float, store: Store) -> list[str]:
    """certified accuracy of every certificate and verifier in one panel per norm, on the images that all have"""
    certificates = list(dict.fromkeys(one.line.first.certificate for one in panel.series))
    radii, methods = _radii(panel), {one.line.first.method for one in panel.series}
    drawn: Counter[tuple[str, str]] = Counter()
    for one in panel.series:
        row = one.line.first
        mean, low, high = one.accuracy(radii)
        number = certificates.index(row.certificate)
        # One method needs no colour of its own: then it tells the certificates apart.
        colour = colours[row.method] if len(methods) > 1 else COLOURS[number % len(COLOURS)]
        # Several σ or settings of one method under one certificate: the next free style.
        alike = (row.method, row.certificate)
        style = STYLES[(number + len(certificates) * drawn[alike]) % len(STYLES)]
        drawn[alike] += 1
        guarantee = "deterministic" if isinstance(row, ProvedRow) else f"{row.guarantee.partition(' per')[0]}"
        axes.plot(radii, mean, color=colour, linestyle=style, label=_text(f"{row.label}, σ = {one.sigma:g}, {row.certificate} ({guarantee})"))  # fmt: skip
        axes.fill_between(radii, low, high, color=colour, alpha=0.1, linewidth=0)
    _radius_axes(axes, panel)
    return [
        "Lines of one figure speak of different classifiers: sampling of the smoothed one, verifiers of the network itself.",
        "Bands: 95 % Clopper-Pearson over images for one run, mean ± one standard deviation for several seeds.",
    ]


def _envelope(axes: Axes, panel: Panel, colours: dict[str, str], radius: float, store: Store) -> list[str]:
    """the best σ of each method at each radius"""
    radii = _radii(panel)
    methods: dict[tuple[str, str], list[Series]] = {}
    drawn: Counter[str] = Counter()
    for one in panel.series:
        if one.line.complete:
            methods.setdefault((one.line.label, one.line.first.model), []).append(one)
    for (label, model), several in methods.items():
        mean = np.max([one.accuracy(radii)[0] for one in several], axis=0)
        sigmas = ", ".join(f"{sigma:g}" for sigma in sorted({one.sigma for one in several}))
        models = {one.line.first.model for one in panel.series}
        name = f"{label}{f', {model}' if len(models) > 1 else ''}, σ of {sigmas}"
        method = several[0].line.first.method
        style = STYLES[drawn[method] % len(STYLES)]
        drawn[method] += 1
        axes.plot(radii, mean, color=colours[method], linestyle=style, label=_text(name))
    _radius_axes(axes, panel)
    left_out = sum(not one.line.complete for one in panel.series)
    return ["σ is chosen at each radius on these images; only finished runs compete."] + (
        [f"Left out: {counted(left_out, 'unfinished line')}."] if left_out else []
    )


def _ecdf(axes: Axes, panel: Panel, colours: dict[str, str], radius: float, store: Store) -> list[str]:
    """share of images whose label gets at most p of the draws"""
    p = np.linspace(0, 1, _POINTS)
    partly = False
    for one, style in zip(panel.series, _styles(panel.series), strict=True):
        shares = []
        for images in one.images:
            # Where a log doesn't tell, the label has at most half of the draws for all that is known: drawn from there on.
            known = np.where(np.isnan(images.p), 0.0, images.p)
            # Just above p, for the steps belong to the right: P(p_y ≤ p) = 1 − P(p_y > p).
            shares.append(1 - at_least(known, np.nextafter(p, 2)))
        unknown_p = any(np.isnan(images.p).any() for images in one.images)
        partly |= unknown_p
        shown = p >= 0.5 if unknown_p else np.ones(len(p), bool)
        axes.plot(
            p[shown], np.mean(shares, axis=0)[shown], color=colours[one.line.first.method], linestyle=style,
            label=_label(one), drawstyle="steps-post",
        )  # fmt: skip
    axes.set_xlabel("share p of draws that give the label")
    axes.set_ylabel("share of images with at most p")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    _legend(axes)
    return (
        ["Logs tell p only for images that are certified correctly, so their lines begin at 0.5."]
        if partly
        else []
    )


def _hours(axes: Axes, panel: Panel, colours: dict[str, str], radius: float, store: Store) -> list[str]:
    """certified accuracy at --radius against the hours of training and certification, one point per run"""
    missing, every = 0, []
    for one, marker in zip(panel.series, _markers(panel.series), strict=True):
        shown = False
        for row, images in zip(one.line.rows, one.images, strict=True):
            hours = hours_of(store, row)
            if not hours > 0:
                missing += 1
                continue
            every.append(hours)
            axes.plot(
                hours, at_least(images.score, np.array([radius]))[0], linestyle="", color=colours[row.method],
                marker=marker, markersize=5, label=None if shown else _label(one),
            )  # fmt: skip
            shown = True
    if every and max(every) >= 10 * min(every):
        axes.set_xscale("log")
    else:  # Within a decade the numbers of a logarithmic axis run into each other.
        axes.set_xlim(left=0)
    axes.set_xlabel("device-hours of training and certification")
    axes.set_ylabel(f"certified accuracy at {radius:g}")
    axes.set_ylim(0, 1)
    _legend(axes)
    return [f"Left out: {counted(missing, 'run')} without a recorded time."] if missing else []


def _classes(axes: Axes, panel: Panel, colours: dict[str, str], radius: float, store: Store) -> list[str]:
    """certified accuracy at --radius of every class"""
    every = np.unique(np.concatenate([images.label for one in panel.series for images in one.images]))
    for number, (one, marker) in enumerate(zip(panel.series, _markers(panel.series), strict=True)):
        shares = np.mean(
            [[_share(images.score[images.label == c] >= radius) for c in every] for images in one.images],
            axis=0,
        )
        offset = 0.5 * ((number + 0.5) / len(panel.series) - 0.5)
        axes.plot(
            np.arange(len(every)) + offset, shares, linestyle="", markersize=4, color=colours[one.line.first.method],
            marker=marker, label=_label(one),
        )  # fmt: skip
    step = math.ceil(len(every) / 25)
    axes.set_xticks(np.arange(len(every))[::step], [str(c) for c in every[::step]])
    axes.set_xlabel("class")
    axes.set_ylabel(f"certified accuracy at {radius:g}")
    axes.set_ylim(0, 1)
    _legend(axes)
    return []


def _share(hits: Any) -> float:
    return float(hits.mean()) if len(hits) else float("nan")


KINDS: dict[str, Callable[[Any, Panel, dict[str, str], float, Store], list[str]]] = {
    "curve": _curve,
    "envelope": _envelope,
    "ecdf": _ecdf,
    "hours": _hours,
    "classes": _classes,
    "families": _families,
}
