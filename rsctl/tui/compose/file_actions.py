"""File actions of the form: open, start from a template, save, submit."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsctl.completion import files
from rsctl.tui import actions
from rsctl.tui.compose import sweep_files
from rsctl.tui.compose.draft import Draft
from rsctl.tui.compose.rows import first_lines
from rsctl.tui.dialogs.prompt import PromptScreen, need_file

if TYPE_CHECKING:
    from rsctl.tui.compose.screen import ComposeScreen


class FileActions:
    """Reads and writes the sweep file of the form, and submits it."""

    def __init__(self, screen: ComposeScreen) -> None:
        self._screen, self._work = screen, screen.work

    def open(self) -> None:
        """Open a sweep file in the form; saving drops its comments."""
        screen = self._screen

        def attempt(name: str) -> None:
            job = partial(sweep_files.open_file, name)
            screen.background.submit("file", job, screen, self._opened, screen.settle)

        def ask() -> None:
            help_text = "Saving it later drops its comments."
            prompt = PromptScreen(
                "Open a sweep file", help_text, "", need_file, attempt=attempt, complete=files
            )
            screen.app.push_screen(prompt)

        self._work.unless_unsaved(ask)

    def _opened(self, found: tuple[Draft, Path]) -> None:
        self._screen.settle()
        # It can't be submitted until it is checked.
        self._screen.composed = None
        self._work.replace(*found)
        self._screen.check()

    def template(self) -> None:
        """Start from one of the templates that come with rsctl."""
        # Read on the UI thread, as they come with rsctl: the dialog must be open for the next key.
        known = sweep_files.templates()

        def take(name: str) -> None:
            self._work.replace(sweep_files.draft_of(known[name]), None)
            self._screen.check()

        options = [(name, template.summary) for name, template in known.items()]
        self._work.unless_unsaved(lambda: self._screen.choose("Templates", options, take))

    def save(self) -> None:
        screen, own, draft = self._screen, self._work.file, self._work.draft
        name = draft.raw.get("name")
        proposed = str(own) if own else f"{name if isinstance(name, str) else 'sweep'}.toml"

        def attempt(text: str) -> None:
            file, copy = Path(text).expanduser().absolute(), draft.copy()
            job = partial(sweep_files.save, file, copy, file == own)
            screen.background.submit("file", job, screen, partial(self._saved, copy), screen.settle)

        help_text = "A file with problems can be saved too. " + ("This file is replaced." if own else "Existing files are not overwritten.")  # fmt: skip
        prompt = PromptScreen("Save as", help_text, proposed, need_file, attempt=attempt, complete=files)
        screen.app.push_screen(prompt)

    def _saved(self, draft: Draft, file: Path) -> None:
        self._screen.settle()
        self._work.mark_saved(draft, file)
        self._screen.report(f"written: {file}")

    def submit(self) -> None:
        """Submit the sweep, after confirmation of the plan and its cost."""
        screen, composed = self._screen, self._screen.composed
        if composed is None or composed.draft.raw != self._work.draft.raw:
            screen.report("The sweep is still being checked.")
            return
        if not composed.plan:
            screen.report("The sweep file has problems; they are listed beside the form.", error=True)
            return
        text = "\n\n".join(filter(None, [composed.replaces, first_lines(composed.plan, 40)]))
        raw, name = composed.draft.raw, str(composed.draft.raw["name"])
        job = partial(sweep_files.submit, name, composed.draft.toml(), bool(composed.replaces))

        def submit() -> None:
            screen.background.submit("submit", job, screen, partial(self._submitted, name, raw))

        screen.confirm("Submit?", text, "Submit", submit)

    def _submitted(self, name: str, raw: dict[str, Any], done: actions.Acted) -> None:
        screen = self._screen
        screen.report(first_lines(f"{done.text}\nPress 1 to see it.", 12))
        # The sweeps mode opens with it selected.
        screen.dashboard.selected_sweep = name
        screen.dashboard.poll_now()
        self._work.mark_saved(Draft(raw), self._work.file)
        screen.check()
        screen.confirm_dropped(done.dropped)
