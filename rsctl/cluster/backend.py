"""The protocol that every backend implements."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from rsctl.plan.tasks import Request, Task
from rsctl.store.attempts import State
from rsctl.text import counted


@dataclass(frozen=True)
class BackendState:
    """A backend's view of a task, beyond its files."""

    state: State
    reason: str = ""
    node: str = ""
    since: float = 0.0
    """Unix time of the submission or note that this is about: of two backends, the later one is right."""
    done: float = 0.0
    total: float = 0.0
    """Work done and all of it, where the backend knows more than the task's files; else 0."""


@dataclass(frozen=True)
class SubmitResult:
    """The result of a submission."""

    added: int
    """Tasks that are new to the backend."""
    held_back: tuple[Task, ...] = ()
    """Tasks that it has no room for at present."""
    why: str = ""
    """The limit that applies, as a sentence without a full stop."""

    @property
    def note(self) -> str:
        """A message for the user; empty if every task was submitted."""
        if not self.held_back:
            return ""
        return f"{counted(len(self.held_back), 'task')} {'was' if len(self.held_back) == 1 else 'were'} held back: {self.why}. Submit again when some tasks have finished; --wait does it automatically."


class Observer(Protocol):
    """Polls and cancels tasks. Its methods may block, so they are never called on a UI thread."""

    def poll(self, tasks: Iterable[Task]) -> dict[str, BackendState]:
        """Return the state of unfinished tasks by `Task.key`; unknown tasks are left out."""
        ...

    def cancel(self, tasks: Iterable[Task]) -> int:
        """Cancel these tasks, running or not; returns how many it knew."""
        ...


class Backend(Observer, Protocol):
    """An observer that also accepts submissions."""

    @property
    def name(self) -> str:
        """The profile's name."""
        ...

    def submit(self, requests: list[Request]) -> SubmitResult:
        """Submit these tasks in order, as far as there is room."""
        ...
