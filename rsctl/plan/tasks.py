"""Tasks and requests: what a plan hands to a backend. Light to import, for `status` needs no more of a plan."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from rsctl.config.sections import StageResources
from rsctl.store.layout import Run

STAGES = {
    "models": "training",
    "counts": "certification",
    "verifications": "verification",
    "attacks": "attack",
}
"""What the tasks of a folder do, by the name that its resources have."""
VERBS = {"models": "train", "counts": "certify", "verifications": "verify", "attacks": "attack"}


@dataclass(frozen=True)
class Task:
    """One task of one run: what a backend starts."""

    run: Run
    number: int

    @cached_property
    def key(self) -> str:
        """`models/<id>/0` or `counts/<id>/7`."""
        return f"{self.run.kind}/{self.run.id}/{self.number}"


@dataclass(frozen=True)
class Request:
    """A task with what it waits for and what it may use."""

    task: Task
    needs: tuple[Task, ...]
    resources: StageResources
    code: str
    after: int
    """Number of its newest attempt when it was found unfinished: a later one that is done needs no other."""
