"""Tasks and requests, which a plan submits to a backend. Cheap to import, because `status` needs no more of a plan."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from rsctl.config.sections import StageResources
from rsctl.store.layout import Run


@dataclass(frozen=True)
class Task:
    """One task of one run, the unit that a backend starts."""

    run: Run
    number: int

    @cached_property
    def key(self) -> str:
        """`models/<id>/0` or `counts/<id>/7`."""
        return f"{self.run.key}/{self.number}"


@dataclass(frozen=True)
class Request:
    """A task with its dependencies and resources."""

    task: Task
    needs: tuple[Task, ...]
    resources: StageResources
    code: str
    after: int
    """Number of its newest attempt at submission: if a later one is done, the task needs no other."""
