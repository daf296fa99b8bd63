"""The draft of the form: one step back, what of it is unsaved, and keeping that for the next time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from rsctl.plain import plain
from rsctl.tui import drafts
from rsctl.tui.draft import START, Draft
from rsctl.tui.screens.confirm import ConfirmScreen
from rsctl.tui.screens.mode import ModeScreen


class Step(NamedTuple):
    """A draft as it stood at some time."""

    draft: Draft
    file: Path | None
    saved: dict[str, Any]


class Drafting(ModeScreen):
    """The part of the compose mode that loses nothing of what somebody set."""

    def __init__(self) -> None:
        super().__init__()
        self._draft = Draft(START)
        self._file: Path | None = None
        """The file that was opened or saved: saving may replace it."""
        self._saved: dict[str, Any] = self._draft.copy().raw
        """The text that is on disk of it."""
        self._now = Step(self._draft.copy(), None, self._saved)
        self._before: Step | None = None
        self._asked_for_kept = False
        """True once a draft of the last time was looked for; until then none is written over it."""
        self._offered: drafts.Kept | None = None

    def _check(self) -> None:
        """Have the draft checked and its form made anew."""
        raise NotImplementedError

    @property
    def unsaved(self) -> str:
        """Name of the draft, if something of it is on no disk; else empty."""
        return str(self._draft.raw.get("name", "a sweep file")) if self._draft.raw != self._saved else ""

    def on_mount(self) -> None:
        self.dashboard.form = self
        self.background.ask("draft", drafts.find, self)

    def remember(self) -> None:
        """The draft may have changed: what it was is one step back, and what is unsaved is kept."""
        if self._draft.raw != self._now.draft.raw:
            self._before = self._now
        self._now = Step(self._draft.copy(), self._file, self._saved)
        self.keep()

    def keep(self) -> None:
        """Write what is unsaved where the next session finds it."""
        if self._asked_for_kept:
            errand = partial(drafts.keep, self._draft.copy(), self._file) if self.unsaved else drafts.forget
            self.background.ask("draft", errand, self)

    def take_up(self, draft: Draft, file: Path | None) -> None:
        """Go on with another draft, which is on disk as it is."""
        self._draft, self._file, self._saved = draft, file, draft.copy().raw

    def saved(self, draft: Draft, file: Path | None) -> None:
        """This draft is on disk."""
        self._file, self._saved = file, draft.raw
        self.remember()

    def action_undo(self) -> None:
        """Take the last change back; once more brings it back."""
        if self._before is None:
            self.notify("nothing was changed yet", markup=False)
            return
        draft, self._file, self._saved = self._before
        self._draft = draft.copy()
        self._check()

    def unless_unsaved(self, go_on: Callable[[], object]) -> None:
        """Do what takes another draft's place, after a question where something of this one is unsaved."""
        if not self.unsaved:
            go_on()
            return

        def answered(yes: bool | None) -> None:
            if yes:
                go_on()

        text = f"'{plain(self.unsaved, 60)}' has changes that aren't saved. Ctrl+Z brings them back."
        self.app.push_screen(ConfirmScreen("Take another?", text, "Take another", "Stay"), answered)

    # The draft of the last time

    def on_kept(self, message: drafts.Kept) -> None:
        self._asked_for_kept = True
        if message.problem:
            self.notify(plain(message.problem, 600), severity="warning", markup=False)
        self._offered = message if message.draft else None
        self._offer()

    def on_screen_resume(self) -> None:
        self._offer()

    def _offer(self) -> None:
        """Ask whether to go on with it, once this mode is on the screen."""
        kept = self._offered
        if kept is None or kept.draft is None or self.app.screen is not self:
            return
        self._offered = None
        left = Step(kept.draft, kept.file, {})

        def answered(yes: bool | None) -> None:
            self._before = left
            if yes:
                self.action_undo()

        name = plain(str(kept.draft.raw.get("name", "a sweep file")), 60)
        text = (
            f"The changes of '{name}' were left unsaved {drafts.age(kept.when)}"
            + (f"; its file is {plain(str(kept.file), 200)}" if kept.file else "")
            + ". Ctrl+Z goes from one to the other later, too."
        )
        self.app.push_screen(
            ConfirmScreen("Go on with the draft?", text, "Go on with it", "Begin anew"), answered
        )
