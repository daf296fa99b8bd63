"""Line styles of figures, distinguishable on paper without colour, and the legend below the axes."""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rsctl.catalog import known_methods
from rsctl.plain import printable
from rsctl.report.figures.series import Panel, PlottedLine

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
"""Okabe and Ito's palette (2008), safe for common colour vision deficiencies; its yellow, too light for lines, is replaced."""
STYLES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)), (0, (8, 2)), (0, (2, 2)))
MARKERS = "osD^vP*X<>pdh8"
FILLS: tuple[Any, ...] = ("full", "none", "left", "right", "top", "bottom")
SETTINGS: Any = {
    "font.size": 8, "axes.labelsize": 8, "axes.titlesize": 8, "legend.fontsize": 7, "xtick.labelsize": 7, "ytick.labelsize": 7,
    "axes.linewidth": 0.6, "lines.linewidth": 1.2, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
    "pdf.fonttype": 42, "svg.hashsalt": "rsctl", "axes.grid": True, "grid.linewidth": 0.4, "grid.alpha": 0.4,
    "lines.markersize": 3.5, "lines.markeredgewidth": 0.7,
}  # fmt: skip
_LETTER, _HANDLE = 3.7, 36.0
"""Approximate points per character of a legend, and around its text."""


@dataclass(frozen=True)
class Look:
    """One series: its colour is that of the method, its marker that of the method with its settings, the rest that of σ."""

    colour: str
    marker: str
    style: Any
    fill: Any

    @property
    def line(self) -> dict[str, Any]:
        """Style of a line with sparse markers."""
        return {"color": self.colour, "linestyle": self.style, **self.sparse}

    @property
    def sparse(self) -> dict[str, Any]:
        # Lines of several methods have their markers at different places.
        return {"marker": self.marker, "markevery": ((5 + 11 * MARKERS.index(self.marker)) % 60, 60)}

    @property
    def point(self) -> dict[str, Any]:
        """Style of points without a line."""
        return {"color": self.colour, "linestyle": "", "marker": self.marker, "fillstyle": self.fill, "clip_on": False}  # fmt: skip


def looks(panel: Panel, colours: dict[str, str]) -> list[Look]:
    """One style per series of a panel, distinct even without colour as long as there are enough markers and line styles."""
    names, sigmas = _names(panel.series), _sigmas(panel)
    order = list(dict.fromkeys(names))
    # With a single method, colours distinguish settings instead.
    alone = len({one.line.first.method for one in panel.series}) == 1 < len(order)
    found = []
    for one, name in zip(panel.series, names, strict=True):
        place = order.index(name)
        colour = COLOURS[place % len(COLOURS)] if alone else colours[one.line.first.method]
        found.append(look(colour, place, sigmas.index(one.sigma)))
    return found


def look(colour: str, name: int, level: int) -> Look:
    """The style for a method's and a σ's position among those of the panel."""
    return Look(colour, MARKERS[name % len(MARKERS)], STYLES[level % len(STYLES)], FILLS[level % len(FILLS)])


def _names(series: Sequence[PlottedLine]) -> list[tuple[str, str, int]]:
    """Method with settings, model, and a number where these and σ agree."""
    seen: Counter[tuple[str, str, float]] = Counter()
    found = []
    for one in series:
        alike = (one.line.label, one.line.first.model, one.sigma)
        found.append((*alike[:2], seen[alike]))
        seen[alike] += 1
    return found


def _sigmas(panel: Panel) -> list[float]:
    return sorted({one.sigma for one in panel.series} | {one.sigma for one in panel.attacked})


def method_colours(methods: Sequence[str]) -> dict[str, str]:
    """A colour per method, the same in every figure as far as there are enough of them."""
    known = sorted(known_methods())
    taken: dict[str, str] = {}
    for method in sorted(set(methods), key=lambda name: (name not in known, name)):
        first = known.index(method) if method in known else zlib.crc32(method.encode())
        turns = [COLOURS[(first + i) % len(COLOURS)] for i in range(len(COLOURS))]
        taken[method] = next((colour for colour in turns if colour not in taken.values()), turns[0])
    return taken


def text(raw: str) -> str:
    """Text that matplotlib draws as it is: no mathematics, and no leading _, which would hide it from the legend."""
    shown = printable(raw).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def in_common(panel: Panel) -> str:
    """Values common to all lines of a panel, for its title, with a leading comma: σ and the number of seeds."""
    sigmas, seeds = _sigmas(panel), {len(one.line.rows) for one in panel.series}
    cascades = any(one.line.first.levels for one in panel.series)
    shared = [f"σ = {sigmas[0]:g}"] if len(sigmas) == 1 and not cascades else []
    shared += [f"{min(seeds)} seeds"] if len(seeds) == 1 and min(seeds) > 1 else []
    return "".join(f", {one}" for one in shared)


