"""Paths below the store root, and the creation and lookup of runs."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from rsctl.config.identity import identity
from rsctl.config.names import check_name
from rsctl.config.runs import CountSpec, Spec, TableSpec, TrainSpec
from rsctl.errors import InputError, RefusedError, UserError
from rsctl.owners import is_mine
from rsctl.store.fields import LAUNCH
from rsctl.store.files import publish, read_json, replace, to_json
from rsctl.store.plan_fields import PLAN, PlanRecord
from rsctl.store.records import UnreadableRecord, seal
from rsctl.store.run_kinds import RunKind
from rsctl.store.specs import SCHEMA, read_spec
from rsctl.store.task_fields import TASK

_KEY = re.compile(rf"({'|'.join(RunKind)})/[A-Za-z0-9][A-Za-z0-9._-]*/[0-9]+")


def is_key(text: str) -> bool:
    """Return whether a text has the form of a task's key: `<kind>/<run>/<number>`."""
    return _KEY.fullmatch(text) is not None


@dataclass(frozen=True)
class Run:
    """The folder of one run: `models/<id>`, `counts/<id>`, `verifications/<id>` or `attacks/<id>`."""

    path: Path

    # Cached: evaluated repeatedly for every run of a large store.
    @cached_property
    def id(self) -> str:
        return self.path.name

    @cached_property
    def kind(self) -> RunKind:
        try:
            return RunKind(self.path.parent.name)
        except ValueError as error:
            raise InputError(f"{self.path}: is not a run: runs lie in {', '.join(RunKind)}.") from error

    @cached_property
    def key(self) -> str:
        """`counts/<id>`."""
        return f"{self.path.parent.name}/{self.id}"

    @property
    def store(self) -> Store:
        return Store(self.path.parent.parent)

    @cached_property
    def spec(self) -> Spec:
        """The run's resolved spec; refuses a format this version doesn't know."""
        spec = read_spec(self.path / "spec.json")
        if isinstance(spec, TableSpec) and not self.id.startswith(f"{spec.model_run}-"):
            raise RefusedError(
                f"{self.path / 'spec.json'}: names the model {spec.model_run}, which the run's name contradicts: it was edited. Restore it."
            )
        return spec

    @cached_property
    def train_spec(self) -> TrainSpec:
        if not isinstance(self.spec, TrainSpec):
            raise InputError(f"{self.path}: is not a model's run.")
        return self.spec

    @cached_property
    def count_spec(self) -> CountSpec:
        if not isinstance(self.spec, CountSpec):
            raise InputError(f"{self.path}: is not a certification run.")
        return self.spec

    @cached_property
    def table_spec(self) -> TableSpec:
        if not isinstance(self.spec, TableSpec):
            raise InputError(f"{self.path}: is a model's run; it has no table.")
        return self.spec

    @cached_property
    def tasks_folder(self) -> Path:
        return self.path / "tasks"

    @property
    def shards_folder(self) -> Path:
        return self.path / "shards"

    @property
    def model_file(self) -> Path:
        return self.path / "model.pt"

    @property
    def published_file(self) -> Path:
        """The checkpoint that a model is imported from, until it is imported."""
        return self.path / "published.pt"

    @property
    def checkpoint_file(self) -> Path:
        return self.path / "checkpoint.pt"

    def task_file(self, task: int) -> Path:
        return self.tasks_folder / f"{task:04d}.json"

    def log_file(self, task: int) -> Path:
        return self.path / "logs" / f"{task:04d}.log"

    def task_numbers(self) -> list[int]:
        """The tasks that were created, ascending."""
        try:
            names = os.listdir(self.tasks_folder)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(int(name[:-5]) for name in names if name.endswith(".json") and name[:-5].isdigit())

    def require_task(self, number: int) -> None:
        """Raises InputError, with the tasks that exist, unless this one does."""
        if number not in (existing := self.task_numbers()):
            raise InputError(
                f"{self.id}: has no task {number}. It has: {', '.join(map(str, existing)) or '(none)'}."
            )

    def images(self, number: int) -> list[int]:
        """Positions assigned to a task of a table, in its order."""
        images: list[int] = read_json(self.task_file(number), TASK)["images"]
        return images

    def assigned_images(self) -> set[int]:
        """Positions assigned to any task of this table."""
        return {image for number in self.task_numbers() for image in self.images(number)}

    @cached_property
    def has_digests(self) -> bool:
        """True where every data file was written with a digest: the run was made by a version that writes them."""
        return read_json(self.path / "spec.json").get("digests") is True

    def launch(self) -> dict[str, Any]:
        """Launch settings: data, threads, code. This user's last submission wins; none of it is identity."""
        own, first = self._launch_files()
        return read_json(own if os.path.lexists(own) else first, LAUNCH)

    def write_launch(self, values: dict[str, Any]) -> None:
        """Write this user's launch settings; other users of the store have their own paths and code, and keep their file."""
        own, first = self._launch_files()
        replace(first if is_mine(first) and not own.exists() else own, to_json(seal(values, LAUNCH)))

    def _launch_files(self) -> tuple[Path, Path]:
        """This user's launch file, and that of the run's creator."""
        return self.path / f"launch-{os.geteuid()}.json", self.path / "launch.json"


