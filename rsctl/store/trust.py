"""Ownership checks: a task uses this user's own files of a store, or those of the group that shares it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from rsctl.config.settings import Place
from rsctl.owners import check_owner, world_writable
from rsctl.store.layout import Run
from rsctl.store.run_kinds import RunKind

MODE = "RSCTL_STORE_MODE"
"""Environment variable that passes the store mode of a profile to its tasks."""


_READ = (".json", ".jsonl", ".pt", ".h5", ".log")
"""Endings of the files that a task reads or continues; other files in a run's folder are never opened."""


def check_run(run: Run, *, group: bool, tasks: str = "*") -> None:
    """Refuse a run with other users' files: its own, and those of the tasks whose numbers match (none if empty).

    Raises
    ------
    RefusedError
        Another user wrote one of them and, with `group`, not as a member of the store's group.
    """
    root = run.path.parent.parent
    for path in (run.path, *(path for path in _files(run.path) if path.suffix in _READ)):
        check_owner(path, root, group=group)
    for folder in (run.tasks_folder, run.shards_folder, run.log_file(0).parent) if tasks else ():
        for path in folder.glob(f"{tasks}.*"):
            if path.suffix in _READ:
                check_owner(path, root, group=group)


def check_task(run: Run, number: int, *, group: bool) -> None:
    """Refuse a task with another user's files, its own or its model's; see `check_run`."""
    check_run(run, group=group, tasks=f"{number:04d}")
    for name in run.spec.needs:
        check_run(run.store.model(name), group=group, tasks="")


def group_of_environment() -> bool:
    """Return whether a group shares the store, according to the environment."""
    return os.environ.get(MODE) == "group"


def open_to_all(place: Place, *, runs: bool = False) -> list[str]:
    """A sentence for every world-writable path that leads to results or to executed code."""
    kinds = [place.store / name for name in (*RunKind, "code", "imports", "queue", "submissions", "sweeps")]
    inner = [entry for folder in kinds for entry in _files(folder)] if runs else []
    around = [
        *place.store.parents,
        place.data,
        *([place.file, place.file.absolute().parent] if place.file else []),
    ]
    # Where only owners can replace files, as in /tmp, other files beside them do no harm.
    around = [
        path
        for path in around
        if (path.is_dir() or path.is_file()) and not path.stat().st_mode & stat.S_ISVTX
    ]
    found = world_writable(dict.fromkeys([place.store, *kinds, *inner, *around]))
    return [
        f"{path} is world-writable: other users can change results, or code that runs as you. chmod o-w {path}"
        for path in found
    ]


def _files(folder: Path) -> Iterator[Path]:
    try:
        names = os.listdir(folder)
    except OSError:
        return
    yield from (folder / name for name in names if not name.startswith("."))
