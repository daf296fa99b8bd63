"""Writes the members of a package into a folder that is laid out as a store. Nothing in them is executed or trusted.

Every record is checked against its kind and written anew with the fields that packages have; every data file is read in a separate
process and its arrays are written into a file of this version.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np

from rsctl.errors import UserError
from rsctl.package.cascades import cascade_values
from rsctl.package.clean import Scrubber, attempt_record, launch_values, metric_values
from rsctl.package.format import CARD, NotAPackageError
from rsctl.package.parts import KEPT, Content
from rsctl.plain import plain, printable
from rsctl.store import hdf5
from rsctl.store.digest import Corrupt
from rsctl.store.fields import LAUNCH, SHOWN
from rsctl.store.files import as_line, to_json
from rsctl.store.imports import Import
from rsctl.store.layout import Run, Store
from rsctl.store.plan_fields import PLAN, PlanRecord
from rsctl.store.records import ANY, Kind, read_json
from rsctl.store.strangers import read_received
from rsctl.store.task_fields import ATTEMPT, EPOCH, TASK
from rsctl.store.tuned import TUNED

_RUN = re.compile(r"runs/([a-z]+)/([^/]+)/(.+)")
_NOTHING = Scrubber()


def compose(content: Mapping[str, Content], root: Path, sweep: str) -> Store:
    """The store with these members in it, and their sweep under this name.

    Raises
    ------
    NotAPackageError
        A member isn't what its name says; the message names it.
    """
    store, problems = compose_valid(content, root, sweep)
    if problems:
        name, reason = next(iter(problems.items()))
        raise NotAPackageError(f"{name}: {reason}")
    return store


def compose_valid(content: Mapping[str, Content], root: Path, sweep: str) -> tuple[Store, dict[str, str]]:
    """The store with the members that are what their names say, and the reason why each of the others isn't."""
    store, problems = Store(root), dict[str, str]()
    for name, member in content.items():
        if f"{name.rpartition('/')[0]}/spec.json" in problems:
            continue
        try:
            _compose(name, member, store, sweep)
        except (
            UserError,
            Corrupt,
            OSError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            RecursionError,
        ) as error:
            reason = (
                str(error)
                .replace(str(member) if isinstance(member, Path) else "\0", name)
                .replace(f"{root}/", "")
            )
            problems[name] = f"{plain(reason, 500).rstrip('.')}."
            if not name.endswith("spec.json"):
                continue
            shutil.rmtree(root / Path(files_of(name, sweep)).parent, ignore_errors=True)
    return store, problems


def _compose(name: str, member: Content, store: Store, sweep: str) -> None:
    folder = store.sweep_folder(sweep)
    if found := _RUN.fullmatch(name):
        kind, run_id, file = found.groups()
        run = store.run(kind, run_id)
        if file != "spec.json" and not (run.path / "spec.json").is_file():
            raise ValueError("its run has no spec.json before it")
        _write_run_part(run, file, member)
    elif name.startswith("imports/"):
        _, log, file = name.split("/")
        _write_import_part(store, log, file, member)
    elif name.startswith("sweep/imports/"):
        record = _record(member, SHOWN)
        kept = {
            key: record[key] for key in ("n", "n0", "alpha", "source", "remarks", "digest") if key in record
        }
        put(folder / "imports" / name.rpartition("/")[2], to_json({"schema": 1, **kept}))
    elif name == "sweep/plan.json":
        plan = _record(member, PLAN)
        entries = [vars(entry) for entry in plan["entries"]]
        values = {
            "schema": 1, "name": sweep, "description": plan["description"], "cluster": "local", "submitted": plan.get("submitted", 0.0),
            "entries": entries, **cascade_values(cast("PlanRecord", plan)), "raw": plan["raw"],
        }  # fmt: skip
        put(folder / "plan.json", to_json(values))
    elif name == "sweep/tuned.json":
        put(folder / "tuned.json", to_json(_record(member, TUNED)))
    else:
        put(folder / {CARD: "CARD.md", "sweep/sweep.toml": "sweep.toml"}.get(name, name), _text(member))


