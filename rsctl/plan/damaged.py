"""Moves aside unreadable records of a submission's sweep and runs. Nothing is deleted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from rsctl.errors import InputError, UnavailableError
from rsctl.owners import denied
from rsctl.plan.plan import Plan
from rsctl.store.degenerate import FILE
from rsctl.store.fields import LAUNCH, SEEN, TILE
from rsctl.store.layout import Run, Store
from rsctl.store.records import Kind, UnreadableRecord, move_aside, wrong
from rsctl.store.specs import read_spec
from rsctl.store.task_fields import CANCELLED, SUBMISSION, TASK

_RECORDS = {"launch.json": LAUNCH, f"launch-{os.geteuid()}.json": LAUNCH, FILE: SEEN, "tile.json": TILE}
_FOLDERS = ("tasks", "submissions", "logs", "shards")


def set_damaged_aside(store: Store, plan: Plan) -> list[str]:
    """Rename unreadable records, so that new ones are written; returns a note for each."""
    runs = [store.model(model.spec.run_id) for model in plan.models.values()]
    runs += [store.table(table.spec) for table in plan.tables.values()]
    found = [problem for run in runs for problem in _of_run(run)]
    folder = store.sweep_folder(plan.sweep.name)
    found += _no_folder(folder) or _no_folder(folder / "imports")
    try:
        if os.path.lexists(folder / "plan.json"):
            store.sweep(plan.sweep.name)
    except InputError as problem:
        found.append((folder / "plan.json", _why(problem)))
    for path, _ in found:
        if path.exists() and not os.access(path, os.R_OK):
            raise UnavailableError(f"{path}: {denied(path)}. It may be intact and isn't set aside.")
    return [f"{path}: {why}. Set aside as {move_aside(path).name}." for path, why in found]


def _of_run(run: Run) -> Iterator[tuple[Path, str]]:
    if problem := _no_folder(run.path):
        yield from problem
        return
    spec = run.path / "spec.json"
    try:
        if os.path.lexists(spec):
            read_spec(spec)
    except UnreadableRecord as error:
        yield spec, _why(error)
    except InputError as error:
        if not spec.exists():  # a dangling link
            yield spec, _why(error)
        # Otherwise it is of a newer version and left unchanged.
    for name, kind in _RECORDS.items():
        yield from _checked(run.path / name, kind)
    for name in _FOLDERS:
        yield from _no_folder(run.path / name)
    if run.kind.is_table and run.tasks_folder.is_dir():
        for number in run.task_numbers():
            yield from _checked(run.task_file(number), TASK)
    if (run.path / "submissions").is_dir():
        for file in sorted((run.path / "submissions").glob("[!.]*.json")):
            yield from _checked(file, CANCELLED if ".cancelled-" in file.name else SUBMISSION)


def _checked(file: Path, kind: Kind) -> list[tuple[Path, str]]:
    why = wrong(file, kind)
    return [(file, why)] if why else []


def _no_folder(folder: Path) -> list[tuple[Path, str]]:
    there = os.path.lexists(folder) and not folder.is_dir()
    return [(folder, "is not a folder")] if there else []


def _why(problem: InputError) -> str:
    return problem.why if isinstance(problem, UnreadableRecord) else "is a dangling link"
