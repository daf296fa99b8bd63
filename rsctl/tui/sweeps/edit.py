"""Editing a submitted sweep's file: the change is planned, and submitted after confirmation."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import SuspendNotSupported

from rsctl.errors import InputError, RefusedError
from rsctl.tui import actions
from rsctl.tui.dialogs.confirm import ConfirmScreen, shortened

if TYPE_CHECKING:
    from rsctl.tui.sweeps.actions import SweepActions
    from rsctl.tui.sweeps.screen import SweepsScreen


class SweepEditor:
    """Opens a copy of the selected sweep's file in an editor."""

    def __init__(self, screen: SweepsScreen, acts: SweepActions) -> None:
        self._screen, self._acts = screen, acts

    def edit(self) -> None:
        """Edit the file of the sweep under the cursor."""
        if (found := self._acts.selection()) is None:
            return
        selection, sweep = found
        try:
            copy = actions.working_copy(selection.overview.store, sweep.name)
        except (OSError, RefusedError) as error:
            self._screen.report(f"{sweep.name}: its sweep file can't be read: {error}", error=True)
            return
        self._edit(copy)

    def _edit(self, copy: Path) -> None:
        screen, before = self._screen, copy.read_bytes()
        try:
            command = actions.editor()
            with screen.app.suspend():
                subprocess.run([*command, os.fspath(copy)])
        except InputError as error:
            screen.report(str(error), error=True)
            return
        except SuspendNotSupported:
            screen.report("This terminal can't run an editor.", error=True)
            return
        except OSError as error:
            screen.report(f"the editor can't be started: {error}", error=True)
            return
        if copy.read_bytes() == before:
            shutil.rmtree(copy.parent, ignore_errors=True)
            screen.report("No changes.")
            return
        self._confirm(copy)

    def _confirm(self, copy: Path) -> None:
        """Show the plan of the edited file. The dialog opens at once, so that it receives the keys typed meanwhile."""
        question = ConfirmScreen("Submit the change?", "planning …")
        invalid: list[str] = []

        def show(plan: str) -> None:
            question.replace_text("Submit the change?", shortened(plan), "Submit")

        def refuse(problem: str) -> None:
            invalid.append(problem)
            text = shortened(problem.replace(f"{copy}: ", ""))
            question.replace_text("This sweep file is not valid", text, "Edit again")

        def answered(yes: bool | None) -> None:
            if not yes:
                self._screen.report(f"Not submitted. The edited file is kept: {copy}")
            elif invalid:
                self._edit(copy)
            else:
                job = partial(actions.submit, copy, True)
                self._screen.background.submit("submit", job, self._screen, self._acts.report)

        self._screen.app.push_screen(question, answered)
        self._screen.background.submit("plan", partial(actions.plan, copy), self._screen, show, refuse)