@dataclass(frozen=True)
class Store:
    """The root folder of all results."""

    root: Path

    def run(self, kind: str, run_id: str) -> Run:
        return Run(self.root / kind / run_id)

    def model(self, run_id: str) -> Run:
        return self.run(RunKind.MODELS, run_id)

    def table(self, spec: TableSpec) -> Run:
        return self.run(spec.folder, spec.run_id)

    def runs(self, kind: str) -> Iterator[Run]:
        try:
            names = sorted(os.listdir(self.root / kind))
        except FileNotFoundError:
            return
        except NotADirectoryError:
            self._need_folder()
            return
        for name in names:
            if not name.startswith("."):
                yield Run(self.root / kind / name)

    def _need_folder(self) -> None:
        """Raises InputError if a file blocks the store's path: such a store isn't just empty."""
        there = (path for path in (self.root, *self.root.parents) if path.exists() and not path.is_dir())
        if file := next(there, None):
            raise InputError(
                f"store: {file} is a file, not a folder. Set another path in RSCTL_STORE, or as 'store' in rsctl.toml."
            )

    def planned(self, dataset: str, files: str) -> bool:
        """True where a model's run was planned with these files of a data set whose files identify it."""
        for run in self.runs(RunKind.MODELS) if files else ():
            if f"-{dataset}-s" in run.id:
                with contextlib.suppress(UserError):  # another version's: status and export name it
                    if run.train_spec.data == files:
                        return True
        return False

    def find_run(self, name: str) -> Run:
        """A run by its id (with or without its kind), its path, or a unique beginning of its id.

        The ids of a model's tables begin with the model's own id, so their common beginning means the model.
        """
        path = Path(name)
        if (path / "spec.json").is_file():
            return Run(path.resolve())
        kind, _, rest = name.rpartition("/")
        if name and kind in {*RunKind}:  # as 'rsctl status' writes it
            every, name = list(self.runs(kind)), rest
        else:
            every = [run for kind in RunKind for run in self.runs(kind)] if name else []
        exact = [run for run in every if run.id == name]
        found = exact or [run for run in every if run.id.startswith(name)]
        first = min(found, key=lambda run: len(run.id), default=None)
        if first and (
            len(found) == 1 or all(run.id.startswith(f"{first.id}-") for run in found if run != first)
        ):
            return first
        if found:
            names = ", ".join(run.id for run in found[:6]) + (
                f" and {len(found) - 6} more" if found[6:] else ""
            )
            raise InputError(f"run '{name}' is ambiguous: {names}. Give a longer beginning of its id.")
        raise InputError(f"no run '{name}' in {self.root}. 'rsctl status SWEEP' lists those of a sweep.")

    def create(self, spec: Spec | TableSpec) -> Run:
        """The run of this spec, created if it doesn't exist; refuses one whose stored spec differs."""
        run = self.run(spec.folder, spec.run_id)
        values = {"schema": SCHEMA, "digests": True, "hash": spec.hash, "spec": spec.model_dump(mode="json")}
        if not (run.path / "spec.json").exists() and publish(run.path / "spec.json", to_json(values)):
            return run
        stored = read_spec(run.path / "spec.json")
        if identity(stored) != identity(spec):
            raise RefusedError(
                f"{run.path}/spec.json describes another computation than this sweep, though their names agree. "
                "Nothing was written. Move that folder away, or use another store."
            )
        return run

    def sweep_folder(self, name: str) -> Path:
        try:
            return self.root / "sweeps" / check_name(name)
        except ValueError as error:
            raise InputError(f"sweep '{name}': {error}.") from error

    def sweep_names(self) -> list[str]:
        """Sweeps by the time of their last submission, the newest first."""
        try:
            plans = [Path(e.path) / "plan.json" for e in os.scandir(self.root / "sweeps")]
        except FileNotFoundError:
            return []
        except NotADirectoryError:
            self._need_folder()
            return []
        # A plan that can't be read is reported where it is read.
        dated = [(file.lstat().st_mtime, file.parent.name) for file in plans if os.path.lexists(file)]
        return [name for _, name in sorted(dated, reverse=True)]

    def import_names(self, sweep: str) -> list[str]:
        """Ids of the imported logs that a sweep shows."""
        try:
            names = sorted(os.listdir(self.root / "sweeps" / sweep / "imports"))
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [name[:-5] for name in names if name.endswith(".json") and not name.startswith(".")]

    def import_only(self) -> list[str]:
        """Sweeps that consist of imported logs alone, by name."""
        try:
            names = sorted(os.listdir(self.root / "sweeps"))
        except (FileNotFoundError, NotADirectoryError):
            return []
        planned = set(self.sweep_names())
        return [
            name
            for name in names
            if not name.startswith(".") and name not in planned and self.import_names(name)
        ]

    def sweep(self, name: str, *, numbers: bool = True) -> PlanRecord:
        """The plan of a sweep as submitted; the error lists those that exist. Without `numbers` their digests aren't checked."""
        file = self.sweep_folder(name) / "plan.json"
        if not os.path.lexists(file):
            known = self.sweep_names()
            raise InputError(
                f"no sweep '{name}' in {self.root}. Available: {', '.join(known) if known else '(none yet)'}."
            )
        plan = cast("PlanRecord", read_json(file, PLAN))
        for entry in plan["entries"] if numbers else ():
            if not entry.is_intact:
                raise UnreadableRecord(
                    file, f"{', '.join(entry.SEALED)} of {entry.run} don't match their digest"
                )
        for cascade in plan.get("cascades", []) if numbers else ():
            if not cascade.is_intact:
                raise UnreadableRecord(file, f"the cascade {cascade.id} doesn't match its digest")
        return plan
