"""Lists data in the store that no sweep refers to any more, and removes it on request."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rsctl.cluster.all_backends import AllBackends
from rsctl.cluster.local.requests import all_queues
from rsctl.cluster.task_status import statuses
from rsctl.config.settings import Place
from rsctl.errors import RefusedError, UserError
from rsctl.owners import owner_of, require_named
from rsctl.plan.tasks import Task
from rsctl.store.fields import LAUNCH, SPEC
from rsctl.store.files import explained, read_json
from rsctl.store.imports import find_sweep
from rsctl.store.layout import Run, Store
from rsctl.store.plan_fields import entries_and_levels
from rsctl.store.run_kinds import TABLES, RunKind
from rsctl.store.sharing import owner_of_sweep

RECENT = 3600.0
"""Seconds for which a run is kept after its last submission: another submission may be about to refer to it."""
_TRASH = ".pruned-"
_CODE = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Leftover:
    """A folder that can be removed."""

    path: Path
    size: int
    """Bytes."""
    why: str


def leftovers(
    place: Place, sweeps: Sequence[str] = (), *, recent: float = RECENT, of: Collection[str] = ()
) -> list[Leftover]:
    """Return runs and code that nothing refers to once these sweeps are deleted; models that others start from are kept.

    Imported logs go only with the last sweep that shows them; records of SLURM submissions
    are never included, nor is what belongs to users who aren't among `of`. Raises InputError for an unknown sweep, RefusedError
    if one still has a running task, or is of another user.
    """
    store, ours = Store(place.store), {"", *of}
    for name in sweeps:
        find_sweep(store, name)
        require_named(f"sweep '{name}'", [owner_of_sweep(store, name)], of)
    kept: set[Run] = set()
    for name in store.sweep_names():
        if name not in sweeps:
            for entry in entries_and_levels(store.sweep(name)):
                kept.add(store.run(entry.kind, entry.run))
                kept |= {store.model(model) for model in entry.models}
    orphans = [run for kind in RunKind for run in store.runs(kind) if run not in kept and _is_ours(run)]
    busy = _busy(place, orphans)
    running = {run for run in busy if _is_listed(store, sweeps, run)}
    if running:
        named = ", ".join(sorted(run.id for run in running)[:4])
        raise RefusedError(f"tasks of {named} are still running. 'rsctl cancel' them first, or wait.")
    going = {run for run in orphans if run not in busy and _age(run) > recent and owner_of(run.path) in ours}
    for kind in TABLES:
        for run in store.runs(kind):
            if run not in going:
                needed = _models_of(run)
                going -= {model for model in going if model.id in needed}
    for run in {*store.runs(RunKind.MODELS)} - going:
        going -= _ancestors(run)
    found = [Leftover(run.path, _size(run.path), "no sweep refers to it") for run in orphans if run in going]
    found += [Leftover(path, _size(path), "no other sweep shows this log") for path in _logs(store, sweeps)]
    found += [Leftover(path, _size(path), "no run uses this code") for path in _codes(store, going, recent)]
    found += [Leftover(path, _size(path), "left by an interrupted prune") for path in _trash(store)]
    return [one for one in found if owner_of(one.path) in ours]


def _is_ours(run: Run) -> bool:
    """Return whether a folder is a run of this store: its spec has the hash at the end of its name.

    The store may lie in a folder that has a `models` or `code` of its own.
    """
    try:
        return run.id.endswith(f"-{read_json(run.path / 'spec.json', SPEC).get('hash', '?')[:8]}")
    except UserError:
        return False


def sweep_folders(place: Place, sweeps: Sequence[str]) -> list[Leftover]:
    """Return the sweeps' own folders: the submitted file, the plan and the list of imported logs."""
    folders = [Store(place.store).sweep_folder(name) for name in sweeps]
    return [Leftover(folder, _size(folder), "the sweep itself: its file and its plan") for folder in folders]


def remove(place: Place, found: Sequence[Leftover], sweeps: Sequence[str] = ()) -> None:
    """Remove these sweeps and then these folders; an interruption leaves none of them half removed."""
    store = Store(place.store)
    for name in sweeps:
        folder = store.sweep_folder(name)
        for file in (folder / "plan.json", *(folder / "imports").glob("*.json")):
            file.unlink(missing_ok=True)
    for one in [*sweep_folders(place, sweeps), *found]:
        away = one.path
        with explained(one.path):
            if not one.path.name.startswith(_TRASH):
                away = one.path.with_name(f"{_TRASH}{secrets.token_hex(4)}")
                os.rename(one.path, away)
            shutil.rmtree(away, ignore_errors=True)


def _busy(place: Place, runs: Sequence[Run]) -> set[Run]:
    tasks = [Task(run, number) for run in runs for number in run.task_numbers()]
    found = statuses(tasks, AllBackends(place)).values()
    return {status.task.run for status in found if status.state.is_open}


def _is_listed(store: Store, sweeps: Sequence[str], run: Run) -> bool:
    entries = [entry for name in sweeps for entry in find_sweep(store, name)[0]["entries"]]
    return any(run.id in (entry.run, *entry.models) for entry in entries)


def _age(run: Run) -> float:
    """Return the seconds since a run's last submission."""
    for name in ("launch.json", "spec.json"):
        try:
            return time.time() - (run.path / name).stat().st_mtime
        except OSError:
            continue
    return 0.0


def _ancestors(run: Run) -> set[Run]:
    """Return the models that this one starts or learns from, recursively."""
    try:
        parents = {run.store.model(origin.run) for origin in run.train_spec.parents.values()}
    except UserError:
        return set()
    return parents.union(*(_ancestors(parent) for parent in parents))


def _models_of(run: Run) -> list[str]:
    try:
        return run.table_spec.needs
    except UserError:
        return []


def _logs(store: Store, sweeps: Sequence[str]) -> Iterator[Path]:
    """Return logs that only these sweeps show. A log is never removed without its sweep, because it can't be recomputed."""
    others = {
        log
        for name in (*store.sweep_names(), *store.import_only())
        if name not in sweeps
        for log in store.import_names(name)
    }
    for log in sorted({log for name in sweeps for log in store.import_names(name)} - others):
        yield store.root / "imports" / log


def _codes(store: Store, going: set[Run], recent: float) -> Iterator[Path]:
    used = set()
    for kind in RunKind:
        for run in store.runs(kind):
            if run not in going:
                try:
                    # A member of a group that shares the store may have one of their own.
                    used |= {str(read_json(file, LAUNCH)["code"]) for file in run.path.glob("launch*.json")}
                except UserError:
                    return  # an unreadable one may use any of them
    used |= {str(request["code"]) for queue in all_queues(store) for request in queue.wanted().values()}
    folder = store.root / "code"
    for name in sorted(os.listdir(folder)) if folder.is_dir() else ():
        path = folder / name
        ours = _CODE.fullmatch(name) and (path / "rsctl" / "__init__.py").is_file()
        if ours and name not in used and time.time() - path.stat().st_mtime > recent:
            yield path


def _trash(store: Store) -> Iterator[Path]:
    for kind in (*RunKind, "imports", "code", "sweeps"):
        folder = store.root / kind
        yield from sorted(folder.glob(f"{_TRASH}*")) if folder.is_dir() else ()


def _size(folder: Path) -> int:
    return sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file())
