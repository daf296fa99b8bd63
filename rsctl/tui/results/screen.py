"""The results mode: certified accuracy of a sweep's runs as curves and as a table by radius."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container

from rsctl.tui.filter_bar import NO_MATCH, FilterBar
from rsctl.tui.mode import ModeScreen
from rsctl.tui.results.chart import ResultsChart
from rsctl.tui.results.controls import OWN, ResultControls
from rsctl.tui.results.reader import Baseline, Computed, Known, Question, ResultsReader, Sampled
from rsctl.tui.results.rows import in_order, result_columns, result_row, sorts
from rsctl.tui.results.samples import SamplesScreen
from rsctl.tui.views import Curve, Overview, RunView, SweepView
from rsctl.tui.widgets.cells import marked
from rsctl.tui.widgets.chart import Chart
from rsctl.tui.widgets.grid import Grid
from rsctl.tui.widgets.styles import SERIES
from rsctl.tui.widgets.tabline import TabLine


class ResultsScreen(ModeScreen):
    """The second mode."""

    MODE = "results"
    BINDINGS: ClassVar[list[BindingType]] = [
        *FilterBar.KEYS,
        Binding("o", "part('controls', 'sweep')", "Open", tooltip="Results of another sweep"),
        Binding("C", "part('controls', 'certificate')", "Certificate"),
        Binding("a", "part('controls', 'alpha')", "α", tooltip="Another alpha, from the same counts"),
        Binding("b", "part('controls', 'baseline')", "Baseline", show=False),
        Binding("i", "intervals", "Intervals", show=False),
        Binding("s", "sort", "Sort", show=False, tooltip="Sort by the next column"),
        Binding("m", "part('controls', 'compare')", "Compare", show=False, tooltip="Compare the two drawn, or this and another"),
        Binding("f", "part('controls', 'figure')", "Figure", show=False, tooltip="Save a figure of the runs shown"),
        Binding("w", "part('controls', 'export')", "Save", tooltip="Save the table: Markdown, CSV, LaTeX, JSON or logs"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.question = Question("", "", 0.0)
        self.curves: dict[str, Curve] = {}
        self.certificates: dict[str, str] = {}
        """Every certificate, with its text."""
        self.refused: dict[str, str] = {}
        """Certificates that refuse this sweep's counts, with reasons."""
        self.baseline = ""
        self._baselines: dict[str, list[Baseline]] = {}
        self._intervals = False
        self._note = ""
        """Text of the tab line: sweep, certificate and alpha of the table."""
        self._drawn: list[str] | None = None
        """Keys of the runs whose curves the user chose, None before any choice."""
        self._complete = False
        self._sort = "Run"
        """Title of the sort column."""
        self._columns_of = ""
        """The norm of the radii in the table's columns."""
        self._reader = ResultsReader(self, self._take)
        self.controls = ResultControls(self)
        self.grid = Grid(result_columns([], False), empty="", id="results-grid")
        self.filter_bar = FilterBar(self.grid)

    def body(self) -> ComposeResult:
        yield TabLine([], "")
        with Container(id="results-body"):
            yield ResultsChart(id="results-chart")
            yield self.grid
            yield self.filter_bar

    def on_mount(self) -> None:
        self.background.submit("catalog", self._reader.known, self, self._take_catalog)

    def _take_catalog(self, found: Known) -> None:
        self.certificates, self._baselines = found.certificates, found.baselines

    @property
    def sweep(self) -> SweepView | None:
        overview = self.dashboard.overview
        return overview.sweep(self.question.sweep) if overview else None

    @property
    def runs(self) -> list[RunView]:
        """The sweep's runs that the filter shows."""
        only = self.filter_bar.only
        return [run for run in (self.sweep.runs if self.sweep else ()) if not only or only.matches(run)]

    @property
    def known_baselines(self) -> list[Baseline]:
        """The published tables of the sweep's data set."""
        names = {str(run.settings.get("dataset", "")) for run in (self.sweep.runs if self.sweep else ())}
        return [one for name in sorted(names) for one in self._baselines.get(name, [])]

    # What arrives

    def show(self, overview: Overview) -> None:
        if self.sweep is None and overview.sweeps:
            shown = overview.sweep(self.dashboard.selected_sweep) or overview.sweeps[0]
            self.request(Question(shown.name, "", 0.0))
        self.draw()

    def on_screen_resume(self) -> None:
        wanted, overview = self.dashboard.selected_sweep, self.dashboard.overview
        if wanted and overview and overview.sweep(wanted):
            self.dashboard.selected_sweep = ""
            if wanted != self.question.sweep:
                self.request(Question(wanted, "", 0.0))

    def _show_note(self) -> None:
        """Show in the tab line what the table shows, or that a comparison is running."""
        busy = self.background.busy("compare")
        self.query_one(TabLine).note = f"comparing … {busy:.0f} s" if busy else self._note

    def sweep_name(self) -> str:
        return self.question.sweep

    def tick(self) -> None:
        self._show_note()
        if self.background.due("results", 1.0):
            self._compute()

    def request(self, question: Question) -> None:
        """Show the results of another request."""
        if question.sweep != self.question.sweep:
            self._drawn, self.baseline, self.refused = None, "", {}
        if question != self.question:
            self.curves, self._complete = {}, False
        self.question = self._reader.wanted = question
        self._compute()
        self.draw()

    def _compute(self) -> None:
        overview, sweep = self.dashboard.overview, self.sweep
        if overview and sweep:
            job = partial(self._reader.compute, overview.store, self.question, sweep.runs)
            self.background.submit("results", job, self, self._take)

    def _take(self, found: Computed) -> None:
        if found.question == self.question:
            self.curves |= found.curves
            if found.refused is not None:
                self._complete, self.refused = True, found.refused
            self.draw()

    def on_grid_moved(self, _message: Grid.Moved) -> None:
        if self._norm(self.run(self.grid.key)) != self._columns_of:
            self.draw()
        self._draw_chart()

    def on_grid_marked(self, message: Grid.Marked) -> None:
        """Show or hide a run's curve; a seventh curve replaces the first."""
        drawn = self._chosen()
        others = [key for key in drawn if key != message.key]
        self._drawn = others if message.key in drawn else [*drawn, message.key][-SERIES:]
        self.draw()

    def on_grid_chosen(self, message: Grid.Chosen) -> None:
        overview, run, curve = self.dashboard.overview, self.run(message.key), self.curves.get(message.key)
        if overview and run and curve:
            job = partial(self._reader.sample, overview.store, run, curve.certificate, curve.alpha)
            self.background.submit("results", job, self, self._list_images)

    def _list_images(self, found: Sampled) -> None:
        self.app.push_screen(SamplesScreen(found))

    def on_grid_headed(self, message: Grid.Headed) -> None:
        titles = sorts(self._radii())
        self._sort = titles[message.column] if titles[message.column] != self._sort else titles[0]
        self.draw()

    def action_intervals(self) -> None:
        self._intervals = not self._intervals
        self.draw()

    def action_sort(self) -> None:
        titles = sorts(self._radii())
        place = titles.index(self._sort) if self._sort in titles else -1
        self._sort = titles[(place + 1) % len(titles)]
        self.draw()

    def copyable(self) -> list[tuple[str, str]]:
        run = self.run(self.grid.key)
        asked = [("--certificate", self.question.certificate), ("--alpha", f"{self.question.alpha or ''}")]
        options = "".join(f" {name} {text}" for name, text in asked if text)
        command = f"rsctl export {self.question.sweep}{options}" if self.sweep else ""
        return [("run", run.counts if run else ""), ("command that prints this table", command)]

    def _chosen(self) -> list[str]:
        """Keys of the runs in the table whose curves are drawn."""
        shown = [run.key for run in self.runs]
        return shown[:SERIES] if self._drawn is None else [key for key in self._drawn if key in shown]

    @property
    def marked(self) -> list[RunView]:
        return [run for run in self.runs if run.key in self._chosen()]

    def run(self, key: str) -> RunView | None:
        return self.sweep.run(key) if self.sweep else None

    def _radii(self) -> list[float]:
        """The radii of the table's columns: those of the runs in the norm of the run under the cursor."""
        norm = self._norm_here()
        return sorted({float(r) for run in self.runs if self._norm(run) == norm for r in run.entry["radii"]})

    def _norm_here(self) -> str:
        return self._norm(self.run(self.grid.key) or next(iter(self.runs), None))

    def _norm(self, run: RunView | None) -> str:
        if run is None:
            return ""
        curve = self.curves.get(run.key)
        own = run.settings.get("verification.norm") or run.settings.get("attack.norm")
        return str(own or (curve.norm if curve else "") or "l2")

    # Drawing

    def draw(self) -> None:
        """Draw the table and the chart again."""
        sweep = self.sweep
        if sweep is None:
            self._note = ""
            self._show_note()
            self.query_one(Chart).show([], empty="No sweeps yet. Press 3 to create one.")
            self.grid.empty = ""
            return
        runs, radii = self.runs, self._radii()
        self._columns_of = self._norm_here()
        colours = {key: place for place, key in enumerate(self._chosen())}
        rows = [
            result_row(run, self.curves.get(run.key), radii, colours.get(run.key), self._intervals)
            for run in in_order(runs, self.curves, self._sort)
        ]
        self.grid.empty = NO_MATCH if self.filter_bar.only else "This sweep has no runs."
        self.grid.show(rows, marked(result_columns(radii, self._intervals, rows), self._sort))
        alpha = f"{self.question.alpha:g}" if self.question.alpha else OWN
        some = f", {len(runs)} of {len(sweep.runs)} runs" if self.filter_bar.only else ""
        self._note = f"{sweep.name}{some} · certificate {self.question.certificate or OWN} · α {alpha}"
        self._note += f" · baseline {self.baseline}" if self.baseline else ""
        self._show_note()
        self._draw_chart()

    def _draw_chart(self) -> None:
        drawn = [(place, self.curves[key]) for place, key in enumerate(self._chosen()) if key in self.curves]
        baseline = next((one for one in self.known_baselines if one.name == self.baseline), None)
        sigmas = {float(run.settings.get("sigma", 0)) for run in (self.sweep.runs if self.sweep else ())}
        shown = (self.curves.get(self.grid.key), baseline, sigmas, self._why_empty())
        self.query_one(ResultsChart).show(drawn, *shown)

    def _why_empty(self) -> str:
        if not self._complete:
            return "Reading the counts …"
        shown = [self.curves[key] for key in self._chosen() if key in self.curves]
        refused = [curve for curve in shown if curve.problems]
        return "Refused; the reason is below." if shown and refused == shown else "No images finished yet."
