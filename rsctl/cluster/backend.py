"""What a place to run tasks must do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from rsctl.plan.tasks import Request, Task
from rsctl.store.attempts import State
from rsctl.text import counted


@dataclass(frozen=True)
class BackendState:
    """What a backend knows of a task, beyond its files."""

    state: State
    reason: str = ""
    node: str = ""
    since: float = 0.0
    """Unix time of the submission or note that this is about: of two backends, the later one is right."""


@dataclass(frozen=True)
class HandedOver:
    """What became of a submission."""

    added: int
    """Tasks that the backend didn't have already."""
    held_back: tuple[Task, ...] = ()
    """Tasks that it has no room for now."""
    why: str = ""
    """What limits it, as a sentence without its stop."""

    @property
    def note(self) -> str:
        """What a person has to know; empty if everything was handed over."""
        if not self.held_back:
            return ""
        return f"{counted(len(self.held_back), 'task')} {'was' if len(self.held_back) == 1 else 'were'} not handed over: {self.why}. Submit again when some have ended; --wait does it by itself."


class Observer(Protocol):
    """Sees and stops tasks. Everything that may block is here; nothing of it is called on a UI thread."""

    def poll(self, tasks: Iterable[Task]) -> dict[str, BackendState]:
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

    def submit(self, requests: list[Request]) -> HandedOver:
        """Take over these tasks, in their order as far as there is room for them."""
        ...
