"""What tests of the whole chain share: a sweep that trains in a second, its store, the real command line."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsctl.cluster.local.processes import task_processes
from rsctl.cluster.local.requests import own_queue, task_of
from rsctl.cluster.task import module_of
from rsctl.config.settings import Place, load_settings
from rsctl.config.sweep import build_sweep
from rsctl.plan.commit import Committed, commit
from rsctl.plan.plan import make_plan
from rsctl.plan.tasks import Task
from rsctl.store.attempts import Claim, here
from rsctl.store.layout import Run, Store
from rsctl.store.run_kinds import RunKind
from rsctl.store.task_context import TaskContext

TINY: dict[str, Any] = {
    "name": "tiny",
    "dataset": "digits",
    "model": {"name": "cnn", "width": 4},
    "method": "gaussian",
    "sigma": 0.5,
    "training": {"epochs": 2, "warmup_epochs": 0.0},
    "certification": {"n0": 50, "n": 200, "max_images": 20, "shards": 2, "tile": 100, "block": 50},
    "resources": {"training": {"threads": 1, "gpus": 0}, "certification": {"threads": 1, "gpus": 0}},
}


def tiny(**changes: Any) -> dict[str, Any]:
    """The tiny sweep with other values; a table is merged with its own."""
    values = dict(TINY)
    for key, value in changes.items():
        values[key] = (
            {**values[key], **value}
            if isinstance(value, dict) and isinstance(values.get(key), dict)
            else value
        )
    return values


def toml(values: dict[str, Any], prefix: str = "") -> str:
    """Nested dicts as TOML (plain values first, then tables)."""

    def text(value: Any) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, list):
            return f"[{', '.join(text(item) for item in value)}]"
        if isinstance(value, dict):
            return f"{{ {', '.join(f'{key} = {text(item)}' for key, item in value.items())} }}"
        return '"' + value + '"' if isinstance(value, str) else repr(value)

    plain = [f"{key} = {text(value)}" for key, value in values.items() if not isinstance(value, dict)]
    tables = [
        f"[{prefix}{key}]\n{toml(value, f'{prefix}{key}.')}"
        for key, value in values.items()
        if isinstance(value, dict)
    ]
    return "\n".join(plain + tables)


class StopsAfter(TaskContext):
    """A work that is told to stop after so many tiles, as by SIGTERM."""

    tiles = 0

    def stopping(self) -> str:
        self.tiles -= 1
        if self.tiles < 0:
            self.request_stop("test")
        return super().stopping()


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Chain:
    """A store of its own, worked on in this process or by the real command line."""

    folder: Path

    @property
    def place(self) -> Place:
        return load_settings()

    @property
    def store(self) -> Store:
        return Store(self.place.store)

    def file(self, values: dict[str, Any] | str, name: str = "sweep.toml") -> Path:
        path = self.folder / name
        path.write_text(values if isinstance(values, str) else toml(values))
        return path

    def plan(self, values: dict[str, Any], *, update: bool = False) -> Committed:
        """Plan a sweep and write it; nothing is started."""
        sweep = build_sweep(values, "sweep.toml", self.place.data, self.store.planned)
        return commit(make_plan(sweep, "sweep.toml", self.store), self.place, update=update)

    def work(self, task: Task, kind: type[TaskContext] = TaskContext) -> TaskContext:
        """A new attempt at a task, in this process."""
        claim = Claim.take(task.run, task.number, here())
        return kind(task.run, task.number, claim, self.place.data, task.run.launch())

    def run(self, task: Task, kind: type[TaskContext] = TaskContext) -> TaskContext:
        """Do a task in this process; the work says how it went."""
        work = self.work(task, kind)
        importlib.import_module(module_of(task.run)).main(work)
        work.claim.end("done", "")
        return work

    def run_all(self, values: dict[str, Any], *, update: bool = False) -> Committed:
        """Plan a sweep and do every task of it in this process."""
        committed = self.plan(values, update=update)
        for request in committed.requests:
            self.run(request.task)
        return committed

    def counts_run(self) -> Run:
        """The only certification run of the store."""
        (run,) = self.store.runs("counts")
        return run

    def cli(self, *arguments: str | Path, timeout: float = 120, **env: str) -> Finished:
        """The real command line in a process of its own; a traceback is a failure whatever the test is about."""
        done = subprocess.run(
            [sys.executable, "-m", "rsctl", *map(str, arguments)], cwd=self.folder, env={**os.environ, **env},
            capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert "Traceback" not in done.stderr + done.stdout, done.stderr
        return Finished(done.returncode, done.stdout, done.stderr)

    def pids(self) -> list[int]:
        """The task processes of this store."""
        return [pid for pid, _ in task_processes(self.store).values()]

    def queue_pid(self) -> int:
        """The queue process that serves this store, or 0."""
        return queue_pid(self.store)

    def attempts(self) -> dict[str, int]:
        """How many attempts every task of the store has had."""
        from rsctl.store.attempts import attempt_numbers

        return {
            f"{run.id}/{task}": len(numbers)
            for kind in RunKind
            for run in self.store.runs(kind)
            for task, numbers in attempt_numbers(run).items()
        }


def queue_pid(store: Store) -> int:
    """The oldest queue process of a store, or 0: the one that serves it."""
    return min(queue_pids(store), default=0)


def queue_pids(store: Store) -> list[int]:
    """The queue processes of a store, living ones."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
            given = Path(f"/proc/{name}/environ").read_bytes().split(b"\0")
            state = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if (
            b"rsctl.cluster.local.queue" in words
            and f"RSCTL_STORE={store.root}".encode() in given
            and state != "Z"
        ):
            found.append(int(name))
    return found


def end_processes(store: Store) -> None:
    """Kill the queue first, then its tasks."""
    for _ in range(100):
        found = [*queue_pids(store), *(pid for pid, _ in task_processes(store).values())]
        if not found:
            return
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.05)
    raise AssertionError(f"processes {found} of {store.root} don't die")


def wait_until(condition: Any, seconds: float = 60.0, *, every: float = 0.05) -> None:
    """Wait for something that another process does; a limit only so that a broken one fails."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, "it never happened"
        time.sleep(every)


def wanted(store: Store) -> list[Task]:
    """Tasks that this host's queue still has to do."""
    return [task_of(store, key) for key in own_queue(store).wanted()]
