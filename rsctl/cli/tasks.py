"""Commands for tasks: status, logs, cancel, retry and task."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rsctl.cli.common import AsJson, Of, leave, loudly
from rsctl.errors import InputError, UserError
from rsctl.plain import steer

if TYPE_CHECKING:
    from rsctl.plan.tasks import Task


def status(
    sweep: Annotated[str, typer.Argument(metavar="[SWEEP]", help="Only this sweep.")] = "",
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh every 2 s until Ctrl+C.")] = False,
) -> None:
    """Show the progress of sweeps."""
    from rsctl.cluster.status import status_text, status_values
    from rsctl.config.settings import load_settings
    from rsctl.mirror.follow import Follower

    if watch and as_json:
        raise InputError("status: --json prints one document; leave out --watch.")
    place = load_settings()
    mirror = Follower(place.settings.mirror)
    while True:
        values = status_values(place, sweep)
        if watch and sys.stdout.isatty():
            steer(sys.stdout, "\x1b[H\x1b[2J")
        print(json.dumps(values, indent=1) if as_json else status_text(values), flush=True)
        if not watch:
            _broken_of(place, sweep)
            leave(InputError.exit_code if values["damaged"] else 0)
            return
        mirror.poll([one["name"] for one in values["sweeps"]])
        time.sleep(2)


def _broken_of(place: Any, sweep: str) -> None:
    """Report the certificates that an attack broke, in this sweep or in all."""
    from rsctl.store.layout import Store
    from rsctl.store.run_kinds import RunKind

    store = Store(place.store)
    if not any(any(store.runs(folder)) for folder in (RunKind.ATTACKS, RunKind.VERIFICATIONS)):
        return  # nothing is compared, and status answers at once
    from rsctl.results.contradictions import find_contradictions

    entries = []
    for name in [name for name in store.sweep_names() if sweep in ("", name)]:
        with contextlib.suppress(UserError):  # reported above
            entries += store.sweep(name)["entries"]
    loudly(find_contradictions(store, entries))


def logs(
    run_name: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, a prefix of it, or its path.")],
    task: Annotated[int, typer.Argument(metavar="[N]", help="Task number.")] = 0,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Follow the log until the task ends.")
    ] = False,
) -> None:
    """Print the log of a task, with all of its attempts. Only the end of a very long log is printed."""
    from rsctl.cluster.all_backends import AllBackends
    from rsctl.cluster.task_logs import tail
    from rsctl.cluster.task_status import statuses
    from rsctl.config.settings import load_settings
    from rsctl.plan.tasks import Task
    from rsctl.store.layout import Store

    place = load_settings()
    run = Store(place.store).find_run(run_name)
    run.require_task(task)

    def going() -> bool:
        time.sleep(0.5)
        one = Task(run, task)
        return statuses([one], AllBackends(place))[one.key].state.is_open

    def write(text: str) -> None:
        # A line that was rewritten in place, as progress bars are, becomes several.
        sys.stdout.write(text.replace("\r\n", "\n").replace("\r", "\n"))
        sys.stdout.flush()

    tail(run, task, write, follow=going if follow else None)


def cancel(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SWEEP|RUN]…", help="Sweeps, runs or tasks (RUN/N) to stop."),
    ] = None,
    dropped: Annotated[
        bool, typer.Option("--dropped", help="Stop every unfinished task that no sweep needs any more.")
    ] = False,
) -> None:
    """Stop sweeps, runs or single tasks. Results so far are kept; submit again to resume."""
    from rsctl.cluster import control
    from rsctl.cluster import dropped as unwanted
    from rsctl.config.settings import load_settings

    if not names and not dropped:
        raise InputError("cancel: give a sweep, a run, a task (RUN/N) or --dropped.")
    place = load_settings()
    tasks, others = control.cancel(place, names) if names else ([], {})
    found = unwanted.dropped_tasks(place) if dropped else []
    left = unwanted.stop(place, found)
    kept = {status.task.key for status in left}
    _name_tasks("cancelled", tasks + [status.task for status in found if status.task.key not in kept])
    for key, user in others.items():
        print(f"not stopped: {key}: user {user} submitted it, and only they can cancel it", file=sys.stderr)
    for status in left:
        print(
            f"not stopped: {status.task.run.id} task {status.task.number}: {status.reason}", file=sys.stderr
        )


def retry(
    name: Annotated[str, typer.Argument(metavar="SWEEP|RUN", help="A sweep, a run or a task (RUN/N).")],
    number: Annotated[int | None, typer.Argument(metavar="[N]", help="Task number, for a run.")] = None,
    minutes: Annotated[int | None, typer.Option(min=1, help="New time limit, after a TIMEOUT.")] = None,
    memory_gb: Annotated[
        float | None, typer.Option(min=0.1, help="New memory limit, after an OUT_OF_MEMORY.")
    ] = None,
    of: Of = None,
) -> None:
    """Restart tasks that failed, were lost or were cancelled."""
    from rsctl.cluster import retry
    from rsctl.config.settings import load_settings

    if number is not None and re.search(r"/\d+$", name):
        raise InputError(f"retry: {name} names a task already; leave out {number}.")
    which = name if number is None else f"{name}/{number}"
    tasks, note = retry.retry(load_settings(), which, minutes=minutes, memory_gb=memory_gb, of=of or ())
    _name_tasks("restarted", tasks)
    if note:
        print(note, file=sys.stderr)


def _name_tasks(what: str, tasks: list[Task]) -> None:
    for task in tasks:
        print(f"{what}: {task.run.id} task {task.number}")
    if not tasks:
        print(f"no task was {what}")


def task(
    run_name: Annotated[str, typer.Argument(metavar="RUN", help="A run's id or path.")],
    number: Annotated[int, typer.Argument(metavar="N", help="Task number.")],
) -> None:
    """Run one task in this process, for example on an interactive node or in a debugger. Every backend starts tasks this way."""
    from rsctl.cluster.task import run_task
    from rsctl.config.settings import load_settings
    from rsctl.plan.tasks import Task
    from rsctl.store.layout import Store
    from rsctl.store.received import require_extendable
    from rsctl.store.trust import MODE

    place = load_settings()
    os.environ.setdefault(MODE, place.settings.local().store_mode)
    run = Store(place.store).find_run(run_name)
    run.require_task(number)
    if Task(run, number).is_done:
        print(f"task {number} of {run.id} is already done")
    else:
        require_extendable(run, ())
        leave(run_task(run, number))
