"""What the results mode shows: the sweep, certificate, alpha and baseline are chosen here; and the table is exported."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

from rsctl.completion import files
from rsctl.errors import InputError
from rsctl.plain import plain
from rsctl.text import counted
from rsctl.tui import results_reader
from rsctl.tui.background import Answer
from rsctl.tui.results_reader import SUFFIXES, Baseline, Exported, Question
from rsctl.tui.screens.ask import AskScreen, ChooseScreen
from rsctl.tui.screens.filtering import Filtering
from rsctl.tui.screens.reading import ReadScreen
from rsctl.tui.views import Curve, RunView, SweepView
from rsctl.tui.widgets.grid import Grid

OWN = "as in the sweep"
NONE = "none"


class Asking(Filtering):
    """The part of the results mode that asks its user something."""

    ROWS: ClassVar[dict[str, str]] = {
        "choose": "The images of the run, one by one", "mark": "Draw the run's curve, or take it away",
        "fold(True)": "Further columns", "fold(False)": "The columns before",
    }  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self._question = Question("", "", 0.0)
        self._curves: dict[str, Curve] = {}
        self._intervals = False
        self._certificates: list[str] = []
        self._refused: dict[str, str] = {}
        """Certificates that refuse what this sweep counted, and why."""
        self._baselines: dict[str, list[Baseline]] = {}
        self._baseline = ""

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
        """Show something else."""
        raise NotImplementedError

    def _run(self, key: str) -> RunView | None:
        """The run of a row."""
        raise NotImplementedError

    def _marked(self) -> list[RunView]:
        """The runs whose curves are drawn."""
        raise NotImplementedError

    def _draw(self) -> None:
        """Draw what is known anew."""
        raise NotImplementedError

    def _chosen_baseline(self) -> Baseline | None:
        return next((one for one in self._for_this_data() if one.name == self._baseline), None)

    def _for_this_data(self) -> list[Baseline]:
        names = {str(run.settings.get("dataset", "")) for run in (self.sweep.runs if self.sweep else ())}
        return [one for name in sorted(names) for one in self._baselines.get(name, [])]

    def action_sweep(self) -> None:
        """Choose whose results are shown."""
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
        """Choose the certificate; radii are derived anew from the stored counts."""
        options = [
            (OWN, "what its sweep file asks for"),
            *((name, self._refused.get(name, "")) for name in self._certificates),
        ]

        def take(name: str | None) -> None:
            if name:
                chosen = "" if name == OWN else name
                self._ask_for(Question(self._question.sweep, chosen, self._question.alpha))

        here = self._question.certificate or OWN
        self.app.push_screen(ChooseScreen("Certificate", options, here, self._refused), take)

    def action_alpha(self) -> None:
        """Set the failure probability; radii are derived anew from the stored counts."""

        def take(text: str | None) -> None:
            if text is not None:
                self._ask_for(Question(self._question.sweep, self._question.certificate, parse_alpha(text)))

        here = self._curves.get(self.grid.key)
        value = f"{self._question.alpha or (here.alpha if here else 0.001):g}"
        help_text = "Failure probability per image, inside (0, 1). Empty: as in the sweep file."
        self.app.push_screen(AskScreen("Alpha", help_text, value, lambda text: void(parse_alpha(text))), take)

    def action_baseline(self) -> None:
        """Choose a published table of the same data set as reference lines."""
        known = self._for_this_data()
        if not known:
            self.notify("no published table of this data set is known", markup=False)
            return
        options = [(NONE, ""), *((one.name, plain(one.heading, 120)) for one in known)]

        def take(name: str | None) -> None:
            if name:
                self._baseline = "" if name == NONE else name
                self._draw()

        self.app.push_screen(ChooseScreen("Published baseline", options, self._baseline or NONE), take)

    def action_intervals(self) -> None:
        """Show or hide the intervals in the table."""
        self._intervals = not self._intervals
        self._draw()

    def action_export(self) -> None:
        """Write the table as it is computed here into a file."""
        if self.runs:
            self.app.push_screen(
                ChooseScreen("Export as", list(results_reader.FORMATS.items())), self._ask_file
            )
        elif self.sweep:
            self.notify("no run is shown that could be written", markup=False)

    def _ask_file(self, form: str | None) -> None:
        if not form:
            return

        where = f"A {'folder' if form == 'tsv' else 'file'}; only what rsctl wrote there is replaced."
        self._save("Export to", where, f"{self._question.sweep}{SUFFIXES[form]}", results_reader.export, form)

    def _save(self, title: str, where: str, name: str, write: Callable[..., Answer], kind: str) -> None:
        """Ask for a file and have one of the writers of `results_reader` write the runs shown into it."""
        every, runs = len(self.sweep.runs) if self.sweep else 0, self.runs
        some, said, what = [], "", f"Every run of the sweep will be written ({every})."
        if len(runs) < every:
            some, said = (
                [run.counts for run in runs],
                f"the filter '{self.only.text.strip() if self.only else ''}'",
            )
            what = f"{len(some)} of {counted(every, 'run')} will be written: those of {said}."

        def attempt(file: str) -> None:
            self.background.ask("export", partial(write, self._question, some, said, kind, file), self)

        told = f"{what}\n{where}"
        self.app.push_screen(AskScreen(title, told, name, _need_text, attempt=attempt, complete=files))

    def action_figure(self) -> None:
        """Draw the runs shown into a file."""
        if self.runs:
            self.background.ask("kinds", results_reader.figure_kinds, self)
        elif self.sweep:
            self.notify("no run is shown that could be drawn", markup=False)

    def on_kinds(self, message: results_reader.Kinds) -> None:
        def chosen(kind: str | None) -> None:
            if kind:
                self._ask_figure(kind)

        self.app.push_screen(ChooseScreen("Figure", message.kinds), chosen)

    def _ask_figure(self, kind: str) -> None:
        where = "Its ending says the format: .pdf, .svg or .png; only what rsctl wrote there is replaced."
        self._save("Figure to", where, f"{self._question.sweep}-{kind}.pdf", results_reader.figure, kind)

    def action_compare(self) -> None:
        """Is the difference real? Of the two runs drawn, or of the one under the cursor and another."""
        drawn, here = self._marked(), self._run(self.grid.key)
        others = {run.title: run for run in self.runs if run is not here}
        if len(drawn) == 2:
            self._compare(*drawn)
        elif here is None or not others:
            self.notify("there is no other run to compare with", markup=False)
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
        self.notify("comparing …", timeout=2, markup=False)

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
        raise InputError(f"alpha must be inside (0, 1), but it is {value:g}.")
    return value


def void(_value: object) -> None:
    """For checks whose value isn't needed yet."""


def _need_text(text: str) -> None:
    if not text:
        raise InputError("give the name of a file.")
