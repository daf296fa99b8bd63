"""The controls of the results mode: choice of sweep, certificate, alpha and baseline; export, figure and comparison."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from rsctl.completion import files
from rsctl.errors import InputError
from rsctl.plain import plain
from rsctl.tui.dialogs.prompt import PromptScreen, need_file
from rsctl.tui.dialogs.reading import ReadScreen
from rsctl.tui.results import reader
from rsctl.tui.results.reader import SUFFIXES
from rsctl.tui.views import RunView

if TYPE_CHECKING:
    from rsctl.tui.results.screen import ResultsScreen

OWN = "as in the sweep"
NONE = "none"


class ResultControls:
    """The dialogs of the results mode."""

    def __init__(self, screen: ResultsScreen) -> None:
        self._screen = screen

    def sweep(self) -> None:
        screen, overview = self._screen, self._screen.dashboard.overview
        sweeps = overview.sweeps if overview else ()
        options = [(sweep.name, " ".join(sweep.description.split())) for sweep in sweeps]

        def take(name: str) -> None:
            screen.request(replace(screen.question, sweep=name))

        if options:
            screen.choose("Sweep", options, take, screen.question.sweep)

    def certificate(self) -> None:
        """Choose the certificate; radii are recomputed from the stored counts."""
        screen = self._screen
        options = [
            (OWN, "as set in its sweep file"),
            *((name, screen.refused.get(name, "")) for name in screen.certificates),
        ]

        def take(name: str) -> None:
            screen.request(replace(screen.question, certificate="" if name == OWN else name))

        here = screen.question.certificate or OWN
        screen.choose("Certificate", options, take, here, screen.refused, screen.certificates)

    def alpha(self) -> None:
        """Set the failure probability; radii are recomputed from the stored counts."""
        screen = self._screen

        def take(text: str | None) -> None:
            if text is not None:
                screen.request(replace(screen.question, alpha=parse_alpha(text)))

        here = screen.curves.get(screen.grid.key)
        value = f"{screen.question.alpha or (here.alpha if here else 0.001):g}"
        help_text = "Failure probability per image, between 0 and 1. Leave empty for the sweep's own."
        screen.app.push_screen(PromptScreen("Alpha", help_text, value, parse_alpha), take)

    def baseline(self) -> None:
        screen, known = self._screen, self._screen.known_baselines
        if not known:
            screen.report("No published results are known for this data set.")
            return

        def take(name: str) -> None:
            screen.baseline = "" if name == NONE else name
            screen.draw()

        options = [(NONE, ""), *((one.name, plain(one.heading, 120)) for one in known)]
        screen.choose("Published baseline", options, take, screen.baseline or NONE)

    def export(self) -> None:
        def take(form: str) -> None:
            where = f"A {'folder' if form == 'tsv' else 'file'}; only files that rsctl wrote are overwritten."
            self._save("Export to", where, f"{self._screen.question.sweep}{SUFFIXES[form]}", form)

        if self._any_runs("export"):
            self._screen.choose("Export as", list(reader.FORMATS.items()), take)

    def figure(self) -> None:
        where = (
            "The extension sets the format: .pdf, .svg or .png. Only files that rsctl wrote are overwritten."
        )

        def take(kind: str) -> None:
            self._save("Figure to", where, f"{self._screen.question.sweep}-{kind}.pdf", kind)

        def offer(kinds: list[tuple[str, str]]) -> None:
            self._screen.choose("Figure", kinds, take)

        if self._any_runs("plot"):
            self._screen.background.submit("kinds", reader.figure_kinds, self._screen, offer)

    def _any_runs(self, what: str) -> bool:
        if not self._screen.runs and self._screen.sweep:
            self._screen.report(f"No runs to {what}.")
        return bool(self._screen.runs)

    def _save(self, title: str, where: str, name: str, kind: str) -> None:
        """Prompt for a file and write the runs shown to it, as a kind of table or figure."""
        screen, only = self._screen, self._screen.filter_bar.only
        every, runs = len(screen.sweep.runs) if screen.sweep else 0, screen.runs
        some, said, what = [], "", f"Runs: all {every}."
        if len(runs) < every:
            some, said = [run.counts for run in runs], f"the filter '{only.text.strip() if only else ''}'"
            what = f"Runs: {len(some)} of {every}, those of {said}."

        def attempt(file: str) -> None:
            job = partial(reader.export, screen.question, some, said, kind, file)
            screen.background.submit("export", job, screen, self.report, screen.settle)

        prompt = PromptScreen(title, f"{what}\n{where}", name, need_file, attempt=attempt, complete=files)
        screen.app.push_screen(prompt)

    def report(self, text: str) -> None:
        """Report a written file, long notes in a dialog of their own."""
        self._screen.settle()
        first, _, notes = text.partition("\n")
        if len(notes) > 200:
            self._screen.app.push_screen(ReadScreen(first, notes.replace("\n", "\n\n")))
        else:
            self._screen.report(text)

    def compare(self) -> None:
        """Test the difference of the two runs drawn, or of the run under the cursor and another."""
        screen = self._screen
        drawn, here = screen.marked, screen.run(screen.grid.key)
        others = {run.title: run for run in screen.runs if run is not here}
        if len(drawn) == 2:
            self._compare(*drawn)
        elif here is None or not others:
            screen.report("There is no other run to compare with.")
        else:
            options = [(title, run.counts) for title, run in others.items()]
            screen.choose(
                f"Compare {here.title} with", options, lambda title: self._compare(here, others[title])
            )

    def _compare(self, first: RunView, second: RunView) -> None:
        def show(text: str) -> None:
            self._screen.app.push_screen(ReadScreen(f"{first.title} against {second.title}", text))

        job = partial(reader.compare_runs, self._screen.question, first, second)
        self._screen.background.submit("compare", job, self._screen, show)


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
