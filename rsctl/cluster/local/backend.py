"""The local backend: submits tasks to this machine's detached queue and reads their state."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rsctl.cluster.backend import BackendState, SubmitResult
from rsctl.cluster.local.processes import task_processes, visible_gpus
from rsctl.cluster.local.queue import KILL_AFTER, start_detached
from rsctl.cluster.local.requests import Queue, all_queues, own_queue, task_of
from rsctl.config.settings import LocalProfile
from rsctl.errors import InputError
from rsctl.owners import is_mine, user_name
from rsctl.plan.tasks import Request, Task
from rsctl.store.attempts import State, latest_attempt, process_start
from rsctl.store.exclusion import is_held
from rsctl.store.layout import Store


@dataclass(frozen=True)
class LocalBackend:
    """Tasks as processes of this machine."""

    name: str
    profile: LocalProfile
    store: Store

    def submit(self, requests: list[Request]) -> SubmitResult:
        """Add requests to this user's queue on this host and start it; tasks that another queue holds are skipped.

        Other users' queues count only in a group's store.
        """
        wanted_gpus = max(
            (r.resources.gpus for r in requests if isinstance(r.resources.gpus, int)), default=0
        )
        if wanted_gpus and wanted_gpus > len(found := visible_gpus(self.profile)):
            raise InputError(
                f"resources: {wanted_gpus} GPUs requested; this machine has {len(found)}. Set gpus = 0, or choose another profile."
            )
        mine = own_queue(self.store)
        mine.take_over()
        elsewhere = {
            key
            for queue in all_queues(self.store)
            if queue != mine and (queue.is_mine or queue.user is None or self.profile.of_group)
            for key in queue.wanted()
        }
        added = sum(mine.add(request) for request in requests if request.task.key not in elsewhere)
        if requests:
            start_detached(self.store.root, self.name)
        return SubmitResult(added)

    def poll(self, tasks: Iterable[Task]) -> dict[str, BackendState]:
        """Read queue files and running processes; skips tasks that no queue knows."""
        wanted: dict[str, dict[str, Any]] = {}
        ended: dict[str, dict[str, Any]] = {}
        queues: dict[str, Queue] = {}
        for queue in all_queues(self.store):
            ended |= queue.endings() if queue.is_mine or queue.user is None else _lasting(queue)
            for key, request in queue.wanted().items():
                wanted[key], queues[key] = request, queue
        seen: dict[str, BackendState] = {}
        for task in tasks:
            if task.key in wanted:
                seen[task.key] = self._wanted(task, wanted[task.key], queues[task.key])
            elif task.key in ended:
                note = ended[task.key]
                seen[task.key] = BackendState(State(note["state"]), note["reason"])
        return seen

    def _wanted(self, task: Task, request: dict[str, Any], queue: Queue) -> BackendState:
        host = queue.where
        attempt = latest_attempt(task.run, task.number)
        alive = attempt.alive if attempt else False
        if alive:
            return BackendState(State.RUNNING, node=host)
        if attempt and alive is None:
            return BackendState(State.UNKNOWN, attempt.unseen, host)
        for need in request["needs"]:
            if not (needed := task_of(self.store, need)).is_done:
                what = needed.key if needed.run.kind.is_table else f"the model {needed.run.id}"
                return BackendState(State.WAITING, f"waits for {what}", host)
        if queue.host == own_queue(self.store).host and not is_held(queue.lock):
            return BackendState(
                State.QUEUED, "waits for the queue to start; if it doesn't, submit again", host
            )
        return BackendState(State.QUEUED, f"waits for a free slot on {host}", host)

    def revive(self) -> None:
        """Restart this host's queue if it died while tasks are waiting."""
        queue = own_queue(self.store)
        queue.take_over()
        if queue.wanted() and not is_held(queue.lock):
            start_detached(self.store.root, self.name)

    def cancel(self, tasks: Iterable[Task]) -> int:
        """Remove the requests and stop this host's processes; other hosts' queues stop theirs. Tasks of other users
        keep running.

        Returns once this host's processes have exited: SIGTERM comes first, so that they write a snapshot.
        """
        tasks = list(tasks)
        for queue in all_queues(self.store):
            if queue.is_mine or queue.user is None:
                for task in tasks:
                    queue.end(task.key, State.CANCELLED, "cancelled by you")
        living = processes_of(self.store, tasks)
        count, started, kill = len(living), time.monotonic(), signal.SIGTERM
        _send(living, kill)
        while living and time.monotonic() - started < 2 * KILL_AFTER:
            if kill == signal.SIGTERM and time.monotonic() - started > KILL_AFTER:
                kill = signal.SIGKILL
                _send(living, kill)
            time.sleep(0.05)
            living = {pid: start for pid, start in living.items() if process_start(pid) == start}
        return count


def processes_of(store: Store, tasks: list[Task]) -> dict[int, str]:
    """Return the start times by pid of the processes on this host that run these tasks, including any that haven't claimed theirs yet."""
    running = task_processes(store)
    found = dict(running[task.key] for task in tasks if task.key in running)
    for task in tasks:
        attempt = latest_attempt(task.run, task.number)
        # Another user's claim may contain the pid of any process of this user.
        if attempt and is_mine(attempt.file) and attempt.alive:
            found[attempt.claim["pid"]] = attempt.claim["start"]
    return found


def _lasting(queue: Queue) -> dict[str, dict[str, Any]]:
    """Return notes of another user's queue, without tasks that have since failed in another queue."""
    found = {}
    for key, note in queue.endings().items():
        task = task_of(queue.store, key)
        attempt = latest_attempt(task.run, task.number)
        if attempt is None or attempt.ended != "failed":
            by = f"by user {user_name(queue.user or 0)}"
            found[key] = {**note, "reason": str(note["reason"]).replace("by you", by)}
    return found


def of_others(store: Store, tasks: Iterable[Task]) -> dict[str, str]:
    """Return the names of the users who submitted or run these tasks, by key, for other users' tasks: only they can stop them."""
    keys = {task.key: task for task in tasks}
    found: dict[str, str] = {}
    for queue in all_queues(store):
        if queue.user is not None and not queue.is_mine:
            found |= {key: user_name(queue.user) for key in queue.wanted() if key in keys}
    for key, task in keys.items():
        attempt = latest_attempt(task.run, task.number)
        if attempt and not is_mine(attempt.file) and attempt.alive:
            found[key] = user_name(attempt.file.stat().st_uid)
    return found


def _send(processes: dict[int, str], what: signal.Signals) -> None:
    for pid, start in processes.items():
        if process_start(pid) == start:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, what)