def put(file: Path, data: bytes) -> None:
    """Write a file of a composed store."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)


def _write_run_part(run: Run, file: str, member: Content) -> None:
    kept = {name: (kind, keys) for name, kind, keys in KEPT}
    if file == "spec.json":
        stored = _record(member, ANY)
        put(
            run.path / file,
            to_json(
                {
                    "schema": stored.get("schema"),
                    "digests": True,
                    "hash": stored.get("hash"),
                    "spec": stored.get("spec"),
                }
            ),
        )
        spec = run.spec  # compares its hash
        if spec.key != run.key:
            raise ValueError(f"it describes the run {spec.key}")
    elif file == "launch.json":
        put(run.path / file, to_json(launch_values(_record(member, LAUNCH))))
    elif file == "tasks.json":
        _write_tasks(run, _record(member, ANY))
    elif file in kept:
        record = _record(member, kept[file][0])
        put(run.path / file, to_json({key: record[key] for key in kept[file][1] if key in record}))
    elif file.startswith("metrics."):
        lines = [_checked(EPOCH.adapter.validate_json(line)) for line in _text(member).splitlines() if line]
        put(run.path / file, b"".join(as_line(metric_values(line)) for line in lines))
    elif file == "model.pt":
        run.path.mkdir(parents=True, exist_ok=True)
        place(member, run.path / file)
    elif file == "certified.h5":
        put(run.path / file, _rewritten(member))
    elif file.endswith(".h5"):
        if file != f"{run.kind.data_file}.h5":
            raise ValueError(f"a run in {run.kind} has no such file")
        put(run.path / file, _rewritten(member))
    else:
        put(run.path / file, _text(member))


def _write_tasks(run: Run, record: Mapping[str, Any]) -> None:
    run.tasks_folder.mkdir(parents=True, exist_ok=True)
    for name, task in record["tasks"].items():
        if not re.fullmatch("[0-9]{4,7}", name):
            raise ValueError(f"{name!r} is not the number of a task")
        values = {"stage": run.kind.stage}
        if "images" in task:
            values["images"] = TASK.adapter.validate_python({"images": task["images"]})["images"]
        (run.tasks_folder / f"{name}.json").write_bytes(to_json(values))
        for number, records in task.get("attempts", {}).items():
            if not re.fullmatch("[1-9][0-9]{0,6}", number):
                raise ValueError(f"{number!r} is not the number of an attempt")
            checked = [ATTEMPT.adapter.validate_python(one) for one in records]
            lines = b"".join(as_line(attempt_record(one, _NOTHING)) for one in checked)
            (run.tasks_folder / f"{name}.{number}.jsonl").write_bytes(lines)


def _write_import_part(store: Store, log: str, file: str, member: Content) -> None:
    kept = Import(store.root / "imports" / log)
    if file == "spec.json":
        stored = _record(member, ANY)
        put(
            kept.path / file,
            to_json(
                {
                    "schema": stored.get("schema"),
                    "digests": True,
                    "hash": stored.get("hash"),
                    "spec": stored.get("spec"),
                }
            ),
        )
        if kept.spec.run_id != log:
            raise ValueError(f"it describes the log {kept.spec.run_id}")
    else:
        put(kept.path / file, _rewritten(member))


def files_of(name: str, sweep: str) -> str:
    """The file below the store that holds a member of a package, or the folder `…/tasks`."""
    if name.startswith("runs/"):
        return (
            name.removeprefix("runs/").removesuffix(".json")
            if name.endswith("/tasks.json")
            else name.removeprefix("runs/")
        )
    return name if name.startswith("imports/") else f"sweeps/{sweep}/{name.removeprefix('sweep/')}"


def place(member: Content, file: Path) -> None:
    """Put a member's bytes into a file, without a copy where the file system has hard links."""
    if isinstance(member, bytes):
        put(file, member)
        return
    try:
        os.link(member, file)
    except OSError:
        shutil.copyfile(member, file)


def _record(member: Content, kind: Kind) -> dict[str, Any]:
    """A JSON record of this kind, whose texts are printable."""
    found: dict[str, Any] = (
        kind.adapter.validate_json(member) if isinstance(member, bytes) else read_json(member, kind)
    )
    _checked(found)
    return found


def _checked(values: Any) -> Any:
    for text in _texts(values):
        if any(printable(line) != line for line in re.split("[\n\t]", text)):
            raise ValueError(f"it holds control characters: {plain(text, 60)!r}")
    return values


def _texts(values: Any) -> Iterable[str]:
    if isinstance(values, str):
        yield values
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from _texts(value)
    elif isinstance(values, dict):
        for key, value in values.items():
            yield from _texts(str(key))
            yield from _texts(value)
    elif hasattr(values, "__dict__"):
        yield from _texts(vars(values))


def _text(member: Content) -> bytes:
    """A text in UTF-8 without control characters other than newlines and tabs."""
    data = member if isinstance(member, bytes) else member.read_bytes()
    _checked(data.decode())
    return data


def _rewritten(member: Content) -> bytes:
    """The same arrays in a data file of this version."""
    if isinstance(member, bytes):
        return member  # made by this process
    content = read_received(member)
    texts = [*content.texts, *(value for value in content.attributes.values() if isinstance(value, str))]
    _checked([texts, [json.loads(text) for text in texts if text.startswith(("{", "[", '"'))]])
    return hdf5.encode(_writer(content))


def _writer(content: hdf5.Content) -> Callable[[Any], None]:
    def write(file: Any) -> None:
        for name, value in content.attributes.items():
            file.attrs[name] = value
        file[hdf5.TEXTS] = np.array(content.texts, h5py.string_dtype())
        for path, array in content.arrays.items():
            hdf5.put(file, path, array)

    return write
