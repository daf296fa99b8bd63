"""Tasks and requests, which a plan submits to a backend. Cheap to import, because `status` needs no more of a plan."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from rsctl.config.runs import CountSpec
from rsctl.config.sections import StageResources
from rsctl.store.attempts import latest_attempt
from rsctl.store.layout import Run
from rsctl.store.run_kinds import RunKind


@dataclass(frozen=True)
class Task:
    """One task of one run, the unit that a backend starts."""

    run: Run
    number: int

    @cached_property
    def key(self) -> str:
        """`models/<id>/0` or `counts/<id>/7`."""
        return f"{self.run.key}/{self.number}"

    @property
    def is_done(self) -> bool:
        """True where what others need of it exists: a model, or the rows of a finished attempt."""
        if not self.run.kind.is_table:
            return self.run.model_file.exists()
        attempt = latest_attempt(self.run, self.number)
        return attempt is not None and attempt.ended == "done"

    @property
    def needs(self) -> tuple[Task, ...]:
        """The tasks that must be done before it: trainings, and those that sample its images at the earlier levels of a cascade."""
        store, spec = self.run.store, self.run.spec
        found = [Task(store.model(name), 0) for name in spec.needs]
        if isinstance(spec, CountSpec) and spec.needed:
            mine = set(self.run.images(self.number))
            levels = [store.run(RunKind.COUNTS, name) for name in spec.needed.runs]
            found += [
                Task(level, number)
                for level in levels
                for number in level.task_numbers()
                if not mine.isdisjoint(level.images(number))
            ]
        return tuple(found)


@dataclass(frozen=True)
class Request:
    """A task with its dependencies and resources."""

    task: Task
    needs: tuple[Task, ...]
    resources: StageResources
    code: str
    after: int
    """Number of its newest attempt at submission: if a later one is done, the task needs no other."""
