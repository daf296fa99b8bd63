"""Kinds of figures: each draws one panel."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rsctl.catalog.labels import Labels, labels_of
from rsctl.report.figures.line_styles import COLOURS, STYLES, below, label, look, looks, name_series, text
from rsctl.report.figures.series import Panel, PlottedLine, at_least, hours_of
from rsctl.report.typeset import NORMS
from rsctl.results.accuracy import share
from rsctl.results.attacks import attack_spec, attacked_classifier, describe_attack, distances, withstands
from rsctl.results.logs import agreement
from rsctl.results.measurement import Measurement
from rsctl.store.layout import Store
from rsctl.text import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_POINTS = 400
BANDS = (
    "Bands: 95 % Clopper-Pearson over images for one run, mean ± one standard deviation for several seeds."
)
"""The note on the bands of accuracy curves."""
_DOTTED = (
    "Dotted: share of images for which the attack found no adversarial image within the radius; robust accuracy lies "
    "between it and the certified line."
)
_DIFFERENT = "Lines are about different classifiers: sampling about the smoothed one, verifiers about the network itself."


def _radii(panel: Panel) -> Any:
    return np.linspace(0, 1.05 * max([one.largest for one in panel.series] + [1e-6]), _POINTS)


def _radius_axes(axes: Axes, panel: Panel) -> None:
    label_ = f"{NORMS.get(panel.group.first.norm, '')} radius"
    axes.set(xlabel=label_, ylabel="certified accuracy", xlim=(0, None), ylim=(0, 1))


def _fall(radii: Any, mean: Any) -> Any:
    """Limit a curve to its positive part: beyond it every line would lie on the axis."""
    zero = np.flatnonzero(mean <= 0)
    return slice(0, zero[0] + 1 if len(zero) else len(radii))


def _curve(axes: Axes, panel: Panel, colours: dict[str, str], radius: float, store: Store) -> list[str]:
    """certified accuracy against radius, one line per method and σ, with its band"""
    radii, drawn = _radii(panel), looks(panel, colours)
    for one, its in zip(panel.series, drawn, strict=True):
        mean, low, high = one.accuracy(radii)
        shown = _fall(radii, mean)
        axes.plot(radii[shown], mean[shown], **its.line, label=label(one, panel))
        axes.fill_between(radii, low, high, color=its.colour, alpha=0.15, linewidth=0)
    of_model = {(row.training.hash, one.sigma): its for one, its in zip(panel.series, drawn, strict=True) for row in one.line.rows if row.own}  # fmt: skip
    for attacked in panel.attacked:
        reached = distances(attacked)[np.isfinite(distances(attacked))]
        wide = np.linspace(0, max([radii[-1], *reached * 1.05]), _POINTS)
        shares = [withstands(attacked, float(r)) for r in wide]
        # With the marker of the certified line that it bounds, hollow or half for its σ.
        its = of_model.get((attacked.training.hash, attacked.sigma)) or look(colours[attacked.method], 0, 0)
        spec = attack_spec(attacked.spec)
        of = attacked_classifier(spec) if spec.before else f"σ = {attacked.sigma:g}"
        told = f"{attacked.label}, {of}, under attack by {describe_attack(spec)}"
        axes.plot(
            wide, shares, color=its.colour, linestyle=(0, (1, 2)), linewidth=0.9, fillstyle=its.fill, **its.sparse, label=text(told)
        )  # fmt: skip
    _radius_axes(axes, panel)
    name_series(axes, panel, drawn)
    return [*about_attacks(panel), BANDS]


def about_attacks(panel: Panel) -> list[str]:
    """The note on the dotted lines of a panel; none without attacks."""
    return [_DOTTED] if panel.attacked else []


def _families(axes: Axes, panel: Panel, colours: dict[str, str], radius: float, store: Store) -> list[str]:
    """certified accuracy of every certificate and verifier in one panel per norm, on the images common to all"""
    certificates = list(dict.fromkeys(one.line.first.certificate for one in panel.series))
    radii, methods = _radii(panel), {one.line.first.method for one in panel.series}
    drawn: Counter[tuple[str, str]] = Counter()
    for place, one in enumerate(panel.series):
        row = one.line.first
        mean, low, high = one.accuracy(radii)
        number = certificates.index(row.certificate)
        # With a single method, colours distinguish certificates instead.
        colour = colours[row.method] if len(methods) > 1 else COLOURS[number % len(COLOURS)]
        # Several σ or settings of one method under one certificate: the next free style.
        alike = (row.method, row.certificate)
        style = STYLES[(number + len(certificates) * drawn[alike]) % len(STYLES)]
        drawn[alike] += 1
        guarantee = "deterministic" if row.kind == "verifications" else row.guarantee.partition(" per")[0]
        shown, sparse = _fall(radii, mean), look(colour, place, 0).sparse
        sigma = "" if row.levels else f", σ = {one.sigma:g}"
        axes.plot(radii[shown], mean[shown], color=colour, linestyle=style, **sparse, label=text(f"{row.label}{sigma}, {row.certificate} ({guarantee})"))  # fmt: skip
        axes.fill_between(radii, low, high, color=colour, alpha=0.1, linewidth=0)
    _radius_axes(axes, panel)
    below(axes)
    several = len({one.line.first.kind == "verifications" for one in panel.series}) > 1
    return [_DIFFERENT, BANDS] if several else [BANDS]


def _envelope(axes: Axes, panel: Panel, colours: dict[str, str], radius: float, store: Store) -> list[str]:
    """the best σ of each method at each radius"""
    radii = _radii(panel)
    methods: dict[tuple[str, str], list[PlottedLine]] = {}
    for one in panel.series:
        if one.line.complete:
            methods.setdefault((one.line.label, one.line.first.model), []).append(one)
    for place, ((setting, model), several) in enumerate(methods.items()):
        mean = np.max([one.accuracy(radii)[0] for one in several], axis=0)
        sigmas = ", ".join(
            dict.fromkeys(one.line.first.sigmas for one in sorted(several, key=lambda one: one.sigma))
        )
        models = {one.line.first.model for one in panel.series}
        name = f"{setting}{f', {model}' if len(models) > 1 else ''}, σ of {sigmas}"
        shown, its = _fall(radii, mean), look(colours[several[0].line.first.method], place, place)
        axes.plot(radii[shown], mean[shown], **its.line, label=text(name))
    _radius_axes(axes, panel)
    below(axes)
    left_out = sum(not one.line.complete for one in panel.series)
    return ["σ is chosen at each radius on these images; only finished runs compete."] + (
        [f"Left out: {counted(left_out, 'unfinished line')}."] if left_out else []
    )


def _cascades(axes: Axes, panel: Panel, colours: dict[str, str], radius: float, store: Store) -> list[str]:
    """certified accuracy of each cascade, of its levels, and of the best level at each radius, which is no classifier"""
    radii = _radii(panel)
    cascade, *levels = panel.series
    named = cascade.line.first.level_names or [""] * len(levels)
    for place, one in enumerate(panel.series):
        mean, low, high = one.accuracy(radii)
        shown, its = _fall(radii, mean), look(COLOURS[place % len(COLOURS)], place, place)
        name = " ".join(filter(None, [named[place - 1], f"σ = {one.sigma:g}"])) if place else "cascade"
        axes.plot(radii[shown], mean[shown], **its.line, label=text(name))
        axes.fill_between(radii, low, high, color=its.colour, alpha=0.15, linewidth=0)
    best = np.max([one.accuracy(radii)[0] for one in levels], axis=0)
    shown = _fall(radii, best)
    style: dict[str, Any] = {"color": "0.35", "linestyle": (0, (1, 2)), "linewidth": 0.9}
    axes.plot(radii[shown], best[shown], **style, label="envelope (no classifier)")
    _radius_axes(axes, panel)
    below(axes)
    return [
        "Envelope: the best level at each radius, chosen on these images; no single classifier has these accuracies.",
        "Bands: 95 % Clopper-Pearson over images for one run, mean ± one standard deviation for several seeds.",
    ]


def _ecdf(axes: Axes, panel: Panel, colours: dict[str, str], radius: float, store: Store) -> list[str]:
    """share of images whose label gets at most p of the draws"""
    p = np.linspace(0, 1, _POINTS)
    partly, drawn = False, looks(panel, colours)
    for one, its in zip(panel.series, drawn, strict=True):
        shares = []
        found = [agreement(row) for row in one.images]
        for agreeing in found:
            # Unknown values (NaN) are at most 1/2: the line starts there.
            known = np.where(np.isnan(agreeing), 0.0, agreeing)
            # Just above p, for the steps belong to the right: P(p_y ≤ p) = 1 − P(p_y > p).
            shares.append(1 - at_least(known, np.nextafter(p, 2)))
        unknown_p = any(np.isnan(agreeing).any() for agreeing in found)
        partly |= unknown_p
        shown = p >= 0.5 if unknown_p else np.ones(len(p), bool)
        mean = np.mean(shares, axis=0)
        axes.plot(p[shown], mean[shown], **its.line, label=label(one, panel), drawstyle="steps-post")
    axes.set(xlabel="share p of draws that give the label", xlim=(0, 1))
    axes.set(ylabel="share of images with at most p", ylim=(0, 1))
    name_series(axes, panel, drawn)
    note = "Logs have p only for images that are certified correctly, so their lines begin at 0.5."
    return [note] if partly else []


def _hours(axes: Axes, panel: Panel, colours: dict[str, str], radius: float, store: Store) -> list[str]:
    """certified accuracy at one radius against the hours of training and certification, one point per run"""
    missing, drawn = 0, looks(panel, colours)
    every = [hours for one in panel.series for row in one.line.rows if (hours := hours_of(store, row)) > 0]
    # For small networks the hours are hundredths.
    unit, times = ("hours", 1) if max(every, default=1.0) >= 0.5 else ("minutes", 60)
    for one, its in zip(panel.series, drawn, strict=True):
        shown = False
        for row, images in zip(one.line.rows, one.images, strict=True):
            hours = hours_of(store, row)
            if not hours > 0:
                missing += 1
                continue
            share = at_least(images.score, np.array([radius]))[0]
            axes.plot(
                times * hours, share, **its.point, markersize=5, label=None if shown else label(one, panel)
            )
            shown = True
    if every and max(every) >= 10 * min(every):
        axes.set_xscale("log")
    else:  # Within a decade the numbers of a logarithmic axis run into each other.
        axes.set_xlim(0, 1.05 * times * max(every, default=1.0))
    axes.set(xlabel=f"device-{unit} of training and certification", ylim=(0, 1))
    axes.set_ylabel(f"certified accuracy at {radius:g}")
    name_series(axes, panel, drawn, points=True)
    return [f"Left out: {counted(missing, 'run')} without a recorded time."] if missing else []


def _classes(axes: Axes, panel: Panel, colours: dict[str, str], radius: float, store: Store) -> list[str]:
    """certified accuracy at one radius of every class"""
    every = np.unique(np.concatenate([images.labels for one in panel.series for images in one.images]))
    drawn = looks(panel, colours)
    for number, (one, its) in enumerate(zip(panel.series, drawn, strict=True)):
        shares = np.mean(
            [[share(images.score[images.labels == c] >= radius) for c in every] for images in one.images],
            axis=0,
        )
        offset = 0.5 * ((number + 0.5) / len(panel.series) - 0.5)
        axes.plot(np.arange(len(every)) + offset, shares, **its.point, label=label(one, panel))
    step = math.ceil(len(every) / 25)
    labels = _labels(panel.group.first, store)
    shown = [text(labels.name(int(c))) for c in every[::step]]
    # Horizontal names would overlap.
    turned: dict[str, Any] = {"rotation": 60, "ha": "right"} if labels.names else {}
    axes.set_xticks(np.arange(len(every))[::step], shown, rotation_mode="anchor", **turned)
    axes.set(xlabel="class", ylabel=f"certified accuracy at {radius:g}", ylim=(0, 1))
    name_series(axes, panel, drawn, points=True)
    return []


def _labels(row: Measurement, store: Store) -> Labels:
    """The class names of a row's data set, where they are known."""
    if not row.own:
        return labels_of(row.dataset, {}, row.split, Path())
    launch = store.find_run((row.levels or [row])[0].run).launch()
    return labels_of(row.dataset, launch["dataset_parameters"], row.split, Path(launch["data"]))


KINDS: dict[str, Callable[[Any, Panel, dict[str, str], float, Store], list[str]]] = {
    "curve": _curve,
    "envelope": _envelope,
    "ecdf": _ecdf,
    "hours": _hours,
    "classes": _classes,
    "families": _families,
    "cascades": _cascades,
}
