"""The controls of the results mode: choice of sweep, certificate, alpha and baseline; export and comparison."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

from rsctl.completion import files
from rsctl.errors import InputError
from rsctl.plain import plain
from rsctl.tui import results_reader
from rsctl.tui.background import Answer
from rsctl.tui.results_reader import SUFFIXES, Baseline, Exported, Question
from rsctl.tui.screens.ask import AskScreen, ChooseScreen
from rsctl.tui.screens.filtering import Filtering
from rsctl.tui.screens.reading import ReadScreen
from rsctl.tui.views import Curve, RunView, SweepView
from rsctl.tui.widgets.grid import Grid
from rsctl.tui.widgets.tabline import TabLine

OWN = "as in the sweep"
NONE = "none"


class Asking(Filtering):
    """The part of the results mode that opens dialogs."""

    ROWS: ClassVar[dict[str, str]] = {
        "choose": "List the run's images", "mark": "Show or hide the run's curve",
        "fold(True)": "Next columns", "fold(False)": "Previous columns",
    }  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self._question = Question("", "", 0.0)
        self._curves: dict[str, Curve] = {}
        self._intervals = False
        self._certificates: dict[str, str] = {}
        self._refused: dict[str, str] = {}
        """Certificates that refuse this sweep's counts, with reasons."""
        self._baselines: dict[str, list[Baseline]] = {}
        self._baseline = ""
        self._note = ""
        """Text of the tab line: sweep, certificate and alpha of the table."""

    @property
    def grid(self) -> Grid:
        return self.query_one("#results-grid", Grid)

    @property
    def sweep(self) -> SweepView | None:
        overview = self.dashboard.overview
        sweeps = overview.sweeps if overview else ()
        return next((sweep for sweep in sweeps if sweep.name == self._question.sweep), None)

    @property
    def runs(self) -> list[RunView]:
        """The sweep's runs that the filter shows."""
        return [
            run for run in (self.sweep.runs if self.sweep else ()) if not self.only or self.only.matches(run)
        ]

    def rows(self) -> Grid:
        return self.grid

    def _ask_for(self, question: Question) -> None:
        """Show the results of another request."""
        raise NotImplementedError

    def _run(self, key: str) -> RunView | None:
        """The run of a row."""
        raise NotImplementedError

    def _marked(self) -> list[RunView]:
        """The runs whose curves are drawn."""
        raise NotImplementedError

    def _draw(self) -> None:
        """Redraw the table and the chart."""
        raise NotImplementedError

    def _show_note(self) -> None:
        """Show in the tab line what the table shows, or that a comparison is running."""
        busy = self.background.busy("compare")
        self.query_one(TabLine).note(f"comparing … {busy:.0f} s" if busy else self._note)

    def _chosen_baseline(self) -> Baseline | None:
        return next((one for one in self._for_this_data() if one.name == self._baseline), None)

    def _for_this_data(self) -> list[Baseline]:
        names = {str(run.settings.get("dataset", "")) for run in (self.sweep.runs if self.sweep else ())}
        return [one for name in sorted(names) for one in self._baselines.get(name, [])]

    def action_sweep(self) -> None:
        """Choose the sweep to show."""
        overview = self.dashboard.overview
        options = (
            [(sweep.name, " ".join(sweep.description.split())) for sweep in overview.sweeps]
            if overview
            else []
        )
        if options:
            self.app.push_screen(ChooseScreen("Sweep", options, self._question.sweep), self._take_sweep)

    def _take_sweep(self, name: str | None) -> None:
        if name:
            self._ask_for(Question(name, self._question.certificate, self._question.alpha))

    def action_certificate(self) -> None:
        """Choose the certificate; radii are recomputed from the stored counts."""
        options = [
            (OWN, "as set in its sweep file"),
            *((name, self._refused.get(name, "")) for name in self._certificates),
        ]

        def take(name: str | None) -> None:
            if name:
                chosen = "" if name == OWN else name
                self._ask_for(Question(self._question.sweep, chosen, self._question.alpha))

        here = self._question.certificate or OWN
        chooser = ChooseScreen("Certificate", options, here, self._refused, self._certificates)
        self.app.push_screen(chooser, take)

    def action_alpha(self) -> None:
        """Set the failure probability; radii are recomputed from the stored counts."""

        def take(text: str | None) -> None:
            if text is not None:
                self._ask_for(Question(self._question.sweep, self._question.certificate, parse_alpha(text)))

        here = self._curves.get(self.grid.key)
        value = f"{self._question.alpha or (here.alpha if here else 0.001):g}"
        help_text = "Failure probability per image, between 0 and 1. Leave empty for the sweep's own."
        self.app.push_screen(AskScreen("Alpha", help_text, value, lambda text: void(parse_alpha(text))), take)

    def action_baseline(self) -> None:
        """Choose a published table of the same data set as reference lines."""
        known = self._for_this_data()
        if not known:
            self.notify("No published results are known for this data set.", markup=False)
            return
        options = [(NONE, ""), *((one.name, plain(one.heading, 120)) for one in known)]

        def take(name: str | None) -> None:
            if name:
                self._baseline = "" if name == NONE else name
                self._draw()

        self.app.push_screen(ChooseScreen("Published baseline", options, self._baseline or NONE), take)

    def action_intervals(self) -> None:
        """Show or hide the confidence intervals in the table."""
        self._intervals = not self._intervals
        self._draw()

    def action_export(self) -> None:
        """Write the table as shown to a file."""
        if self.runs:
            self.app.push_screen(
                ChooseScreen("Export as", list(results_reader.FORMATS.items())), self._ask_file
            )
        elif self.sweep:
            self.notify("No runs to export.", markup=False)

    def _ask_file(self, form: str | None) -> None:
        if not form:
            return

        where = f"A {'folder' if form == 'tsv' else 'file'}; only files that rsctl wrote are overwritten."
        self._save("Export to", where, f"{self._question.sweep}{SUFFIXES[form]}", results_reader.export, form)

    def _save(self, title: str, where: str, name: str, write: Callable[..., Answer], kind: str) -> None:
        """Prompt for a file and write the runs shown to it, with one of the writers of `results_reader`."""
        every, runs = len(self.sweep.runs) if self.sweep else 0, self.runs
        some, said, what = [], "", f"Runs: all {every}."
        if len(runs) < every:
            some, said = (
                [run.counts for run in runs],
                f"the filter '{self.only.text.strip() if self.only else ''}'",
            )
            what = f"Runs: {len(some)} of {every}, those of {said}."

        def attempt(file: str) -> None:
            self.background.ask("export", partial(write, self._question, some, said, kind, file), self)

        told = f"{what}\n{where}"
        self.app.push_screen(AskScreen(title, told, name, _need_text, attempt=attempt, complete=files))

    def action_figure(self) -> None:
        """Save a figure of the runs shown."""
        if self.runs:
            self.background.ask("kinds", results_reader.figure_kinds, self)
        elif self.sweep:
            self.notify("No runs to plot.", markup=False)

    def on_kinds(self, message: results_reader.Kinds) -> None:
        def chosen(kind: str | None) -> None:
            if kind:
                self._ask_figure(kind)

        self.app.push_screen(ChooseScreen("Figure", message.kinds), chosen)

    def _ask_figure(self, kind: str) -> None:
        where = (
            "The extension sets the format: .pdf, .svg or .png. Only files that rsctl wrote are overwritten."
        )
        self._save("Figure to", where, f"{self._question.sweep}-{kind}.pdf", results_reader.figure, kind)

    def action_compare(self) -> None:
        """Test the difference of the two runs drawn, or of the run under the cursor and another."""
        drawn, here = self._marked(), self._run(self.grid.key)
        others = {run.title: run for run in self.runs if run is not here}
        if len(drawn) == 2:
            self._compare(*drawn)
        elif here is None or not others:
            self.notify("There is no other run to compare with.", markup=False)
        else:
            here_ = here

            def take(title: str | None) -> None:
                if title:
                    self._compare(here_, others[title])

            options = [(title, run.counts) for title, run in others.items()]
            self.app.push_screen(ChooseScreen(f"Compare {here.title} with", options), take)

    def _compare(self, first: RunView, second: RunView) -> None:
        errand = partial(results_reader.compare_runs, self._question, first, second)
        self.background.ask("compare", errand, self)

    def on_compared(self, message: results_reader.Compared) -> None:
        self.app.push_screen(ReadScreen(message.title, message.text))

    def on_exported(self, message: Exported) -> None:
        self.settle(message.problem)
        first, _, notes = message.text.partition("\n")
        if len(notes) > 200:
            self.app.push_screen(ReadScreen(first, notes.replace("\n", "\n\n")))
        elif not message.problem:
            self.notify(message.text, markup=False)


def parse_alpha(text: str) -> float:
    """An alpha, or 0 for an empty text; raises InputError."""
    if not text:
        return 0.0
    try:
        value = float(text)
    except ValueError as error:
        raise InputError(f"'{text}' is not a number such as 0.001.") from error
    if not 0 < value < 1:
        raise InputError(f"alpha must be between 0 and 1, but it is {value:g}.")
    return value


def void(_value: object) -> None:
    """For checks whose value isn't needed yet."""


def _need_text(text: str) -> None:
    if not text:
        raise InputError("Enter a file name.")