def label(one: PlottedLine, panel: Panel) -> str:
    """Label that distinguishes a series from the others of its panel, as matplotlib draws it."""
    return text(raw_label(one, panel))


def raw_label(one: PlottedLine, panel: Panel) -> str:
    """The same without escapes."""
    return "".join([_name(one, panel), _level(one, panel), _progress(one)])


def _level(one: PlottedLine, panel: Panel) -> str:
    """σ where it distinguishes lines; a cascade's name has its levels."""
    return f", σ = {one.sigma:g}" if len(_sigmas(panel)) > 1 and not one.line.first.levels else ""


def _name(one: PlottedLine, panel: Panel) -> str:
    models = {other.line.first.model for other in panel.series}
    model = f", {one.line.first.model}" if len(models) > 1 else ""
    several = len({len(other.line.rows) for other in panel.series}) > 1
    seeds = f", {one.line.seeds}" if several and len(one.line.rows) > 1 else ""
    if one.line.missing:
        seeds = f", {'seed ' if len(one.line.rows) == 1 else ''}{one.line.seeds}"
    return f"{one.line.label}{model}{seeds}"


def _progress(one: PlottedLine) -> str:
    rows = one.line.rows
    late = f", {min(row.images for row in rows)} of {rows[0].planned} images"
    return "" if all(row.complete for row in rows) else late


def name_series(axes: Axes, panel: Panel, drawn: Sequence[Look], *, points: bool = False) -> None:
    """The legend of a panel: one entry per label, or where that is shorter methods and levels of σ by themselves."""
    names, sigmas = _names(panel.series), sorted({one.sigma for one in panel.series})
    handles, labels = axes.get_legend_handles_labels()
    entries = list(zip(handles, labels, strict=True))
    if len(names) > len(set(names)) + len(sigmas):
        own = {label(one, panel) for one in panel.series}
        others = [(handle, said) for handle, said in entries if said not in own]
        entries = [*_methods(panel, names, drawn, set(labels), points), *_levels(sigmas, points), *others]
    below(axes, entries)


def _methods(
    panel: Panel, names: Sequence[tuple[str, str, int]], drawn: Sequence[Look], labels: set[str], points: bool
) -> list[tuple[Any, str]]:
    from matplotlib.lines import Line2D

    found = []
    for name in dict.fromkeys(names):
        places = [i for i, other in enumerate(names) if other == name]
        if not any(label(panel.series[i], panel) in labels for i in places):
            continue  # nothing of it was drawn: a log has no hours
        several = [panel.series[i] for i in places]
        late = [f"{_progress(one)} at σ = {one.line.first.sigmas}" for one in several if _progress(one)]
        first = drawn[places[0]]
        handle = Line2D([], [], color=first.colour, marker=first.marker, linestyle="" if points else "-")
        found.append((handle, text(_name(several[0], panel) + "".join(late))))
    return found


def _levels(sigmas: Sequence[float], points: bool) -> list[tuple[Any, str]]:
    from matplotlib.lines import Line2D

    found = []
    for level, sigma in enumerate(sigmas):
        shown = look("0.35", 0, level)
        line = {"color": shown.colour, "linestyle": shown.style}
        shape = {**shown.point, "clip_on": True} if points else line
        found.append((Line2D([], [], **shape), f"σ = {sigma:g}"))
    return found


def below(axes: Axes, entries: Sequence[tuple[Any, str]] | None = None) -> None:
    """A legend under the axes, in as many columns as the figure is wide enough for; the figure grows by its lines.

    Beside the axes it would take most of a paper's column, and inside it would hide what is drawn.
    """
    from matplotlib.transforms import ScaledTranslation

    if entries is None:
        handles, labels = axes.get_legend_handles_labels()
        entries = list(zip(handles, labels, strict=True))
    figure: Any = axes.figure
    if not entries:
        return
    widest = max(len(said) for _, said in entries)
    columns = max(1, min(len(entries), int(figure.get_figwidth() * 72 / (_LETTER * widest + _HANDLE))))
    # Below the numbers of the axis and its label.
    place = axes.transAxes + ScaledTranslation(0, -30 / 72, figure.dpi_scale_trans)
    axes.legend(
        *zip(*entries, strict=True), loc="upper center", bbox_to_anchor=(0.45, 0.0), bbox_transform=place,
        ncols=columns, borderaxespad=0.0, columnspacing=1.2, labelspacing=0.3, handlelength=3.0,
    )  # fmt: skip
    figure.set_figheight(figure.get_figheight() + 0.15 * math.ceil(len(entries) / columns))
