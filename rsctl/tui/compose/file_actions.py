"""File actions of the form: open, start from a template, save, submit."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from rsctl.completion import files
from rsctl.errors import InputError
from rsctl.tui import actions
from rsctl.tui.compose import sweep_files
from rsctl.tui.compose.draft import Draft
from rsctl.tui.compose.drafting import Drafting
from rsctl.tui.compose.fields import Composed
from rsctl.tui.compose.rows import first_lines
from rsctl.tui.compose.sweep_files import Opened, Saved
from rsctl.tui.dialogs.confirm import ConfirmScreen
from rsctl.tui.dialogs.prompt import ChooseScreen, PromptScreen
from rsctl.tui.dropped import confirm_dropped


class Filing(Drafting):
    """The part of the compose mode that reads and writes files and starts sweeps."""

    def __init__(self) -> None:
        super().__init__()
        self._composed: Composed | None = None
        self._submitted = ""
        """Name of the sweep submitted last; its table is below."""
        self._submitted_raw: dict[str, Any] = {}

    def _check(self) -> None:
        """Check the draft and rebuild its form."""
        self.remember()
        draft = self._draft.copy()
        self.background.submit("compose", partial(sweep_files.compose, draft), self)

    def action_open(self) -> None:
        """Open a sweep file in the form; saving drops its comments."""

        def attempt(name: str) -> None:
            self.background.submit("file", partial(sweep_files.open_file, name), self)

        help_text = "Saving it later drops its comments."
        self.unless_unsaved(
            lambda: self.app.push_screen(
                PromptScreen("Open a sweep file", help_text, "", need_name, attempt=attempt, complete=files)
            )
        )

    def action_template(self) -> None:
        """Start from one of the templates that come with rsctl."""
        # Read on the UI thread, as they come with rsctl: the dialog must be open for the next key.
        known = sweep_files.templates()

        def take(name: str | None) -> None:
            if name:
                self.take_up(sweep_files.draft_of(known[name]), None)
                self._check()

        options = [(name, template.summary) for name, template in known.items()]
        self.unless_unsaved(lambda: self.app.push_screen(ChooseScreen("Templates", options), take))

    def on_opened(self, message: Opened) -> None:
        self.settle(message.problem)
        if message.draft is not None:
            # It can't be submitted until it is checked.
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
            job = partial(sweep_files.save, file, self._draft.copy(), file == own)
            self.background.submit("file", job, self)

        help_text = "A file with problems can be saved too. " + ("This file is replaced." if own else "Existing files are not overwritten.")  # fmt: skip
        self.app.push_screen(
            PromptScreen("Save as", help_text, proposed, need_name, attempt=attempt, complete=files)
        )

    def on_saved(self, message: Saved) -> None:
        self.settle(message.problem)
        if not message.problem:
            self.saved(message.draft, message.file)
            self.notify(f"written: {message.file}", markup=False)

    def action_submit(self) -> None:
        """Submit the sweep, after confirmation of the plan and its cost."""
        composed = self._composed
        if composed is None or composed.draft.raw != self._draft.raw:
            self.notify("The sweep is still being checked.", markup=False)
            return
        if not composed.plan:
            self.notify(
                "The sweep file has problems; they are listed beside the form.",
                severity="error",
                markup=False,
            )
            return
        text = "\n\n".join(filter(None, [composed.replaces, first_lines(composed.plan, 40)]))
        toml, replaces, name = composed.draft.toml(), bool(composed.replaces), str(composed.draft.raw["name"])

        def answered(yes: bool | None) -> None:
            if yes:
                self._submitted, self._submitted_raw = name, composed.draft.raw
                self.background.submit("submit", partial(sweep_files.submit, name, toml, replaces), self)

        self.app.push_screen(ConfirmScreen("Submit?", text, "Submit"), answered)

    def on_acted(self, message: actions.Acted) -> None:
        self.notify(first_lines(f"{message.text}\nPress 1 to see it.", 12), markup=False)
        # The sweeps mode opens with it selected.
        self.dashboard.sweep_in_sight = self._submitted
        self.dashboard.poll_now()
        self.saved(Draft(self._submitted_raw), self._file)
        self._check()
        confirm_dropped(self, message.dropped)


def need_name(text: str) -> None:
    """Raises InputError for an empty text."""
    if not text:
        raise InputError("Enter a file name.")
