"""Submits a sweep file and optionally waits until its tasks have finished."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsctl.cli.common import loudly, show
from rsctl.text import counted

if TYPE_CHECKING:
    from rsctl.cluster.task_status import TaskStatus


def submit_sweep(
    file: Path,
    cluster: str,
    *,
    update: bool,
    wait: bool,
    as_json: bool,
    stop_dropped: bool = False,
    of: Sequence[str] = (),
) -> int:
    """Start a sweep or resume it; with `wait`, print its table at the end. Returns the exit code."""
    from rsctl.cluster.dropped import submit
    from rsctl.config.settings import load_settings

    place = load_settings()
    done, dropped = submit(file, place, cluster, update=update, of=of)
    committed, name = done.committed, done.plan.sweep.name
    for note in committed.notes:
        print(note, file=sys.stderr)
    _dropped(place, dropped, stop_dropped)
    summary = {
        "sweep": name,
        "tasks": len(committed.requests) + committed.done,
        "done": committed.done,
        "started": done.added,
        "held_back": done.held_back,
        "dropped": len(dropped),
    }
    if as_json and not wait:
        print(json.dumps(summary))
    else:
        waiting = len(committed.requests) - done.added - done.held_back
        print(
            f"{name}: {counted(committed.done + len(committed.requests), 'task')}, {committed.done} done, {done.added} submitted"
            + (f", {waiting} already under way" if waiting else ""),
            file=sys.stderr,
        )
    if wait:
        return _wait(place, name, as_json, held_back=bool(done.held_back))
    if committed.requests:
        print(
            f"'rsctl status {name} --watch' shows its progress, 'rsctl' opens the dashboard, 'rsctl logs RUN --follow' shows a run's log.",
            file=sys.stderr,
        )
    return 0


def _dropped(place: Any, dropped: list[TaskStatus], stop: bool) -> None:
    """Stop the tasks that an update dropped, or report that they are still running."""
    from rsctl.cluster import dropped as unwanted

    if not dropped:
        if stop and (before := len(unwanted.dropped_tasks(place))):
            print(
                f"This update drops no open task; {before} {'task' if before == 1 else 'tasks'} dropped by earlier updates "
                f"{'is' if before == 1 else 'are'} still open. 'rsctl cancel --dropped' stops them.",
                file=sys.stderr,
            )
        return
    left = unwanted.stop(place, dropped) if stop else []
    reasons = {status.task.key: f"not stopped: {status.reason}" for status in left}
    for status in dropped:
        what = reasons.get(status.task.key, "stopped") if stop else status.state.value
        print(f"dropped: {status.task.run.id} task {status.task.number}: {what}", file=sys.stderr)
    if not stop:
        print(
            f"{counted(len(dropped), 'open task')} that no sweep needs any more {'continues' if len(dropped) == 1 else 'continue'}. "
            "'rsctl cancel --dropped' stops them; --stop-dropped does so with the update itself.",
            file=sys.stderr,
        )


def _wait(place: Any, name: str, as_json: bool, held_back: bool) -> int:
    """Show progress on stderr until every task has finished, then print the table. Ctrl+C leaves the tasks running."""
    from rsctl.cluster import control, retry
    from rsctl.cluster.all_backends import notices
    from rsctl.cluster.status import ProgressLine, summarize
    from rsctl.mirror.follow import Follower
    from rsctl.store.attempts import State

    shown, looked = ProgressLine(sys.stderr), time.monotonic()
    mirror = Follower(place.settings.mirror)
    try:
        while True:
            found = control.sweep_statuses(place, name)
            shown.show(summarize(found.values()), notices())
            mirror.poll([name])
            if not held_back and all(
                s.state in (State.DONE, State.FAILED, State.CANCELLED, State.LOST, State.NEW)
                for s in found.values()
            ):
                break
            time.sleep(1)
            if time.monotonic() - looked > (10 if held_back else 5):
                if held_back:
                    held_back = bool(retry.submit_held_back(place, name))
                else:
                    control.revive_queue(place, name)
                looked = time.monotonic()
    except KeyboardInterrupt:
        shown.end()
        print(
            f"The tasks keep running. 'rsctl status {name}' shows them, 'rsctl cancel {name}' stops them.",
            file=sys.stderr,
        )
        return 130
    shown.end()
    if problem := mirror.end([name]):
        print(f"note: not mirrored: {problem}", file=sys.stderr)
    bad = [s for s in found.values() if s.state != State.DONE]
    for status in bad:
        print(
            f"{status.task.run.id} task {status.task.number}: {status.state.value}: {status.reason}",
            file=sys.stderr,
        )
    broken = _print_table(place, name, "json" if as_json else "md")
    return 1 if bad or broken else 0


def _print_table(place: Any, name: str, form: str) -> int:
    from rsctl.report.tables.formats import render
    from rsctl.results.sweep import sweep_results
    from rsctl.store.layout import Store

    results = sweep_results(Store(place.store), name)
    text = render(results, form)
    if form == "md":
        show(text)
    else:
        print(text, end="")
    return loudly(results.broken)
