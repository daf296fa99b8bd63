"""The results mode: certified accuracy of a sweep's runs as curves and as a table by radius."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import ClassVar

from textual.app import ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical

from rsctl.report.tables.legend import MEANINGS
from rsctl.tui.filter_bar import NO_MATCH
from rsctl.tui.results.controls import OWN, Asking
from rsctl.tui.results.facts import facts
from rsctl.tui.results.reader import Computed, Known, Question, ResultsReader, Sampled
from rsctl.tui.results.rows import in_order, marked, result_columns, result_row, sorts
from rsctl.tui.results.samples import SamplesScreen
from rsctl.tui.sweeps.panes.curve import ATTACK_DASH, heading
from rsctl.tui.views import Overview, RunView
from rsctl.tui.widgets.chart import Chart, ChartLine
from rsctl.tui.widgets.grid import Grid
from rsctl.tui.widgets.styles import SERIES, TextBlock
from rsctl.tui.widgets.tabline import TabLine

ACTIONS = (
    ("Choose the sweep", "Show the results of another sweep (o)", "sweep"),
    ("Choose the certificate", "Recomputes from the stored counts (C)", "certificate"),
    ("Set alpha", "The failure probability; recomputes from the stored counts (a)", "alpha"),
    ("Choose a published baseline", "Drawn as a dashed line (b)", "baseline"),
    ("Show or hide intervals", "95 % Clopper-Pearson, in the table (i)", "intervals"),
    ("Filter runs", "Also for exports and figures (/)", "filter"),
    ("Export the table", "The runs shown, as Markdown, CSV, LaTeX, JSON or logs (w)", "export"),
    ("Save a figure", "Of the runs shown, as PDF, SVG or PNG (f)", "figure"),
    ("Sort runs", "By the next column, or click a title (s)", "sort"),
    ("Compare two runs", "McNemar test at each radius, bootstrap of the ACR (m)", "compare"),
    ("Copy", "A run's id, or the command that prints this table (y)", "copy"),
)


class ResultsScreen(Asking):
    """The second mode."""

    MODE = "results"
    GUIDE = (
        "Certified accuracy against radius, recomputed from the stored counts of the images finished so far: a prefix "
        "of a random order. Space shows or hides a run's curve; the one under the cursor has "
        "its 95 % band. Left and right scroll the columns; Enter lists a run's images."
    )
    HEADS: ClassVar[dict[str, str]] = {
        "Images": "number of images behind the numbers",
        "0 0.25 …": "% of images certified at this radius, in the norm of the run under the cursor",
        **{head: MEANINGS[head] for head in ("ACR", "Abstain", "At cap")},
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "sweep", "Open", tooltip="Results of another sweep"),
        Binding("C", "certificate", "Certificate"),
        Binding("a", "alpha", "α", tooltip="Another alpha, from the same counts"),
        Binding("b", "baseline", "Baseline", show=False),
        Binding("i", "intervals", "Intervals", show=False),
        Binding("s", "sort", "Sort", show=False, tooltip="Sort by the next column"),
        Binding("m", "compare", "Compare", show=False, tooltip="Compare the two drawn, or this and another"),
        Binding("f", "figure", "Figure", show=False, tooltip="Save a figure of the runs shown"),
        Binding("w", "export", "Save", tooltip="Save the table: Markdown, CSV, LaTeX, JSON or logs"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._drawn: list[str] | None = None
        """Keys of the runs whose curves the user chose, None before any choice."""
        self._complete = False
        self._sort = "Run"
        """Title of the sort column."""
        self._columns_of = ""
        """The norm of the radii in the table's columns."""
        self._reader = ResultsReader(self)

    def body(self) -> ComposeResult:
        yield TabLine([], "")
        with Container(id="results-body"):
            with Vertical(id="results-chart"):
                yield Chart(empty="Reading the counts …")
                yield TextBlock("", classes="facts", id="results-facts", markup=False)
            yield Grid(result_columns([], False), empty="", id="results-grid")
            yield from self.filter_line()

    def on_mount(self) -> None:
        self.background.submit("catalog", self._reader.known, self)

    # What arrives

    def show(self, overview: Overview) -> None:
        if self.sweep is None and overview.sweeps:
            wanted = self.dashboard.sweep_in_sight
            names = [sweep.name for sweep in overview.sweeps]
            self._ask_for(Question(wanted if wanted in names else names[0], "", 0.0))
        self._draw()

    def on_screen_resume(self) -> None:
        wanted = self.dashboard.sweep_in_sight
        if (
            wanted
            and self.dashboard.overview
            and any(s.name == wanted for s in self.dashboard.overview.sweeps)
        ):
            self.dashboard.sweep_in_sight = ""
            if wanted != self._question.sweep:
                self._ask_for(Question(wanted, "", 0.0))

    def sweep_name(self) -> str:
        return self._question.sweep

    def tick(self) -> None:
        self._show_note()
        if self.background.due("results", 1.0):
            self._ask()

    def _ask_for(self, question: Question) -> None:
        """Show the results of another request."""
        if question.sweep != self._question.sweep:
            self._drawn, self._baseline, self._refused = None, "", {}
        if question != self._question:
            self._curves, self._complete = {}, False
        self._question = self._reader.wanted = question
        self._ask()
        self._draw()

    def _ask(self) -> None:
        overview, sweep = self.dashboard.overview, self.sweep
        if overview and sweep:
            self.background.submit(
                "results", partial(self._reader.compute, overview.store, self._question, sweep.runs), self
            )

    def on_computed(self, message: Computed) -> None:
        if message.question == self._question:
            self._curves |= message.curves
            self._complete = self._complete or message.last
            if message.last:
                self._refused = message.refused
            self._draw()

    def on_known(self, message: Known) -> None:
        self._certificates, self._baselines = message.certificates, message.baselines

    def on_grid_moved(self, _message: Grid.Moved) -> None:
        if self._norm(self._run(self.grid.key)) != self._columns_of:
            self._draw()
        self._draw_chart()

    def on_grid_marked(self, message: Grid.Marked) -> None:
        """Show or hide a run's curve; a seventh curve replaces the first."""
        drawn = self._chosen()
        self._drawn = (
            [key for key in drawn if key != message.key]
            if message.key in drawn
            else [*drawn, message.key][-SERIES:]
        )
        self._draw()

    def on_grid_chosen(self, message: Grid.Chosen) -> None:
        overview, run, curve = self.dashboard.overview, self._run(message.key), self._curves.get(message.key)
        if overview and run and curve:
            job = partial(self._reader.sample, overview.store, run, curve.certificate, curve.alpha)
            self.background.submit("results", job, self)

    def on_sampled(self, message: Sampled) -> None:
        self.app.push_screen(SamplesScreen(message))

    def on_grid_headed(self, message: Grid.Headed) -> None:
        titles = sorts(self._radii())
        self._sort = titles[message.column] if titles[message.column] != self._sort else titles[0]
        self._draw()

    def action_sort(self) -> None:
        """Sort the runs by the next column."""
        titles = sorts(self._radii())
        self._sort = (
            titles[(titles.index(self._sort) + 1) % len(titles)] if self._sort in titles else titles[0]
        )
        self._draw()

    def copyable(self) -> list[tuple[str, str]]:
        run = self._run(self.grid.key)
        asked = [("--certificate", self._question.certificate), ("--alpha", f"{self._question.alpha or ''}")]
        command = " ".join(
            ["rsctl export", self._question.sweep, *(f"{name} {text}" for name, text in asked if text)]
        )
        return [
            ("run", run.counts if run else ""),
            ("command that prints this table", command if self.sweep else ""),
        ]

    def _chosen(self) -> list[str]:
        """Keys of the runs in the table whose curves are drawn."""
        shown = [run.key for run in self.runs]
        return shown[:SERIES] if self._drawn is None else [key for key in self._drawn if key in shown]

    def _marked(self) -> list[RunView]:
        return [run for run in self.runs if run.key in self._chosen()]

    def _run(self, key: str) -> RunView | None:
        return next((run for run in self.sweep.runs if run.key == key), None) if self.sweep else None

    def _radii(self) -> list[float]:
        """The radii of the table's columns: those of the runs in the norm of the run under the cursor."""
        runs = self.runs
        norm = self._norm(self._run(self.grid.key) or next(iter(runs), None))
        return sorted({float(r) for run in runs if self._norm(run) == norm for r in run.entry["radii"]})

    def _norm(self, run: RunView | None) -> str:
        """The norm of a run's radii."""
        if run is None:
            return ""
        curve = self._curves.get(run.key)
        own = run.settings.get("verification.norm") or run.settings.get("attack.norm")
        return str(own or (curve.norm if curve else "") or "l2")

    # Drawing

    def _draw(self) -> None:
        sweep = self.sweep
        if sweep is None:
            self._note = ""
            self._show_note()
            self.query_one(Chart).show([], empty="No sweeps yet. Press 3 to create one.")
            self.grid.empty = ""
            return
        runs = self.runs
        norm = self._norm(self._run(self.grid.key) or next(iter(runs), None))
        radii = self._radii()
        self._columns_of = norm
        colours = {key: place for place, key in enumerate(self._chosen())}
        rows = [
            result_row(run, self._curves.get(run.key), radii, colours.get(run.key), self._intervals)
            for run in in_order(runs, self._curves, self._sort)
        ]
        self.grid.empty = NO_MATCH if self.only else "This sweep has no runs."
        self.grid.show(rows, marked(result_columns(radii, self._intervals, rows), self._sort))
        alpha = f"{self._question.alpha:g}" if self._question.alpha else OWN
        self._note = (
            f"{sweep.name}{f', {len(runs)} of {len(sweep.runs)} runs' if self.only else ''} · certificate {self._question.certificate or OWN} · α {alpha}"
            + (f" · baseline {self._baseline}" if self._baseline else "")
        )
        self._show_note()
        self._draw_chart()

    def _draw_chart(self) -> None:
        drawn = [
            (place, self._curves[key]) for place, key in enumerate(self._chosen()) if key in self._curves
        ]
        here = self._curves.get(self.grid.key)
        if here is not None and here.images and all(curve is not here for _, curve in drawn):
            drawn.append((len(drawn), here))
        # One norm at a time, that of the run under the cursor: radii in another norm need another axis.
        norm = (
            here.norm
            if here is not None and here.images
            else next((c.norm for _, c in drawn if c.images), "l2")
        )
        mixed = any(curve.images and curve.norm != norm for _, curve in drawn)
        # The curve under the cursor lies on top, with its band.
        drawn.sort(key=lambda pair: pair[1] is not here)
        series = [
            ChartLine(curve.title, curve.radii, curve.accuracy, *((curve.low, curve.high) if curve is here else ((), ())), colour=place % SERIES, dash=ATTACK_DASH * curve.attacked)
            for place, curve in drawn
            if curve.images and curve.norm == norm
        ]  # fmt: skip
        title = heading([curve for _, curve in drawn if curve.images and curve.norm == norm])
        baseline = self._chosen_baseline()
        sigmas = {float(run.settings.get("sigma", 0)) for run in (self.sweep.runs if self.sweep else ())}
        for place, (method, sigma, radii, accuracy) in enumerate(baseline.rows if baseline else ()):
            if sigma in sigmas and norm == "l2":
                series.append(
                    ChartLine(f"{method} σ {sigma:g}", radii, accuracy, colour=place % SERIES, dash=2)
                )
        norms = {"l2": "ℓ₂", "linf": "ℓ∞", "l1": "ℓ₁"}
        self.query_one(Chart).show(
            series,
            title=f"{title}, {norms.get(norm, norm)} runs" if mixed else title,
            x_name=f"{norms.get(norm, norm)} radius",
            y_range=(0.0, 1.0),
            percent=True,
            empty=self._why_empty(),
        )
        self.query_one("#results-facts", TextBlock).show(facts(here, baseline))

    def _why_empty(self) -> str:
        if not self._complete:
            return "Reading the counts …"
        shown = [self._curves[key] for key in self._chosen() if key in self._curves]
        refused = [curve for curve in shown if curve.problems]
        return "Refused; the reason is below." if shown and refused == shown else "No images finished yet."

    def commands(self) -> Iterable[SystemCommand]:
        for title, text, action in ACTIONS:
            yield SystemCommand(title, text, partial(self.run_action, action))
