"""Cancel, retry, edit and delete, each after confirmation."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import partial
from pathlib import Path

from textual.app import SuspendNotSupported

from rsctl.errors import InputError
from rsctl.plain import plain_lines
from rsctl.text import counted
from rsctl.tui import actions
from rsctl.tui.background import Failed
from rsctl.tui.dialogs.confirm import ConfirmScreen
from rsctl.tui.dialogs.prompt import PromptScreen
from rsctl.tui.dropped import confirm_dropped
from rsctl.tui.filter_bar import Filtering
from rsctl.tui.views import OPEN_STATES, RunView, SweepView, TaskView

AGAIN = ("failed", "lost", "cancelled", "new")


class Steering(Filtering):
    """The part of the sweeps mode that acts on sweeps."""

    def __init__(self) -> None:
        super().__init__()
        self._asked: tuple[Path, ConfirmScreen] | None = None
        """The edited sweep file, and the open dialog about it."""
        self._invalid = False
        """True if the edited file can't be submitted."""
        self._leaving: tuple[str, ConfirmScreen | None, frozenset[Path]] = ("", None, frozenset())
        """The sweep that may be deleted, the dialog about it, and the folders that it lists."""

    def chosen(self) -> tuple[SweepView | None, RunView | None, TaskView | None]:
        """Sweep, run and task under the cursor."""
        raise NotImplementedError

    def action_cancel(self) -> None:
        """Cancel the unfinished tasks of the sweep, run or task under the cursor."""
        sweep, run, task = self.chosen()
        if sweep is None:
            self.notify("No sweep under the cursor.", markup=False)
            return
        names, tasks, shared = _to_cancel(sweep, run, task)
        what = f"{run.title} · {task.name}" if run and task else run.title if run else sweep.name
        left = [task for task in tasks if task.state in OPEN_STATES]
        if not left:
            self.notify(f"{what}: nothing to cancel", markup=False)
            return
        text = f"{what}: {counted(len(left), 'unfinished task')}. Work done so far is kept; retry continues from there."
        if shared:
            text += " The training of its model continues: other runs need it."
        if run is None:
            text += self._beyond_the_filter(sweep)

        def answered(yes: bool | None) -> None:
            if yes:
                self.notify(f"{what}: cancelling …", markup=False)
                self.background.submit(f"act {what}", partial(actions.cancel, what, names), self)

        self.app.push_screen(
            ConfirmScreen(f"Cancel {'task' if task else 'run' if run else 'sweep'}?", text, "Cancel them"),
            answered,
        )

    def action_retry(self) -> None:
        """Restart the failed, lost and cancelled tasks of the sweep, run or task under the cursor."""
        found = self._to_retry()
        if found is None:
            return
        sweep, what, name, again = found
        text = f"{_counted(again)} of {what} will be restarted and continue from their saved progress."
        if name == sweep.name:
            text += self._beyond_the_filter(sweep)

        def answered(yes: bool | None) -> None:
            if yes:
                self.background.submit(f"act {what}", partial(actions.retry, what, name), self)

        self.app.push_screen(ConfirmScreen("Retry?", text, "Retry"), answered)

    def _to_retry(self) -> tuple[SweepView, str, str, list[TaskView]] | None:
        """The sweep, the selection as a title and as a name for `again.retry`, and its tasks that can be restarted.

        None, with a message, if there is nothing to do.
        """
        sweep, run, task = self.chosen()
        if sweep is None:
            self.notify("No sweep under the cursor.", markup=False)
            return None
        what, name, tasks = sweep.name, sweep.name, sweep.tasks
        if run and task:
            what, name = f"{run.title} · {task.name}", f"{task.run}/{task.number}"
            tasks = tuple(dict.fromkeys([*run.training, task]))
        elif run:
            what, name, tasks = run.title, f"{run.entry['kind']}/{run.counts}", run.tasks
        again = [task for task in tasks if task.state in AGAIN]
        if again and not (task and task.state not in AGAIN):
            return sweep, what, name, again
        self.notify(f"{what}: no failed, lost or cancelled tasks", markup=False)
        if any(task.state in OPEN_STATES for task in sweep.tasks):
            self.background.submit(f"act {sweep.name}", partial(actions.keep_going, sweep.name), self)
        return None

    def _beyond_the_filter(self, sweep: SweepView) -> str:
        """A warning that an action on a sweep includes its hidden runs."""
        hidden = sum(not self.only.matches(run) for run in sweep.runs) if self.only else 0
        return f" This includes {counted(hidden, 'run')} hidden by the filter." if hidden else ""

    def action_retry_larger(self) -> None:
        """Restart the same tasks with another time or memory limit."""
        found = self._to_retry()
        if found is None:
            return
        sweep, what, name, again = found

        def take(text: str | None) -> None:
            if text is not None:
                given = actions.limits(text)
                minutes = int(given["minutes"]) if "minutes" in given else None
                job = partial(actions.retry, what, name, minutes, given.get("memory_gb"))
                self.background.submit(f"act {what}", job, self)

        beyond = self._beyond_the_filter(sweep) if name == sweep.name else ""
        help_text = (
            f"{_counted(again)} of {what} will be restarted with these limits, for example minutes=240 memory_gb=64. "
            f"SLURM enforces them; the local queue doesn't.{beyond}"
        )
        self.app.push_screen(PromptScreen("Retry with other limits", help_text, "", _check_limits), take)

    def action_delete_sweep(self) -> None:
        """Delete the sweep under the cursor from the store, with the results that no other sweep shares."""
        sweep, _, _ = self.chosen()
        if sweep is None:
            self.notify("No sweep under the cursor.", markup=False)
            return
        question = ConfirmScreen(f"Delete {sweep.name}?", "Listing what would be deleted …")
        self._leaving = (sweep.name, question, frozenset())

        def answered(yes: bool | None) -> None:
            if yes:
                job = partial(actions.delete_sweep, sweep.name, self._leaving[2])
                self.background.submit(f"act {sweep.name}", job, self)

        self.app.push_screen(question, answered)
        self.background.submit("leaves", partial(actions.plan_deletion, sweep.name), self)

    def on_deletion_plan(self, message: actions.DeletionPlan) -> None:
        name, question, _ = self._leaving
        if message.sweep == name and question is not None:
            self._leaving = (name, question, message.folders)
            title = f"{name} can't be deleted now" if message.problem else f"Delete {name}?"
            question.replace_text(
                title, plain_text(message.problem or message.text), "" if message.problem else "Delete it"
            )

    def on_acted(self, message: actions.Acted) -> None:
        self.notify(plain_text(message.text), markup=False)
        self.dashboard.poll_now()
        confirm_dropped(self, message.dropped)

    # Editing a sweep file

    def action_edit(self) -> None:
        """Open the sweep file in an editor; a change is planned and submitted after confirmation."""
        sweep, _, _ = self.chosen()
        overview = self.dashboard.overview
        if sweep is None or overview is None:
            self.notify("No sweep under the cursor.", markup=False)
            return
        try:
            copy = actions.working_copy(overview.store, sweep.name)
        except OSError as error:
            self.notify(
                f"{sweep.name}: its sweep file can't be read: {error}", severity="error", markup=False
            )
            return
        self._edit(copy)

    def _edit(self, copy: Path) -> None:
        before = copy.read_bytes()
        try:
            command = actions.editor()
            with self.app.suspend():
                subprocess.run([*command, os.fspath(copy)])
        except InputError as error:
            self.notify(str(error), severity="error", markup=False)
            return
        except SuspendNotSupported:
            self.notify("This terminal can't run an editor.", severity="error", markup=False)
            return
        except OSError as error:
            self.notify(f"the editor can't be started: {error}", severity="error", markup=False)
            return
        if copy.read_bytes() == before:
            shutil.rmtree(copy.parent, ignore_errors=True)
            self.notify("No changes.", markup=False)
            return
        # The dialog opens at once, so that it receives the keys typed while the plan is made.
        question = ConfirmScreen("Submit the change?", "planning …")
        self._asked = (copy, question)
        self.app.push_screen(question, partial(self._answered, copy))
        self.background.submit("plan", partial(actions.plan, copy), self)

    def on_planned(self, message: actions.Planned) -> None:
        if self._asked and self._asked[0] == message.file:
            self._show_plan(message.text, message.problem)

    def on_failed(self, message: Failed) -> None:
        if self._asked and message.group == "plan":
            message.prevent_default()
            self._show_plan("", message.text)

    def _show_plan(self, text: str, problem: str) -> None:
        question = self._asked[1] if self._asked else None
        self._invalid = bool(problem)
        if question is not None and problem:
            question.replace_text("This sweep file is not valid", plain_text(problem), "Edit again")
        elif question is not None:
            question.replace_text("Submit the change?", plain_text(text), "Submit")

    def _answered(self, copy: Path, yes: bool | None) -> None:
        self._asked = None
        if not yes:
            self.notify(f"Not submitted. The edited file is kept: {copy}", markup=False)
        elif self._invalid:
            self._edit(copy)
        else:
            self.background.submit("submit", partial(actions.submit, copy, True), self)


def _counted(tasks: list[TaskView]) -> str:
    found = {state: sum(task.state == state for task in tasks) for state in AGAIN}
    states = ", ".join(f"{count} {state}" for state, count in found.items() if count)
    return f"{counted(len(tasks), 'task')} ({states})"


def _check_limits(text: str) -> None:
    if not actions.limits(text):
        raise InputError("Enter minutes=…, memory_gb=… or both.")


def plain_text(text: str) -> str:
    return "\n".join(plain_lines(text)[:40])


def _to_cancel(
    sweep: SweepView, run: RunView | None, task: TaskView | None
) -> tuple[list[str], tuple[TaskView, ...], bool]:
    """Names for `control.cancel`, their tasks, and True if a shared model keeps training."""
    if task is not None:
        return [f"{task.run.partition('/')[2]}/{task.number}"], (task,), False
    if run is None:
        return [sweep.name], sweep.tasks, False
    shared = any(other.model == run.model and other.counts != run.counts for other in sweep.runs)
    if shared:
        training = any(task.state in OPEN_STATES for task in run.training)
        return [run.counts], run.certification, training
    return [run.model, run.counts], run.tasks, False
