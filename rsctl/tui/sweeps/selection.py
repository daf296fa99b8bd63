"""The row under the cursor of the sweeps, as its panel and the actions on it see it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rsctl.tui.views import Overview, RunView, SweepView, TaskView


@dataclass(frozen=True)
class Selection:
    """A row's sweep, run and task, None for those below its level."""

    overview: Overview
    key: str
    sweep: SweepView | None = None
    run: RunView | None = None
    task: TaskView | None = None

    @property
    def store(self) -> Path:
        return Path(self.overview.store)

    @property
    def runs(self) -> list[RunView]:
        """The run, or all runs of the sweep."""
        return [self.run] if self.run else list(self.sweep.runs) if self.sweep else []

    @property
    def title(self) -> str:
        """The name of the sweep, run or task."""
        if self.run is None:
            return f"{self.sweep.name} ({self.sweep.counts})" if self.sweep else ""
        return f"{self.run.title} · {self.task.name}" if self.task else self.run.title


def select(overview: Overview, key: str) -> Selection:
    """The selection of a row by its key: a sweep's name, a run's key, or a run's and a task's key."""
    name, _, rest = key.partition("/")
    sweep = next((sweep for sweep in overview.sweeps if sweep.name == name), None)
    if sweep is None or not rest:
        return Selection(overview, key, sweep)
    run_key, _, task_key = key.partition(" ")
    run = next((run for run in sweep.runs if run.key == run_key), None)
    task = next((task for task in run.tasks if task.key == task_key), None) if run and task_key else None
    return Selection(overview, key, sweep, run, task)
