"""The local queue: a small detached process that starts tasks as slots, GPUs and dependencies allow.

At most one per store, user and host (it holds a lock). It decides from files alone: requests, attempt files and
artifacts. Killed at any moment it loses nothing: its tasks live on in sessions of their own, and the next
queue sees their claims.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsctl.cluster.local.processes import TASK_MODULE, gpus_of, start_process, task_processes, visible_gpus
from rsctl.cluster.local.requests import Queue, all_queues, own_queue, task_of
from rsctl.config.settings import LocalProfile, find_settings, load_settings
from rsctl.errors import UserError
from rsctl.owners import is_mine
from rsctl.plan.tasks import Task
from rsctl.store.attempts import (
    Attempt,
    State,
    attempt_numbers,
    latest_attempt,
    process_start,
    read_attempt,
)
from rsctl.store.exclusion import exclusive
from rsctl.store.layout import Store
from rsctl.store.provenance import verify_code
from rsctl.store.trust import MODE, check_task

TICK = 0.25
_LOCK_ATTEMPTS = 8
"""Attempts of a queue that finds the lock held, a tick apart, before it leaves the work to the other."""
KILL_AFTER = 30.0


@dataclass
class Running:
    """A task started by this queue or by an earlier one."""

    threads: int
    gpus: list[int]
    pid: int
    start: str
    """Start time of the process: with the pid it identifies it uniquely."""
    child: subprocess.Popen[bytes] | None = None
    """None if an earlier queue or a user started it."""
    signalled: float = 0.0
    """Time of the last signal to stop; 0 if it got none."""

    @property
    def lives(self) -> bool:
        return self.child.poll() is None if self.child else process_start(self.pid) == self.start


class QueueProcess:
    """Starts, watches and stops the tasks of one user's queue on one host."""

    def __init__(self, queue: Queue, profile: LocalProfile) -> None:
        self.queue, self.profile = queue, profile
        self.cpus = profile.cpus or len(os.sched_getaffinity(0))
        self.gpus = visible_gpus(profile)
        self.running: dict[str, Running] = {}
        self.earlier = task_processes(queue.store)
        self.unclaimed: Counter[str] = Counter()
        """Number of times that a task's process ended before it claimed the task: no attempt records those."""
        self.leaving = False

    def serve(self) -> None:
        """Serve requests until there are none. Runs only while it holds the lock."""
        signal.signal(signal.SIGTERM, self._leave)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        while not self.leaving:
            begun = time.process_time()
            try:
                busy = self.tick()
            except (UserError, OSError) as error:
                # The disk may be full or unavailable for a while: log it, wait, continue.
                log_line(str(error))
                time.sleep(5)
                continue
            if not busy:
                return
            # Checking a thousand waiting tasks takes 60 ms: never use more than a twentieth of a core.
            time.sleep(max(TICK, 20 * (time.process_time() - begun)))

    def _leave(self, *_: object) -> None:
        self.leaving = True

    def tick(self) -> bool:
        """Check all requests and processes once; returns False when there is nothing left to do."""
        wanted = self.queue.wanted()
        self._reap(wanted)
        for key, request in wanted.items():
            if key not in self.running:
                try:
                    self._consider(key, request, wanted)
                except (IsADirectoryError, NotADirectoryError) as error:
                    # A file where a folder should be, or the reverse, concerns one run only: other tasks continue.
                    self._end(key, State.FAILED, f"its files can't be used: {error}")
        return bool(self.running or self.queue.wanted())

    def _reap(self, wanted: dict[str, dict[str, Any]]) -> None:
        """Forget tasks that ended; stop those that are no longer requested."""
        for key, entry in list(self.running.items()):
            if not entry.lives:
                del self.running[key]
                attempt = self._attempt(key)
                if attempt is None or attempt.claim.get("pid") != entry.pid:
                    self.unclaimed[key] += 1
            elif key not in wanted:
                self._stop(key, entry)
        for key in [key for key in self.unclaimed if key not in wanted]:
            del self.unclaimed[key]

    def _stop(self, key: str, entry: Running) -> None:
        """Send SIGTERM, so that it writes a snapshot, then SIGKILL if it doesn't exit."""
        if entry.signalled and time.monotonic() - entry.signalled < KILL_AFTER:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(entry.pid, signal.SIGKILL if entry.signalled else signal.SIGTERM)
        log_line(f"{key}: sent {'SIGKILL' if entry.signalled else 'SIGTERM'}")
        entry.signalled = time.monotonic()

    def _consider(self, key: str, request: dict[str, Any], wanted: dict[str, dict[str, Any]]) -> None:
        """Start a requested task, adopt it, remove its request, or let it wait."""
        task = task_of(self.queue.store, key)
        since = [
            read_attempt(task.run, task.number, n)
            for n in attempt_numbers(task.run).get(task.number, [])
            if n > request["after"]
        ]
        last = since[-1] if since else latest_attempt(task.run, task.number)
        lives = last is not None and last.alive
        ended = bool(since) and since[-1].ended in ("done", "failed")
        others = last is not None and (lives or ended) and not is_mine(last.file)
        if others and (refusal := self._refusal(task)):
            self._end(key, State.FAILED, refusal)
        elif last and lives:
            if others:
                return  # another member of the group is running it
            self._adopt(key, request, last.claim["pid"], last.claim["start"])
        elif key in self.earlier and process_start(self.earlier[key][0]) == self.earlier[key][1]:
            self._adopt(key, request, *self.earlier[key])
        elif ended:
            self.queue.finish(key)
            log_line(f"{key}: {since[-1].ended} {since[-1].reason}")
        elif deaths_without_progress(since) >= self.profile.attempts:
            why = f"exited {self.profile.attempts} times with no recorded error and no progress"
            self._end(key, State.LOST, f"{why}; see its log ({task.run.log_file(task.number)})")
        elif self.unclaimed[key] >= self.profile.attempts:
            why = f"its process exited {self.unclaimed[key]} times before it could begin"
            self._end(key, State.FAILED, f"{why}; see its log ({task.run.log_file(task.number)})")
        elif blocked := self._blocked(request, wanted):
            self._end(key, State.CANCELLED, blocked)
        elif all(task_of(self.queue.store, need).is_done for need in request["needs"]):
            self._start(key, task, request)

    def _refusal(self, task: Task) -> str:
        """Return the reason why another user's files prevent running a task here, or empty."""
        try:
            check_task(task.run, task.number, group=self.profile.of_group)
        except UserError as error:
            return str(error)
        return ""

    def _adopt(self, key: str, request: dict[str, Any], pid: int, start: str) -> None:
        """Watch a process that this queue didn't start, with the GPUs assigned to it."""
        self.running[key] = Running(request["threads"], gpus_of(pid), pid, start)
        log_line(f"{key}: adopted, pid {pid}")

    def _end(self, key: str, state: State, reason: str) -> None:
        self.queue.end(key, state, reason)
        log_line(f"{key}: {reason}")

    def _attempt(self, key: str) -> Attempt | None:
        task = task_of(self.queue.store, key)
        return latest_attempt(task.run, task.number)

    def _blocked(self, request: dict[str, Any], wanted: dict[str, dict[str, Any]]) -> str:
        """Return the reason why a dependency will never be available, or empty."""
        for need in request["needs"]:
            task = task_of(self.queue.store, need)
            if task.is_done or need in wanted or need in self.running:
                continue
            attempt = latest_attempt(task.run, task.number)
            ending = self.queue.endings().get(need, {})
            if attempt and attempt.alive is not False:
                continue  # it is running, here by hand or on another host
            if any(queue.request_file(need).exists() for queue in all_queues(self.queue.store)):
                continue
            if task.is_done:
                continue  # it ended between the checks
            level = task.run.kind.is_table
            what = f"the task {need} that it needs" if level else f"its model {task.run.id}"
            if attempt and attempt.ended == "failed":
                return f"{what} failed: {attempt.reason}"
            return f"{what} will not be {'run' if level else 'trained'} ({ending.get('reason') or 'not submitted'})"
        return ""

    def _start(self, key: str, task: Task, request: dict[str, Any]) -> None:
        threads, needed = request["threads"], request["gpus"]
        gpus = min(1, len(self.gpus)) if needed == "auto" else needed
        free = [gpu for gpu in self.gpus if all(gpu not in entry.gpus for entry in self.running.values())]
        in_use = sum(entry.threads for entry in self.running.values())
        # A task that requests more threads than the machine has runs alone.
        if len(free) < gpus or (self.running and in_use + threads > self.cpus):
            return
        group = self.profile.of_group
        try:
            check_task(task.run, task.number, group=group)
            packages = task.run.launch()["plugins"]
            code = verify_code(self.queue.store.root, request["code"], packages, group=group)
        except UserError as error:
            self._end(key, State.FAILED, str(error))
            return
        environment = {
            MODE: self.profile.store_mode,
            "PYTHONPATH": os.pathsep.join([str(code), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "CUDA_VISIBLE_DEVICES": ",".join(map(str, free[:gpus])),
        }
        log = task.run.log_file(task.number)
        child = start_process(
            TASK_MODULE, str(task.run.path), str(task.number), log=log, environment=environment
        )
        self.running[key] = Running(threads, free[:gpus], child.pid, process_start(child.pid), child)
        log_line(f"{key}: started, pid {child.pid}")


def deaths_without_progress(attempts: list[Attempt]) -> int:
    """Count the last attempts that ended without a result and without more progress than those before."""
    deaths, furthest = 0, -1.0
    for attempt in attempts:
        done = float(attempt.progress.get("done", 0))
        deaths = 1 if done > furthest else deaths + 1
        furthest = max(furthest, done)
    return deaths


def log_line(text: str) -> None:
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}", flush=True)


def only_one(queue: Queue) -> AbstractContextManager[bool]:
    """Hold the queue's lock; yields True if it was free."""
    queue.make()
    return exclusive(queue.lock, wait=False)


def main() -> None:
    """Serve this user's queue on this host until it is empty; exits at once if another process serves it."""
    place = load_settings()
    queue = own_queue(Store(place.store))
    profile = place.settings.local(os.environ.get("RSCTL_PROFILE", "local"))
    queue.take_over()
    refused = 0
    while True:
        with only_one(queue) as mine:
            if not mine:
                # Its holder may be exiting, or only testing whether it is held.
                refused += 1
                if refused > _LOCK_ATTEMPTS:
                    return
                time.sleep(TICK)
                continue
            log_line(f"queue serves {queue.store.root}, pid {os.getpid()}")
            process = QueueProcess(queue, profile)
            process.serve()
            log_line("queue leaves")
        # A request may have arrived between the last check and the release, while its own queue found the lock held.
        if process.leaving or not queue.wanted():
            return


def start_detached(store_root: Path, profile: str) -> None:
    """Make sure that a queue serves this store; returns at once."""
    queue = own_queue(Store(store_root))
    queue.make()
    environment = {"RSCTL_STORE": str(store_root), "RSCTL_PROFILE": profile}
    if settings := find_settings():
        environment["RSCTL_CONFIG"] = str(settings.absolute())
    start_process("rsctl.cluster.local.queue", log=queue.log, environment=environment)


if __name__ == "__main__":
    main()
