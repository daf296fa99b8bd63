"""Every place that may hold a task, as one: a sweep may have run here first and on a cluster later."""

from __future__ import annotations

from collections.abc import Iterable

from rsctl.catalog import plugin_problems
from rsctl.cluster.backend import BackendState
from rsctl.cluster.local.backend import LocalBackend
from rsctl.cluster.slurm.backend import SlurmBackend
from rsctl.cluster.slurm.states import ACTIVE
from rsctl.cluster.slurm.watch import WATCH
from rsctl.config.settings import Place, SlurmProfile
from rsctl.plan.tasks import Task
from rsctl.store.layout import Store
from rsctl.store.records import passed_over


class Everywhere:
    """The local queues and SLURM, whatever profiles the tasks were submitted by."""

    def __init__(self, place: Place) -> None:
        store, profiles = Store(place.store), place.settings.everywhere
        # All SLURM tasks are seen by one query, as often as the most eager profile asks for.
        slurm = [profile for profile in profiles.values() if isinstance(profile, SlurmProfile)]
        eager = min(slurm, key=lambda profile: profile.poll_seconds)
        self.local = LocalBackend("local", place.settings.local(), store)
        self.slurm = SlurmBackend("slurm", eager, store)

    def poll(self, tasks: Iterable[Task]) -> dict[str, BackendState]:
        """Who works at a task knows more than who once held it; of two memories the later one counts."""
        tasks = list(tasks)
        here, there = self.local.poll(tasks), self.slurm.poll(tasks)
        return {
            key: max(
                (s for s in (here.get(key), there.get(key)) if s), key=lambda s: (s.state in ACTIVE, s.since)
            )
            for key in here.keys() | there.keys()
        }

    def cancel(self, tasks: Iterable[Task]) -> int:
        """Cancel each task where it is; SLURM isn't asked about tasks that only a local queue has."""
        tasks = list(tasks)
        here = {key for key, seen in self.local.poll(tasks).items() if seen.state in ACTIVE}
        stopped = self.local.cancel([task for task in tasks if task.key in here])
        rest = [task for task in tasks if task.key not in here]
        there = {key for key, seen in self.slurm.poll(rest).items() if seen.state in ACTIVE}
        return stopped + self.slurm.cancel(task for task in rest if task.key in there)


def notices() -> list[str]:
    """Notices about what was last seen: a scheduler that doesn't answer, rows and records nobody understood."""
    return WATCH.notices() + plugin_problems() + passed_over()
