"""Progress of sweeps, as text and as JSON values."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from rsctl.catalog.checkpoints import CHECKPOINT
from rsctl.catalog.weight_files import called
from rsctl.cluster.all_backends import notices
from rsctl.cluster.cascades import cascade_text, cascade_values
from rsctl.cluster.control import sweep_statuses
from rsctl.cluster.dropped import dropped_tasks, held_keys, wanted_keys
from rsctl.cluster.task_status import TaskStatus, owner_of_attempt
from rsctl.config.settings import Place
from rsctl.errors import InputError, UserError
from rsctl.owners import user_name
from rsctl.plain import plain, steer
from rsctl.store.attempts import State
from rsctl.store.damage import Damage
from rsctl.store.layout import Run, Store
from rsctl.store.pulled import pulled
from rsctl.store.received import describe, received
from rsctl.store.run_kinds import RunKind
from rsctl.store.sharing import owner_of_sweep
from rsctl.text import counted, duration, per_second

_ORDER = (
    State.RUNNING,
    State.QUEUED,
    State.WAITING,
    State.DONE,
    State.FAILED,
    State.LOST,
    State.CANCELLED,
    State.UNKNOWN,
    State.NEW,
)


@dataclass(frozen=True)
class Summary:
    """A summary of many tasks in one line."""

    states: dict[str, int]
    progress: float
    """Mean fraction done over the tasks."""
    again: int = 0
    """Tasks that redo work that a lost attempt hadn't saved."""

    @property
    def text(self) -> str:
        parts = [f"{count} {state}" for state, count in self.states.items()]
        return ", ".join([*parts, f"{self.again} redoing lost work"] if self.again else parts)


def summarize(found: Iterable[TaskStatus]) -> Summary:
    """Count tasks by state, in a fixed order, and average their progress."""
    everything = list(found)
    counted = Counter(status.state for status in everything)
    states = {state.value: counted[state] for state in _ORDER if counted[state]}
    progress = sum(s.progress for s in everything) / len(everything) if everything else 0.0
    return Summary(states, progress, sum(s.repeated > 0 for s in everything))


class ProgressLine:
    """A progress line on stderr, rewritten in place in a terminal and otherwise printed when it changes."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.shown, self.started = stream, "", time.monotonic()
        self.noticed: list[str] = []

    def show(self, summary: Summary, notices: list[str]) -> None:
        """Show the line, after any new warnings."""
        for notice in notices:
            if notice not in self.noticed:
                self._begin()
                self.stream.write(f"{notice}\n")
        self.noticed = notices
        if self.stream.isatty():
            seconds = int(time.monotonic() - self.started)
            self._begin()
            self.stream.write(f"{summary.progress:4.0%}  {summary.text}  {seconds} s")
        elif summary.text != self.shown:
            self.stream.write(f"{summary.progress:4.0%}  {summary.text}\n")
        self.shown = summary.text
        self.stream.flush()

    def _begin(self) -> None:
        if self.stream.isatty():
            steer(self.stream, "\r\x1b[K")

    def end(self) -> None:
        if self.stream.isatty():
            self.stream.write("\n")


def status_values(place: Place, sweep: str = "") -> dict[str, Any]:
    """Return every sweep, or one, as plain values; tasks are grouped by run."""
    store = Store(place.store)
    held, wanted, unknown = held_keys(store), set[str](), []
    sweeps: list[dict[str, Any]] = []
    damaged: list[dict[str, str]] = []
    damage = Damage(store)
    for name in [sweep] if sweep else [*store.sweep_names(), *store.import_only()]:
        try:
            sweeps.append(_sweep_values(place, name, wanted, damage, detailed=bool(sweep)))
        except (UserError, OSError) as error:
            if sweep:
                raise
            damaged.append({"name": name, "problem": str(error)})
    damage.keep()
    try:
        if damaged:
            wanted_keys(store)  # raises: the dropped tasks can't be determined
        found = dropped_tasks(place, held - (wanted_keys(store) if sweep else wanted))
    except InputError as error:
        # Another sweep than the requested one, whose status is complete.
        found, unknown = [], [str(error)]
    dropped = [{"run": s.task.run.key, **_task_values(s)} for s in found]
    return {
        "store": str(place.store), "sweeps": sweeps, "damaged": damaged, "dropped": dropped, "notices": notices() + unknown,
    }  # fmt: skip


def _sweep_values(
    place: Place, name: str, wanted: set[str], damage: Damage, *, detailed: bool
) -> dict[str, Any]:
    """Return the values of one sweep; adds the keys of its tasks to `wanted`."""
    store = Store(place.store)
    logs = store.import_names(name)
    planned = os.path.lexists(store.sweep_folder(name) / "plan.json") or not logs
    found = sweep_statuses(place, name) if planned else {}
    wanted.update(found)
    summary = summarize(found.values())
    progress = round(summary.progress, 4) if planned else 1.0
    tables = dict.fromkeys(s.task.run for s in found.values() if s.task.run.kind.is_table)
    damaged = {run.key: problems for run in tables if (problems := damage.of(run))}
    wrong = {s.task.run.key: s.warning for s in found.values() if s.warning}
    if remote := pulled(store, name):
        summary = Summary(remote["states"], remote["progress"])
        progress = round(summary.progress, 4)
    values: dict[str, Any] = {
        "name": name,
        **({"remote": remote} if remote else {}),
        "states": summary.states,
        "progress": progress,
        "imports": logs,
        "again": summary.again,
        "learned_nothing": wrong,
        "damaged": damaged,
        "received": _origin_of(store.sweep_folder(name)),
        "owner": owner_of_sweep(store, name) or _me(),
    }
    if detailed:
        runs: dict[str, list[TaskStatus]] = {}
        for status in found.values():
            runs.setdefault(status.task.run.key, []).append(status)
        if planned:
            values["cascades"] = cascade_values(store, store.sweep(name, numbers=False))
        values["runs"] = [_run_values(key, statuses) for key, statuses in runs.items()]
    return values


def _me() -> str:
    return user_name(os.geteuid())


def _network_of(key: str) -> str:
    """Return the model of a run by its key: a table's id is its model's with another hash appended."""
    kind, _, run = key.partition("/")
    return run.rpartition("-")[0] if RunKind(kind).is_table else run


def _run_values(key: str, found: list[TaskStatus]) -> dict[str, Any]:
    summary = summarize(found)
    rate = sum(s.rate for s in found)
    left = sum(s.total - s.done for s in found if s.state == State.RUNNING)
    return {
        "run": key,
        "file": _checkpoint_of(found[0].task.run),
        "received": _origin_of(found[0].task.run.path),
        "states": summary.states,
        "progress": round(summary.progress, 4),
        "unit": next((s.unit for s in found if s.unit), ""),
        "rate": round(rate, 3),
        "seconds_left": round(left / rate) if rate and summary.states.keys() <= {"running", "done"} else None,
        "learned_nothing": next((s.warning for s in found if s.warning), ""),
        "tasks": [_task_values(s) for s in found],
    }


def _origin_of(folder: Path) -> str:
    """Return the package that a run or a sweep was received in; empty for one of this store's own."""
    record = received(folder)
    return describe(record) if record else ""


