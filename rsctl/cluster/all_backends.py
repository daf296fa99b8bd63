"""All backends combined: a sweep may have run locally first and on a cluster later."""

from __future__ import annotations

from collections.abc import Iterable

from rsctl.catalog import plugin_problems
from rsctl.cluster.backend import BackendState
from rsctl.cluster.elsewhere import poll_pulled
from rsctl.cluster.local.backend import LocalBackend
from rsctl.cluster.slurm.backend import SlurmBackend
from rsctl.cluster.slurm.watch import WATCH
from rsctl.config.settings import Place, SlurmProfile
from rsctl.plan.tasks import Task
from rsctl.store.layout import Store
from rsctl.store.records import skipped_records


class AllBackends:
    """Observes the local queues and SLURM, whichever profile a task was submitted with."""

    def __init__(self, place: Place) -> None:
        store, profiles = Store(place.store), place.settings.everywhere
        # All SLURM tasks are polled by one query, at the shortest interval of all profiles.
        slurm = [profile for profile in profiles.values() if isinstance(profile, SlurmProfile)]
        eager = min(slurm, key=lambda profile: profile.poll_seconds)
        self.store = store
        self.local = LocalBackend("local", place.settings.local(), store)
        self.slurm = SlurmBackend("slurm", eager, store)

    def poll(self, tasks: Iterable[Task]) -> dict[str, BackendState]:
        """Poll all backends; a backend that holds a task now outranks one that held it before, and a later record an earlier one."""
        tasks = list(tasks)
        found = (self.local.poll(tasks), self.slurm.poll(tasks), poll_pulled(self.store, tasks))
        return {
            key: max((seen[key] for seen in found if key in seen), key=lambda s: (s.state.is_open, s.since))
            for key in set[str]().union(*found)
        }

    def cancel(self, tasks: Iterable[Task]) -> int:
        """Cancel each task where it is; SLURM isn't contacted for tasks that only a local queue has."""
        tasks = list(tasks)
        here = {key for key, seen in self.local.poll(tasks).items() if seen.state.is_open}
        stopped = self.local.cancel([task for task in tasks if task.key in here])
        rest = [task for task in tasks if task.key not in here]
        there = {key for key, seen in self.slurm.poll(rest).items() if seen.state.is_open}
        return stopped + self.slurm.cancel(task for task in rest if task.key in there)


def notices() -> list[str]:
    """Return warnings of the last poll: an unreachable scheduler, unreadable rows and records."""
    return WATCH.notices() + plugin_problems() + skipped_records()
