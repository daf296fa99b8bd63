"""The draft of the form: undo, unsaved changes, and keeping them for the next session."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from rsctl.plain import plain
from rsctl.tui.compose import drafts
from rsctl.tui.compose.draft import START, Draft
from rsctl.tui.dialogs.confirm import ConfirmScreen
from rsctl.tui.mode import ModeScreen


class Step(NamedTuple):
    """A draft at some point in time."""

    draft: Draft
    file: Path | None
    saved: dict[str, Any]


class Drafting(ModeScreen):
    """The part of the compose mode that preserves unsaved work."""

    def __init__(self) -> None:
        super().__init__()
        self._draft = Draft(START)
        self._file: Path | None = None
        """The file that was opened or saved: saving may replace it."""
        self._saved: dict[str, Any] = self._draft.copy().raw
        """The draft as last saved."""
        self._now = Step(self._draft.copy(), None, self._saved)
        self._before: Step | None = None
        self._asked_for_kept = False
        """True once the last session's draft was read; until then it isn't overwritten."""
        self._offered: drafts.Kept | None = None

    def _check(self) -> None:
        """Check the draft and rebuild its form."""
        raise NotImplementedError

    @property
    def unsaved(self) -> str:
        """Name of the draft if it has unsaved changes, else empty."""
        return str(self._draft.raw.get("name", "a sweep file")) if self._draft.raw != self._saved else ""

    def on_mount(self) -> None:
        self.dashboard.form = self
        self.background.submit("draft", drafts.find, self)

    def remember(self) -> None:
        """Record a possible change of the draft for undo, and keep unsaved changes."""
        if self._draft.raw != self._now.draft.raw:
            self._before = self._now
        self._now = Step(self._draft.copy(), self._file, self._saved)
        self.keep()

    def keep(self) -> None:
        """Write unsaved changes to the file that the next session reads."""
        if self._asked_for_kept:
            job = partial(drafts.keep, self._draft.copy(), self._file) if self.unsaved else drafts.forget
            self.background.submit("draft", job, self)

    def take_up(self, draft: Draft, file: Path | None) -> None:
        """Replace the draft with one without unsaved changes."""
        self._draft, self._file, self._saved = draft, file, draft.copy().raw

    def saved(self, draft: Draft, file: Path | None) -> None:
        """Record that this draft is on disk."""
        self._file, self._saved = file, draft.raw
        self.remember()

    def action_undo(self) -> None:
        """Undo the last change; a second time redoes it."""
        if self._before is None:
            self.notify("Nothing to undo.", markup=False)
            return
        draft, self._file, self._saved = self._before
        self._draft = draft.copy()
        self._check()

    def unless_unsaved(self, go_on: Callable[[], object]) -> None:
        """Run an action that replaces the draft, after confirmation if it has unsaved changes."""
        if not self.unsaved:
            go_on()
            return

        def answered(yes: bool | None) -> None:
            if yes:
                go_on()

        text = f"'{plain(self.unsaved, 60)}' has unsaved changes. Ctrl+Z brings them back."
        self.app.push_screen(ConfirmScreen("Replace the draft?", text, "Replace it", "Stay"), answered)

    # The draft of the last session

    def on_kept(self, message: drafts.Kept) -> None:
        self._asked_for_kept = True
        if message.problem:
            self.notify(plain(message.problem, 600), severity="warning", markup=False)
        self._offered = message if message.draft else None
        self._offer()

    def on_screen_resume(self) -> None:
        self._offer()

    def _offer(self) -> None:
        """Offer to restore it, once this mode is on the screen."""
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
            f"'{name}' was left with unsaved changes {drafts.age(kept.when)}"
            + (f"; its file is {plain(str(kept.file), 200)}" if kept.file else "")
            + ". Ctrl+Z also switches between the two later."
        )
        self.app.push_screen(ConfirmScreen("Restore the draft?", text, "Restore it", "Start anew"), answered)
