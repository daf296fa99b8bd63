"""Writes a plan to the store: runs, their tasks and the sweep's list. Nothing is started here."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsctl.catalog import plugins
from rsctl.catalog.predictions import PREDICTIONS
from rsctl.catalog.weight_files import TAKEN, content
from rsctl.config.runs import CountSpec
from rsctl.config.settings import Place
from rsctl.errors import InputError, UnavailableError, UserError
from rsctl.owners import check_owner
from rsctl.plan.assignment import assign
from rsctl.plan.changed import change, check_name, refusal
from rsctl.plan.columns import columns
from rsctl.plan.cost import measure
from rsctl.plan.memory import estimate_memory
from rsctl.plan.plan import ModelPlan, Plan, TablePlan, left_out
from rsctl.plan.rows import PlannedRow
from rsctl.plan.tasks import Request, Task
from rsctl.store.attempts import Attempt, Claim, attempt_numbers, here, latest_attempt, read_attempt
from rsctl.store.checks import check_shard
from rsctl.store.compaction import compact
from rsctl.store.fields import TAKEN_RECORD
from rsctl.store.files import explained, publish, read_json, replace, to_json
from rsctl.store.labels import KnownLabels
from rsctl.store.layout import Run, Store
from rsctl.store.plan_fields import PlanEntry
from rsctl.store.provenance import provenance, snapshot_code
from rsctl.store.received import received, require_assigned, require_extendable
from rsctl.store.run_kinds import RunKind
from rsctl.store.shards import Corrupt, read_shard
from rsctl.store.sharing import kept_from_group
from rsctl.store.tables import data_files, reader_of, set_aside
from rsctl.store.trust import check_run, open_to_all
from rsctl.text import counted


@dataclass(frozen=True)
class Committed:
    """The result of writing a plan to the store."""

    requests: list[Request]
    """Every task of the sweep that isn't done, models first."""
    done: int
    notes: list[str]


def commit(plan: Plan, place: Place, *, update: bool, of: Collection[str] | None = None) -> Committed:
    """Write the plan into the store; safe to repeat, and to run twice at once.

    Raises RefusedError if a sweep of this name has another file or other runs and `update` is false, or is of a user who
    isn't among `of`.
    """
    store = Store(place.store)
    group = place.settings.profile(plan.sweep.cluster).of_group
    for path in (store.root, store.sweep_folder(plan.sweep.name) / "plan.json"):
        check_owner(path, store.root, group=group)
    first, *more = open_to_all(place) or [""]
    cautions = [f"{first} ('rsctl doctor' lists {len(more)} more)" if more else first]
    cautions += kept_from_group(store.root) if group else []
    notes = check_name(store, plan, update, of) + [f"note: {text}" for text in cautions if text]
    code = snapshot_code(store.root, group=group)
    common = {"code": code, "plugins": list(plugins()), "data": str(place.data), "provenance": provenance()}
    writer, needless = _Writer(plan, store, common, group), _needless(store, plan)
    for model in plan.models.values():
        if model.spec.run_id not in needless:
            writer.write_model(model)
    for table in plan.tables.values():
        writer.write_table(table)
    notes += writer.notes + writer.labels.notes
    notes += _with_digests([run for run in writer.bare if run.key not in writer.labels.doubtful])
    _write_sweep(store, plan, writer.numbers, update, needless)
    return Committed(writer.requests, writer.done, notes)


class _Writer:
    """Writes the runs and tasks of a plan, and collects the tasks that aren't done."""

    def __init__(self, plan: Plan, store: Store, common: dict[str, Any], group: bool) -> None:
        self.store, self.common, self.group = store, common, group
        self.reckoned = estimate_memory(plan, measure(store))
        self.requests: list[Request] = []
        self.done = 0
        self.notes: list[str] = []
        self.models: dict[str, Task] = {}
        self.numbers: dict[str, list[int]] = {}
        """Tasks of each table."""
        self.labels, self.bare = KnownLabels(), list[Run]()

    def _create(self, planned: ModelPlan | TablePlan, **launch: Any) -> Run:
        run = self.store.create(planned.spec)
        check_run(run, group=self.group)
        if received(run.path):
            return run  # its launch settings are those of the numbers
        run.write_launch(
            {
                **self.common,
                "dataset_parameters": planned.dataset_parameters,
                **planned.resources.model_dump(),
                **self.reckoned[run.key].launch,
                **launch,
            }
        )
        return run

    def write_model(self, model: ModelPlan) -> None:
        run = self._create(model, stated=model.stated)
        publish(run.task_file(0), to_json({"stage": run.kind.stage}))
        if model.spec.file and not run.model_file.exists() and not run.published_file.exists():
            source = Path(model.spec.file)
            with explained(source):
                # A user without read access to the file gets none to its copy either.
                publish(run.published_file, content(source), source.stat().st_mode & 0o666)
        task = self.models[run.id] = Task(run, 0)
        before = latest_attempt(run, 0)
        if run.model_file.exists() or received(run.path):
            if model.stated:
                _require_taken_so(run)
            self.done += 1
        else:
            needs = tuple(self.models[need] for need in model.needs if need in self.models)
            self._request(task, model, needs, before)

    def write_table(self, table: TablePlan) -> None:
        run = self._create(table, **table.launch)
        self.notes += set_unusable_aside(run)
        require_assigned(run, table.images)
        tasks = assign(run, table)
        self.numbers[table.key] = list(tasks)
        # Attempts are read before the table: one that is done by then has its rows in it.
        latest = {
            number: read_attempt(run, number, numbers[-1]) for number, numbers in attempt_numbers(run).items()
        }
        read = reader_of(run).read()
        self.labels.add(read)
        self.bare += [run] if read.without_digest else []
        finished = set(read.rows.index.tolist())
        for number, images in tasks.items():
            attempt = latest.get(number)
            # One that died between its last shard and its end only has to compact the run and record its end.
            if finished.issuperset(images) and (attempt is None or attempt.ended == "done"):
                self.done += 1
            else:
                task = Task(run, number)
                self._request(task, table, task.needs, attempt)

    def _request(
        self, task: Task, planned: ModelPlan | TablePlan, needs: tuple[Task, ...], attempt: Attempt | None
    ) -> None:
        require_extendable(task.run, [need.run for need in needs if not need.run.kind.is_table])
        after = _reopened(task, attempt)
        self.requests.append(Request(task, needs, planned.resources, self.common["code"], after))


