"""Compares a plan with the existing sweep of the same name: its file, and the runs that the file resolves to."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Collection, Iterable, Iterator

from rsctl.config.runs import DrawnSpec, TableSpec, TrainSpec
from rsctl.errors import RefusedError, UserError
from rsctl.owners import require_named
from rsctl.plan.cost import done_images
from rsctl.plan.plan import ModelPlan, Plan, TablePlan
from rsctl.store.layout import Store
from rsctl.store.plan_fields import PlanRecord
from rsctl.store.run_kinds import RunKind
from rsctl.store.sharing import owner_of_sweep
from rsctl.text import counted


def change(store: Store, plan: Plan) -> str:
    """Describe how the plan differs from the existing sweep of its name; empty if it doesn't, or there is none."""
    before = _before(store, plan)
    if before is None:
        return ""
    if before["raw"] != plan.sweep.raw:
        return f"the sweep '{plan.sweep.name}' exists with other content."
    dropped = _dropped(before, plan)
    if not dropped:
        return ""
    why = (
        "its tables of held-out images used the noise of test images, which new ones don't"
        if any(_shares_noise(store, *table) for table in dropped)
        else "a checkpoint file has changed, or rsctl has"
    )
    return other_files(store, plan) or (
        f"the sweep '{plan.sweep.name}' exists, but its file now resolves to different runs than those submitted ({why})."
    )


def _shares_noise(store: Store, kind: str, run: str) -> bool:
    try:
        spec = store.run(kind, run).spec
    except UserError:
        return False  # pruned, or another version's: status and export name it
    return isinstance(spec, DrawnSpec) and spec.shares_noise


def other_files(store: Store, plan: Plan) -> str:
    """Describe the data set whose files differ from those that the sweep's runs were planned for; else empty."""
    before = _before(store, plan)
    dropped = _dropped(before, plan) if before else []
    if not before or not dropped:
        return ""
    models = {entry.model for entry in before["entries"] if (entry.kind, entry.run) in dropped}
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(before.get("submitted", 0)))
    for what, planned, kept, names in (
        ("files", plan.models.values(), "", [(RunKind.MODELS, name) for name in models]),
        ("test files", plan.tables.values(), " Its models are kept.", dropped),
    ):
        now, then = _files(one.spec for one in planned), _files(_specs(store, names))
        for one in planned:
            key = _data_set(one.spec)
            if key in then and now[key].isdisjoint(then[key]):
                return (
                    f"the {what} of {dataset_name(one)} differ from those that the existing runs of sweep '{plan.sweep.name}' used "
                    f"(submitted {when}, {_results(store, dropped)}).{kept}" + _read_otherwise(plan, one)
                )
    return ""


def _specs(store: Store, runs: Iterable[tuple[str, str]]) -> Iterator[TrainSpec | TableSpec]:
    for kind, name in runs:
        with contextlib.suppress(UserError):  # pruned, or another version's: status and export name it
            spec = store.run(kind, name).spec
            assert isinstance(spec, TrainSpec | TableSpec)
            yield spec


def _read_otherwise(plan: Plan, planned: ModelPlan | TablePlan) -> str:
    """Describe the part of the difference that older versions may cause, which read the same files differently."""
    classes = planned.dataset_parameters.get("classes", [])
    shapes = [one.shape for one in plan.sweep.points if one.dataset_parameters == planned.dataset_parameters]
    deep = any(shape.deep for shape in shapes)
    differences = (
        ["sorted dataset.classes, whose order is now that of the labels"]
        if classes != sorted(classes)
        else []
    )
    differences += ["read grey values above 255 as white"] if deep else []
    differences += (
        ["left out images in folders below those of the classes"]
        if any(shape.nested for shape in shapes)
        else []
    )
    return f" Older versions {' and '.join(differences)}." if differences else ""


def dataset_name(model: ModelPlan | TablePlan) -> str:
    """Return the name of its data set, with the folder if there is one: `imagefolder 'animals'`."""
    path = model.dataset_parameters.get("path")
    return model.spec.dataset + (f" '{path}'" if path else "")


def check_name(store: Store, plan: Plan, update: bool, of: Collection[str] | None = None) -> list[str]:
    """Refuse to change an existing sweep; with `update`, describe the changes instead, but refuse those to the sweep of a user
    who isn't among `of` (None: of anybody)."""
    before, difference = _before(store, plan), change(store, plan)
    if before is None or not difference:
        return []
    if not update:
        raise refusal(plan, difference)
    require_named(f"sweep '{plan.sweep.name}'", [owner_of_sweep(store, plan.sweep.name)], of)
    old = {entry.run: entry for entry in before["entries"]}
    new = {entry.table.spec.run_id: entry for entry in plan.entries}
    files = other_files(store, plan)
    notes = [f"update: {files}"] if files else []
    notes += [f"update: adds {name}" for name in new if name not in old]
    notes += [
        f"update: drops {name} from the sweep (its results stay in the store)"
        for name in old
        if name not in new
    ]
    for name in new:
        if name in old and old[name].images["count"] != len(new[name].images):
            notes.append(
                f"update: {name}: {old[name].images['count']} → {counted(len(new[name].images), 'image')}"
            )
    return notes or ["update: the file changed, its runs and images did not"]


def refusal(plan: Plan, difference: str) -> RefusedError:
    """Return the error for an unrequested change, with the remedy."""
    if difference.startswith(("the files", "the test files")):
        return RefusedError(
            f"dataset: {difference} Restore the files, give this sweep another name, or add --update: "
            "it then gets new runs and drops the old ones (their results are kept until they are pruned)."
        )
    return RefusedError(
        f"name: {difference} "
        "Give this one another name, or add --update to let it replace the old list (results are kept)."
    )


def _before(store: Store, plan: Plan) -> PlanRecord | None:
    there = os.path.lexists(store.sweep_folder(plan.sweep.name) / "plan.json")
    return store.sweep(plan.sweep.name) if there else None


def _dropped(before: PlanRecord, plan: Plan) -> list[tuple[str, str]]:
    """Return kinds and ids of the tables that the plan no longer has."""
    return sorted(
        {(entry.kind, entry.run) for entry in before["entries"]}
        - {(table.spec.folder, table.spec.run_id) for table in plan.tables.values()}
    )


def _results(store: Store, runs: list[tuple[str, str]]) -> str:
    images = sum(len(done_images(store.run(kind, run_id))) for kind, run_id in runs)
    return f"{counted(images, 'result')} in {counted(len(runs), 'table')}"


def _data_set(spec: TrainSpec | TableSpec) -> str:
    return json.dumps([spec.dataset, spec.dataset_parameters], sort_keys=True)


def _files(specs: Iterable[TrainSpec | TableSpec]) -> dict[str, set[str]]:
    """Return fingerprints by data set."""
    found: dict[str, set[str]] = {}
    for spec in specs:
        found.setdefault(_data_set(spec), set()).add(spec.data)
    return found
