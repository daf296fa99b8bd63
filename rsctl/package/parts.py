"""The members of a sweep's package, made from the store that holds its runs."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import re
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rsctl.catalog.weight_files import TAKEN
from rsctl.config.runs import TrainSpec
from rsctl.errors import InputError, RefusedError, UserError
from rsctl.owners import user_name
from rsctl.package.against import contradicting
from rsctl.package.cascades import cascade_values, choices_for
from rsctl.package.clean import Scrubber, attempt_record, launch_values, metric_values
from rsctl.store.attempts import attempt_file, attempt_numbers
from rsctl.store.degenerate import FILE as SEEN_FILE
from rsctl.store.fields import SEEN, SHOWN, TAKEN_RECORD
from rsctl.store.files import read_bytes, read_json, to_json
from rsctl.store.imports import ShownImport, find_sweep
from rsctl.store.layout import Run, Store
from rsctl.store.plan_fields import PlanRecord, entries_and_levels
from rsctl.store.records import read_records
from rsctl.store.rows import DistanceBounds, ImageRows
from rsctl.store.run_kinds import RunKind
from rsctl.store.shards import Shard, encode_shard
from rsctl.store.specs import SCHEMA
from rsctl.store.tables import reader_of
from rsctl.store.task_fields import ATTEMPT, EPOCH

KEPT = (
    (SEEN_FILE, SEEN, ("training", "labels", "predicted", "right", "abstained", "digest")),
    (TAKEN, TAKEN_RECORD, ("normalisation", "stored", "stated")),
)
"""Records of a run that are packed as they are: file, kind and fields."""

Content = bytes | Path
"""A member: its bytes, or the file that holds them."""


@dataclass
class Packed:
    """The members of a package, without its tables and its card."""

    sweep: str
    plan: PlanRecord
    runs: list[Run]
    logs: list[ShownImport]
    scrubber: Scrubber
    content: dict[str, Content] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """Sentences about what is missing."""


def collect(store: Store, sweep: str, *, weights: bool = False, logs: bool = False) -> Packed:
    """The members of a sweep: records, rows, metrics; with `weights` its models, with `logs` the logs of its tasks.

    Raises InputError where there is no such sweep.
    """
    plan, imported = find_sweep(store, sweep)
    entries = entries_and_levels(plan)
    runs = {(RunKind.MODELS, model): None for entry in entries for model in entry.models}
    runs |= {(entry.kind, entry.run): None for entry in entries}
    runs |= dict.fromkeys(contradicting(store, sweep))
    there = [run for run in (store.run(*one) for one in runs) if (run.path / "spec.json").exists()]
    packed = Packed(sweep, plan, there, imported, scrubber_of(store, there))
    if plan["entries"]:
        _add_sweep(store, packed)
    for run in there:
        _add_run(packed, run, weights=weights, logs=logs)
    for shown in imported:
        _add_import(store, packed, shown)
    return packed


def scrubber_of(store: Store, runs: Sequence[Run]) -> Scrubber:
    """The names of this machine, of its user and of the machines and users that worked on these runs."""
    hosts, folders = (
        {socket.gethostname()},
        {str(store.root), str(store.root.resolve()), os.getcwd(), str(Path.home())},
    )
    users = {user_name(os.geteuid()), os.environ.get("USER", ""), os.environ.get("LOGNAME", "")}
    with contextlib.suppress(KeyError, OSError):  # an account without a name
        users.add(getpass.getuser())
    for run in runs:
        try:
            users.add(user_name(run.path.stat().st_uid))
            launch = run.launch()
        except (UserError, OSError):
            continue
        folders |= {str(launch["data"]), str(launch.get("provenance", {}).get("cwd", ""))}
        for task, numbers in attempt_numbers(run).items():
            for number in numbers:
                for record in read_records(attempt_file(run, task, number), ATTEMPT, first=16384):
                    hosts |= {str(record.get("host", ""))}
    hosts |= {host.partition(".")[0] for host in hosts}
    # A user called like a method would take its name out of the sweep file.
    words = {word for run in runs for word in re.split("[^a-z0-9]+", run.id)}
    return Scrubber({*hosts, *users} - words, folders)


def _add_sweep(store: Store, packed: Packed) -> None:
    plan, folder = packed.plan, store.sweep_folder(packed.sweep)
    values: dict[str, Any] = {
        "schema": 1, "name": packed.sweep, "description": packed.scrubber.text(plan["description"]), "cluster": "local",
        "submitted": plan.get("submitted", 0.0), "entries": [vars(entry) for entry in plan["entries"]], **cascade_values(plan),
        "raw": packed.scrubber.values(plan["raw"]),
    }  # fmt: skip
    packed.content["sweep/plan.json"] = to_json(values)
    if choices := choices_for(store, packed.sweep, plan):
        packed.content["sweep/tuned.json"] = to_json({"choices": choices})
    try:
        text = read_bytes(folder / "sweep.toml", first=4 << 20).decode("utf-8", "replace")
    except OSError:
        packed.notes.append("The sweep file isn't in the store; its values are in sweep/plan.json.")
        return
    packed.content["sweep/sweep.toml"] = packed.scrubber.text(text).encode()


def _add_run(packed: Packed, run: Run, *, weights: bool, logs: bool) -> None:
    below = f"runs/{run.kind}/{run.id}"
    spec = run.spec
    values = spec.model_dump(mode="json")
    if isinstance(spec, TrainSpec):
        values["file"] = Path(spec.file).name
        values["hyperparameters"] = {
            name: Path(value).name if name == "file" and isinstance(value, str) else value
            for name, value in values["hyperparameters"].items()
        }
    packed.content[f"{below}/spec.json"] = to_json(
        {"schema": SCHEMA, "digests": True, "hash": spec.hash, "spec": values}
    )
    packed.content[f"{below}/launch.json"] = to_json(launch_values(run.launch()))
    packed.content[f"{below}/tasks.json"] = to_json(_tasks(packed, run))
    for name, kind, keys in KEPT:
        if (run.path / name).exists():
            record = read_json(run.path / name, kind)
            kept = {key: packed.scrubber.values(record[key]) for key in keys if key in record}
            packed.content[f"{below}/{name}"] = to_json(kept)
    for name, lines in _metrics(run):
        packed.content[f"{below}/{name}"] = lines
    if run.kind.is_table:
        _add_rows(packed, run, below)
    elif weights and run.model_file.exists():
        packed.content[f"{below}/model.pt"] = run.model_file
    elif weights:
        packed.notes.append(f"{run.id} has no model yet.")
    for task in run.task_numbers() if logs else ():
        if run.log_file(task).exists():
            text = read_bytes(run.log_file(task), last=16 << 20).decode("utf-8", "replace")
            packed.content[f"{below}/logs/{task:04d}.log"] = packed.scrubber.text(text).encode()


def _add_rows(packed: Packed, run: Run, below: str) -> None:
    table = reader_of(run).read()
    packed.notes += [f"A file was left out: {packed.scrubber.text(problem)}" for problem in table.problems]
    if not len(table.rows):
        packed.notes.append(f"{run.id} has no finished image yet.")
        return
    attributes = {
        name: value for name, value in table.attributes.items() if name not in ("git", "attempt", "spec")
    }
    attributes["spec"] = table.run.table_spec.model_dump_json()
    packed.content[f"{below}/{run.kind.data_file}.h5"] = encode_shard(
        Shard(table.rows, attributes, table.functions)
    )


def _bytes_of(rows: ImageRows) -> int:
    """Bytes of the rows in memory, which their reader limits."""
    columns = [getattr(rows, name) for name in rows.COLUMNS]
    columns += [rows.adversarial] if isinstance(rows, DistanceBounds) and rows.adversarial is not None else []
    return sum(column.nbytes for column in columns)


def _tasks(packed: Packed, run: Run) -> dict[str, Any]:
    """The record of every task, and of its attempts the beginning, the last progress and the end."""
    attempts, found = attempt_numbers(run), {}
    for number in run.task_numbers():
        task = read_json(run.task_file(number))
        found[f"{number:04d}"] = {
            "stage": run.kind.stage,
            **({"images": task["images"]} if "images" in task else {}),
            "attempts": {
                str(attempt): _attempt(packed, run, number, attempt) for attempt in attempts.get(number, ())
            },
        }
    return {"tasks": found}


def _attempt(packed: Packed, run: Run, task: int, attempt: int) -> list[dict[str, Any]]:
    latest: dict[str, dict[str, Any]] = {}
    for record in read_records(attempt_file(run, task, attempt), ATTEMPT):
        latest[record["record"]] = attempt_record(record, packed.scrubber)
    return [latest[name] for name in ("claim", "progress", "end") if name in latest]


def _metrics(run: Run) -> Iterator[tuple[str, bytes]]:
    for file in sorted(run.path.glob("metrics.*.jsonl")):
        records = read_records(file, EPOCH)
        yield file.name, b"".join(json.dumps(metric_values(record)).encode() + b"\n" for record in records)


def _add_import(store: Store, packed: Packed, shown: ShownImport) -> None:
    log, file = shown.log, store.sweep_folder(packed.sweep) / "imports" / f"{shown.log.id}.json"
    record = read_json(file, SHOWN)
    values = {
        **record,
        "source": packed.scrubber.text(shown.source),
        "remarks": packed.scrubber.values(shown.remarks),
    }
    packed.content[f"sweep/imports/{log.id}.json"] = to_json(values)
    spec = read_json(log.path / "spec.json")
    packed.content[f"imports/{log.id}/spec.json"] = to_json(
        {"schema": spec["schema"], "digests": True, "hash": log.spec.hash, "spec": spec["spec"]}
    )
    content = log.radii  # compared with its spec
    if not (log.path / "radii.h5").is_file() or not len(content):
        raise InputError(f"{log.path}: holds no rows. Remove it from the sweep, or import it again.")
    packed.content[f"imports/{log.id}/radii.h5"] = log.path / "radii.h5"


def require_clean(packed: Packed, store: Store) -> None:
    """Refuse members that still hold a path of this machine, which only a value of a run's identity can."""
    marks = [str(Path.home()), str(store.root.resolve())]
    for name, content in packed.content.items():
        if isinstance(content, bytes) and not name.endswith(".h5"):
            for mark in marks:
                if len(mark) > 2 and f"{mark}/".encode() in content:
                    raise RefusedError(
                        f"{name}: holds a path of this machine below {mark}, in a value that the run's identity depends on. Nothing was "
                        "written: use a relative path in the sweep file."
                    )