def _require_taken_so(run: Run) -> None:
    """Refuse a normalisation in a sweep file if the checkpoint stores another that an earlier sweep used."""
    requested = run.train_spec.hyperparameters.get("normalisation")
    try:
        taken = read_json(run.path / TAKEN, TAKEN_RECORD)
    except InputError:
        return  # of a release without this record
    if taken["stored"] and not taken["stated"] and taken["normalisation"] != requested:
        raise InputError(
            f"method.normalisation: '{requested}', but the checkpoint stores another, {taken['normalisation']}, with which {run.id} "
            "was taken. Leave it out, or set method.anyway = true."
        )


def _reopened(task: Task, attempt: Attempt | None) -> int:
    """Number of an unfinished task's newest attempt.

    If an attempt is recorded as done but its result is gone (moved, set aside), an empty attempt is added so that
    the task doesn't count as finished.
    """
    if attempt is None or attempt.ended != "done":
        return attempt.number if attempt else 0
    claim = Claim.take(task.run, task.number, here())
    claim.end("stopped", f"the result of attempt {attempt.number} is gone")
    return claim.number


def set_unusable_aside(run: Run) -> list[str]:
    """Rename files that aren't shards of this run; their images run again. Returns a note for each."""
    notes = []
    for path in data_files(run):
        try:
            check_shard(run, path, read_shard(path))
        except Corrupt as problem:
            notes.append(set_aside(path, str(problem)))
        except FileNotFoundError:
            continue
        except OSError as error:
            raise UnavailableError(
                f"{path}: can't be read now ({error.strerror}). Its images would be sampled again: make it readable, or move it away."
            ) from error
    return notes


def _with_digests(runs: Sequence[Run]) -> list[str]:
    """Rewrite files of finished runs that have no digest yet; returns notes."""
    written, notes = 0, []
    for run in runs:
        try:
            written += compact(run)
        except UserError as error:
            notes.append(f"{run.path}: its files couldn't be rewritten with a digest: {error}")
    if written:
        notes.append(
            f"The data files of {counted(written, 'run')} had no digest, as earlier versions wrote them. They agree with their specs "
            "and tasks and were rewritten with one: from now on a changed byte is detected."
        )
    return notes


def _needless(store: Store, plan: Plan) -> set[str]:
    """Return missing tables of predictions that no model still to be trained would read."""
    there = {name for name in plan.models if store.model(name).model_file.exists()}
    read = {need for name, model in plan.models.items() if name not in there for need in model.needs}
    return {
        name
        for name, model in plan.models.items()
        if model.spec.method == PREDICTIONS.name and name not in there | read
    }


def _write_sweep(
    store: Store, plan: Plan, numbers: dict[str, list[int]], update: bool, needless: set[str]
) -> None:
    sweep = plan.sweep
    entries = [
        _entry(entry, radii, numbers, needless)
        for entry, radii in zip(plan.entries, columns(plan.entries), strict=True)
    ]
    cascades = [one.entry(plan.entries, entries).values for one in plan.cascades]
    values = {
        "schema": 1,
        "name": sweep.name,
        "description": sweep.description,
        "cluster": sweep.cluster,
        "submitted": time.time(),
        "entries": list(map(vars, entries)),
        **({"cascades": cascades} if cascades else {}),
        "raw": sweep.raw,
    }
    file = store.sweep_folder(sweep.name) / "plan.json"
    if publish(file, to_json(values)):
        return
    if not update and (difference := change(store, plan)):
        raise refusal(plan, difference)  # another submission took the name meanwhile
    replace(file, to_json(values))


def _entry(
    entry: PlannedRow, radii: list[float], numbers: dict[str, list[int]], needless: set[str]
) -> PlanEntry:
    spec, settings = entry.table.spec, entry.resolved.point.certification
    sampled = isinstance(spec, CountSpec)
    return PlanEntry(
        model=entry.resolved.train.run_id,
        parents=[parent.run_id for parent in entry.resolved.parents if parent.run_id not in needless],
        kind=RunKind(spec.folder),
        run=spec.run_id,
        tasks=numbers[spec.key],
        images=entry.selection,
        alpha=settings.alpha if sampled else None,
        certificates=list(entry.table.launch["certificates"]) if sampled else [],
        radii=radii,
        # For the note of its tables: the folder may be missing where they are printed.
        left_out=left_out(entry.resolved),
    ).sealed()


def save_sweep_file(place: Place, name: str, source: Path) -> None:
    """Keep the sweep file as it was submitted, comments and all."""
    replace(Store(place.store).sweep_folder(name) / "sweep.toml", source.read_bytes())
