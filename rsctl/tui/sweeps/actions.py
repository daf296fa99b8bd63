"""Cancel, retry and delete, each after confirmation."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rsctl.errors import InputError
from rsctl.text import counted
from rsctl.tui import actions
from rsctl.tui.dialogs.confirm import ConfirmScreen, shortened
from rsctl.tui.dialogs.prompt import PromptScreen
from rsctl.tui.sweeps.selection import Selection
from rsctl.tui.views import OPEN_STATES, RunView, SweepView, TaskView

if TYPE_CHECKING:
    from rsctl.tui.sweeps.screen import SweepsScreen

RETRIED = ("failed", "lost", "cancelled", "new")

NO_TASKS = "A cascade has no tasks of its own: choose one of its levels."


class SweepActions:
    """Acts on the selected sweep, run or task of its screen."""

    def __init__(self, screen: SweepsScreen) -> None:
        self._screen = screen

    def selection(self) -> tuple[Selection, SweepView] | None:
        """The selection and its sweep; None, with a message, if there is no sweep."""
        selection = self._screen.selection
        if selection is None or selection.sweep is None:
            self._screen.report("No sweep under the cursor.")
            return None
        return selection, selection.sweep

    def cancel(self) -> None:
        """Cancel the unfinished tasks of the sweep, run or task under the cursor."""
        if (found := self.selection()) is None:
            return
        (selection, sweep), screen = found, self._screen
        run, task = selection.run, selection.task
        if run and run.derived and not task:
            screen.report(NO_TASKS)
            return
        names, tasks, shared = _to_cancel(sweep, run, task)
        what = selection.title if run else sweep.name
        left = [task for task in tasks if task.state in OPEN_STATES]
        if not left:
            screen.report(f"{what}: nothing to cancel")
            return
        text = f"{what}: {counted(len(left), 'unfinished task')}. Work done so far is kept; retry continues from there."
        if shared:
            text += " The training of its model continues: other runs need it."
        if run is None:
            text += self._beyond_the_filter(sweep)

        def confirmed() -> None:
            screen.report(f"{what}: cancelling …")
            self.act(what, partial(actions.cancel, what, names))

        screen.confirm(
            f"Cancel {'task' if task else 'run' if run else 'sweep'}?", text, "Cancel them", confirmed
        )

    def retry(self) -> None:
        """Restart the failed, lost and cancelled tasks of the sweep, run or task under the cursor."""
        if (found := self._to_retry()) is not None:
            restarted, beyond, what, name, owner = found
            text = f"{restarted} and continue from their saved progress.{beyond}"
            job = partial(actions.retry, what, name, of=owner)
            self._screen.confirm("Retry?", text, "Retry", partial(self.act, what, job))

    def retry_larger(self) -> None:
        """Restart the same tasks with another time or memory limit."""
        if (found := self._to_retry()) is None:
            return
        restarted, beyond, what, name, owner = found

        def take(text: str | None) -> None:
            if text is not None:
                given = actions.limits(text)
                minutes = int(given["minutes"]) if "minutes" in given else None
                self.act(what, partial(actions.retry, what, name, minutes, given.get("memory_gb"), owner))

        help_text = (
            f"{restarted} with these limits, for example minutes=240 memory_gb=64. "
            f"SLURM enforces them; the local queue doesn't.{beyond}"
        )
        prompt = PromptScreen("Retry with other limits", help_text, "", _check_limits)
        self._screen.app.push_screen(prompt, take)

    def _to_retry(self) -> tuple[str, str, str, str, str] | None:
        """The tasks that can be restarted, those beyond the filter, the selection as a title and as a name for `retry`, and its owner if
        that is another user.

        None, with a message, if there is nothing to do.
        """
        if (found := self.selection()) is None:
            return None
        selection, sweep = found
        run, task = selection.run, selection.task
        what, name, tasks = sweep.name, sweep.name, sweep.tasks
        if run and run.derived and not task:
            self._screen.report(NO_TASKS)
            return None
        if run and task:
            what, name = selection.title, f"{task.run}/{task.number}"
            tasks = tuple(dict.fromkeys([*run.training, task]))
        elif run:
            what, name, tasks = run.title, f"{run.entry['kind']}/{run.counts}", run.tasks
        retried = [task for task in tasks if task.state in RETRIED]
        if retried and not (task and task.state not in RETRIED):
            beyond = "" if run else self._beyond_the_filter(sweep)
            beyond += f" User {sweep.owner} submitted this sweep." if sweep.owner else ""
            return f"{_counted(retried)} of {what} will be restarted", beyond, what, name, sweep.owner
        self._screen.report(f"{what}: no failed, lost or cancelled tasks")
        if any(task.state in OPEN_STATES for task in sweep.tasks):
            self.act(sweep.name, partial(actions.keep_going, sweep.name))
        return None

    def _beyond_the_filter(self, sweep: SweepView) -> str:
        """A warning that an action on a sweep includes its hidden runs."""
        only = self._screen.filter_bar.only
        hidden = sum(not only.matches(run) for run in sweep.runs) if only else 0
        return f" This includes {counted(hidden, 'run')} hidden by the filter." if hidden else ""

    def delete(self) -> None:
        """Delete the sweep under the cursor from the store, with the results that no other sweep shares."""
        if (found := self.selection()) is None:
            return
        name, screen = found[1].name, self._screen
        listed: list[tuple[frozenset[Path], str]] = []
        question = ConfirmScreen(f"Delete {name}?", "Listing what would be deleted …")

        def show(plan: tuple[str, frozenset[Path], str]) -> None:
            text, folders, owner = plan
            listed.append((folders, owner))
            whose = f" of user {owner}" if owner else ""
            question.replace_text(f"Delete {name}{whose}?", shortened(text), "Delete it")

        def refuse(problem: str) -> None:
            text = problem.replace("'rsctl cancel' them first", "Cancel them first (x)")
            question.replace_text(f"{name} can't be deleted now", shortened(text), "")

        def answered(yes: bool | None) -> None:
            if yes:
                self.act(name, partial(actions.delete_sweep, name, *listed[0]))

        screen.app.push_screen(question, answered)
        screen.background.submit("deletion", partial(actions.plan_deletion, name), screen, show, refuse)

    def act(self, what: str, job: actions.Action) -> None:
        """Run an action on a background thread and report it."""
        self._screen.background.submit(f"act {what}", job, self._screen, self.report)

    def report(self, done: actions.Acted) -> None:
        """Report a finished action."""
        self._screen.report(shortened(done.text))
        self._screen.dashboard.poll_now()
        self._screen.confirm_dropped(done.dropped)


def _counted(tasks: list[TaskView]) -> str:
    found = {state: sum(task.state == state for task in tasks) for state in RETRIED}
    states = ", ".join(f"{count} {state}" for state, count in found.items() if count)
    return f"{counted(len(tasks), 'task')} ({states})"


def _check_limits(text: str) -> None:
    if not actions.limits(text):
        raise InputError("Enter minutes=…, memory_gb=… or both.")


def _to_cancel(
    sweep: SweepView, run: RunView | None, task: TaskView | None
) -> tuple[list[str], tuple[TaskView, ...], bool]:
    """Names for `control.cancel`, their tasks, and True if a shared model keeps training."""
    if task is not None:
        return [f"{task.run.partition('/')[2]}/{task.number}"], (task,), False
    if run is None:
        return [sweep.name], sweep.tasks, False
    shared = any(
        other.model == run.model and other.counts != run.counts for other in sweep.runs if not other.derived
    )
    if shared:
        training = any(task.state in OPEN_STATES for task in run.training)
        return [run.counts], run.certification, training
    return [run.model, run.counts], run.tasks, False
