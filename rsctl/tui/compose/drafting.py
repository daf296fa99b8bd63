"""The draft of the form: undo, unsaved changes, and keeping them for the next session."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rsctl.plain import plain
from rsctl.tui.compose import drafts
from rsctl.tui.compose.draft import START, Draft
from rsctl.tui.dialogs.confirm import ConfirmScreen

if TYPE_CHECKING:
    from rsctl.tui.compose.screen import ComposeScreen


class Step(NamedTuple):
    """A draft at some point in time."""

    draft: Draft
    file: Path | None
    saved: dict[str, Any]


class WorkingDraft:
    """The draft in the form, its file, and what undo goes back to."""

    def __init__(self, screen: ComposeScreen) -> None:
        self._screen = screen
        self.draft = Draft(START)
        self.file: Path | None = None
        """The file that was opened or saved: saving may replace it."""
        self._saved: dict[str, Any] = self.draft.copy().raw
        """The draft as last saved."""
        self._now = Step(self.draft.copy(), None, self._saved)
        self._before: Step | None = None
        self._restorable = False
        """True once the last session's draft was read; until then it isn't overwritten."""
        self._offered: drafts.Kept | None = None

    @property
    def unsaved(self) -> str:
        """Name of the draft if it has unsaved changes, else empty."""
        return str(self.draft.raw.get("name", "a sweep file")) if self.draft.raw != self._saved else ""

    def restore(self) -> None:
        """Look for the draft of the last session."""
        self._screen.background.submit("draft", drafts.find, self._screen, self._restored)

    def remember(self) -> None:
        """Record a possible change of the draft for undo, and keep unsaved changes."""
        if self.draft.raw != self._now.draft.raw:
            self._before = self._now
        self._now = Step(self.draft.copy(), self.file, self._saved)
        self.keep()

    def keep(self) -> None:
        """Write unsaved changes to the file that the next session reads."""
        if self._restorable:
            job = partial(drafts.keep, self.draft.copy(), self.file) if self.unsaved else drafts.forget
            self._screen.background.submit("draft", job, self._screen)

    def replace(self, draft: Draft, file: Path | None) -> None:
        """Replace the draft with one without unsaved changes."""
        self.draft, self.file, self._saved = draft, file, draft.copy().raw

    def mark_saved(self, draft: Draft, file: Path | None) -> None:
        """Record that this draft is on disk."""
        self.file, self._saved = file, draft.raw
        self.remember()

    def undo(self) -> None:
        """Undo the last change; a second time redoes it."""
        if self._before is None:
            self._screen.report("Nothing to undo.")
            return
        draft, self.file, self._saved = self._before
        self.draft = draft.copy()
        self._screen.check()

    def unless_unsaved(self, go_on: Callable[[], object]) -> None:
        """Run an action that replaces the draft, after confirmation if it has unsaved changes."""
        if not self.unsaved:
            go_on()
            return
        text = f"'{plain(self.unsaved, 60)}' has unsaved changes. Ctrl+Z brings them back."
        self._screen.confirm("Replace the draft?", text, "Replace it", go_on, "Stay")

    # The draft of the last session

    def _restored(self, found: drafts.Kept) -> None:
        self._restorable = True
        if found.problem:
            self._screen.notify(plain(found.problem, 600), severity="warning", markup=False)
        self._offered = found if found.draft else None
        self.offer()

    def offer(self) -> None:
        """Offer to restore it, once this mode is on the screen."""
        kept = self._offered
        if kept is None or kept.draft is None or self._screen.app.screen is not self._screen:
            return
        self._offered = None
        left = Step(kept.draft, kept.file, {})

        def answered(yes: bool | None) -> None:
            self._before = left
            if yes:
                self.undo()

        name = plain(str(kept.draft.raw.get("name", "a sweep file")), 60)
        file = f"; its file is {plain(str(kept.file), 200)}" if kept.file else ""
        text = f"'{name}' was left with unsaved changes {drafts.age(kept.when)}{file}. Ctrl+Z also switches between the two later."
        question = ConfirmScreen("Restore the draft?", text, "Restore it", "Start anew")
        self._screen.app.push_screen(question, answered)