def _checkpoint_of(run: Run) -> str:
    """Return the name of the file that a model is loaded from; empty for others, whose specs needn't be read."""
    if run.kind.is_table or not run.id.startswith(f"{CHECKPOINT.name}-"):
        return ""
    try:
        return called(run.train_spec.file)
    except UserError:
        return ""


def _task_values(status: TaskStatus) -> dict[str, Any]:
    return {
        "task": status.task.number, "state": status.state.value, "reason": status.reason, "done": status.done, "total": status.total,
        "attempt": status.attempt, "node": status.node, "updated": status.updated, "owner": owner_of_attempt(status) or (_me() if status.attempt else ""),
    }  # fmt: skip


def status_text(values: dict[str, Any]) -> str:
    """Format the values of `status_values` for a terminal."""
    if not values["sweeps"] and not values["damaged"] and not values["dropped"]:
        return f"No sweeps in {values['store']} yet. Start with 'rsctl templates' and 'rsctl new quickstart'."
    lines = [plain(notice) for notice in values["notices"]]
    wide = max([32, *(len(sweep["name"]) for sweep in values["sweeps"])])
    for sweep in values["sweeps"]:
        parts = [f"{n} {s}" for s, n in sweep["states"].items()]
        if remote := sweep.get("remote"):
            named = "" if remote["sweep"] == sweep["name"] else f" as {plain(remote['sweep'])}"
            parts.append(f"on {plain(remote['remote'])}{named} {duration(time.time() - remote['time'])} ago")
        elif sweep["received"]:
            parts.append("received")
        if sweep["owner"] != _me():
            parts.append(f"of user {plain(sweep['owner'])}")
        if sweep["again"]:
            parts.append(f"{sweep['again']} redoing lost work")
        if logs := len(sweep["imports"]):
            parts.append(counted(logs, "imported log"))
        if wrong := len({_network_of(key) for key in sweep["learned_nothing"]}):
            parts.append(f"{counted(wrong, 'network')} LEARNED NOTHING")
        if wrong := sum(map(len, sweep["damaged"].values())):
            parts.append(
                f"{counted(wrong, 'data file')} DAMAGED: 'rsctl status {sweep['name']}' names {'it' if wrong == 1 else 'them'}"
            )
        lines.append(f"{sweep['name']:{wide}} {sweep['progress']:4.0%}  {', '.join(parts)}")
        for run in sweep.get("runs", []):
            rate = f"  {per_second(run['rate'], run['unit'])}" if run["rate"] else ""
            left = (
                f"  {duration(run['seconds_left'])} left"
                if run["seconds_left"] is not None and run["rate"]
                else ""
            )
            named = f" ({plain(run['file'])})" if run["file"] else ""
            others = sorted({task["owner"] for task in run["tasks"]} - {"", _me()})
            named += f" (run by user {', '.join(map(plain, others))})" if others else ""
            lines.append(
                f"  {run['progress']:4.0%}  {run['run']}{named}  {', '.join(f'{n} {s}' for s, n in run['states'].items())}{rate}{left}"
            )
            if run["received"]:
                lines.append(f"        {plain(run['received'])}")
            if run["learned_nothing"]:
                lines.append(f"        LEARNED NOTHING: {plain(run['learned_nothing'])}")
            lines += [
                f"        DAMAGED: {plain(problem)}" for problem in sweep["damaged"].get(run["run"], ())
            ]
            for task in run["tasks"]:
                if task["reason"] and task["state"] != "done":
                    lines.append(f"        task {task['task']}: {task['state']}: {plain(task['reason'])}")
        lines += map(cascade_text, sweep.get("cascades", []))
    lines += [f"{plain(one['name']):32} can't be read: {plain(one['problem'])}" for one in values["damaged"]]
    if dropped := values["dropped"]:
        lines.append(
            f"{counted(len(dropped), 'open task')} that no sweep needs; 'rsctl cancel --dropped' stops them:"
        )
        lines += [
            f"  {task['run']} task {task['task']}: "
            + ": ".join(filter(None, [task["state"], plain(task["reason"])]))
            for task in dropped
        ]
    return "\n".join(lines)
