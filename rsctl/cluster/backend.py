"""What a place to run tasks must do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from rsctl.plan.tasks import Request, Task
from rsctl.store.attempts import State


@dataclass(frozen=True)
class Seen:
    """What a backend knows of a task, beyond its files."""

    state: State
    reason: str = ""
    node: str = ""
    since: float = 0.0
    """Unix time of the submission or note that this is about: of two backends, the later one is right."""


class Observer(Protocol):
    """Sees and stops tasks. Everything that may block is here; nothing of it is called on a UI thread."""

    def poll(self, tasks: Iterable[Task]) -> dict[str, Seen]:
        """What it knows of unfinished tasks, by `Task.key`; a task it has never seen is left out."""
        ...

    def cancel(self, tasks: Iterable[Task]) -> int:
        """Stop these tasks, running or not; returns how many it had."""
        ...


class Backend(Observer, Protocol):
    """A place where tasks run."""

    @property
    def name(self) -> str:
        """The profile's name."""
        ...

    def submit(self, requests: list[Request]) -> int:
        """Take over these tasks; returns how many it didn't have already."""
        ...
