"""Sweep files of the form: open, start from a template, save, submit behind a question."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from rsctl.completion import files
from rsctl.errors import InputError
from rsctl.tui import steer, sweep_files
from rsctl.tui.draft import Draft
from rsctl.tui.form_rows import first_lines
from rsctl.tui.form_views import Composed
from rsctl.tui.screens.ask import AskScreen, ChooseScreen
from rsctl.tui.screens.confirm import ConfirmScreen
from rsctl.tui.screens.drafting import Drafting
from rsctl.tui.screens.dropped import ask_about_dropped
from rsctl.tui.sweep_files import Opened, Saved


class Filing(Drafting):
    """The part of the compose mode that reads and writes files and starts sweeps."""

    def __init__(self) -> None:
        super().__init__()
        self._composed: Composed | None = None
        self._submitted = ""
        """The sweep that was submitted last, and its table."""
        self._submitted_raw: dict[str, Any] = {}

    def _check(self) -> None:
        """Have the draft checked and its form made anew."""
        self.remember()
        draft = self._draft.copy()
        self.background.ask("compose", partial(sweep_files.compose, draft), self)

    def action_open(self) -> None:
        """Open a sweep file into the form; its comments don't survive saving."""

        def attempt(name: str) -> None:
            self.background.ask("file", partial(sweep_files.open_file, name), self)

        help_text = "Comments in it don't survive saving."
        self.unless_unsaved(
            lambda: self.app.push_screen(
                AskScreen("Open a sweep file", help_text, "", need_name, attempt=attempt, complete=files)
            )
        )

    def action_template(self) -> None:
        """Start from one of the sweep files that come with rsctl."""
        # Read here and now, as they come with rsctl: the list is there for what is typed next.
        known = sweep_files.templates()

        def take(name: str | None) -> None:
            if name:
                self.take_up(sweep_files.draft_of(known[name]), None)
                self._check()

        options = [(name, template.summary) for name, template in known.items()]
        self.unless_unsaved(lambda: self.app.push_screen(ChooseScreen("Start from", options), take))

    def on_opened(self, message: Opened) -> None:
        self.settle(message.problem)
        if message.draft is not None:
            # Until it is checked there is nothing to submit.
            self._composed = None
            self.take_up(message.draft, message.file)
            self._check()

    def action_save(self) -> None:
        """Write the sweep file."""
        name = self._draft.raw.get("name")
        proposed = str(self._file) if self._file else f"{name if isinstance(name, str) else 'sweep'}.toml"
        own = self._file

        def attempt(text: str) -> None:
            file = Path(text).expanduser().absolute()
            errand = partial(sweep_files.save, file, self._draft.copy(), file == own)
            self.background.ask("file", errand, self)

        help_text = "Problems in it don't hinder saving. " + ("This file is replaced." if own else "A new file; nothing is overwritten.")  # fmt: skip
        self.app.push_screen(
            AskScreen("Save as", help_text, proposed, need_name, attempt=attempt, complete=files)
        )

    def on_saved(self, message: Saved) -> None:
        self.settle(message.problem)
        if not message.problem:
            self.saved(message.draft, message.file)
            self.notify(f"written: {message.file}", markup=False)

    def action_submit(self) -> None:
        """Submit the sweep, after a question that states the plan and its cost."""
        composed = self._composed
        if composed is None or composed.draft.raw != self._draft.raw:
            self.notify("still being checked", markup=False)
            return
        if not composed.plan:
            self.notify(
                "the sweep file has problems; they stand beside the form", severity="error", markup=False
            )
            return
        text = "\n\n".join(filter(None, [composed.replaces, first_lines(composed.plan, 40)]))
        toml, replaces, name = composed.draft.toml(), bool(composed.replaces), str(composed.draft.raw["name"])

        def answered(yes: bool | None) -> None:
            if yes:
                self._submitted, self._submitted_raw = name, composed.draft.raw
                self.background.ask("submit", partial(sweep_files.submit, name, toml, replaces), self)

        self.app.push_screen(ConfirmScreen("Submit?", text, "Submit"), answered)

    def on_acted(self, message: steer.Acted) -> None:
        self.notify(first_lines(f"{message.text}\n1 shows it", 12), markup=False)
        # Where one goes to watch it, it is what one sees.
        self.dashboard.sweep_in_sight = self._submitted
        self.dashboard.look_now()
        self.saved(Draft(self._submitted_raw), self._file)
        self._check()
        ask_about_dropped(self, message.dropped)


def need_name(text: str) -> None:
    """Raises InputError for no text."""
    if not text:
        raise InputError("give the name of a file.")
