"""The description of a plan that `rsctl check` prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rsctl.certificates.cascade import levels_text
from rsctl.config.runs import AttackSpec, CountSpec, VerifySpec
from rsctl.config.settings import Place
from rsctl.plan.cost import estimate, measure
from rsctl.plan.memory import estimate_memory, memory_text
from rsctl.plan.notes import notes_of
from rsctl.plan.plan import Plan
from rsctl.plan.recipes import WIDE, recipe_lines, recipes_of
from rsctl.plan.rows import PlannedRow
from rsctl.store.layout import Store
from rsctl.store.run_kinds import TABLES, RunKind
from rsctl.text import counted, radius_text


@dataclass(frozen=True)
class Description:
    """A plan's description as text and as JSON values."""

    text: str
    values: dict[str, Any]


def describe(plan: Plan, place: Place, *, only_known: bool = False) -> Description:
    """Describe runs, tasks and draws of a plan, and the runs that the store has already.

    With `only_known` no network is measured for its memory, which takes seconds.
    """
    store = Store(place.store)
    measured = measure(store)
    cost, memory = estimate(plan, store, measured), estimate_memory(plan, measured, only_known=only_known)
    trained = [run_id for run_id in plan.models if store.model(run_id).model_file.exists()]
    stages = [stage for stage in (_stage(plan, kind) for kind in TABLES) if stage]
    tasks = sum(stage.tasks for stage in stages)
    draws = sum(stage.draws for stage in stages)
    sweep, notes, recipes = plan.sweep, notes_of(plan, place), recipes_of(plan)
    lines = [
        f"{sweep.name}: valid. {counted(len(sweep.points), 'point')} → "
        f"{counted(len(plan.models), 'model')}, {counted(len(plan.tables), 'table')}.",
        "",
        f"{'train':{WIDE}}{counted(len(plan.models), 'task')}"
        + (f" ({counted(len(trained), 'model')} trained already)" if trained else ""),
        *(stage.text for stage in stages),
        *([_cascades(plan)] if plan.cascades else []),
        f"{'cost':{WIDE}}{cost.text}",
        f"{'memory':{WIDE}}{memory_text(memory)}",
        *recipe_lines(recipes),
        *(f"note: {note}" for note in notes),
        "",
    ]
    for entry in plan.entries:
        resolved = entry.resolved
        train, spec = resolved.train, entry.table.spec
        made = (
            f"from {train.file}"
            if train.file
            else f"{counted(train.recipe.epochs, 'epoch')}, seed {train.seed}, {train.precision}"
        )
        lines.append(
            f"  {train.run_id}: {train.network} on {train.dataset}, {made}; "
            f"{counted(len(entry.images), f'{spec.split} image')}, {_how(entry)}"
        )
    lines += [f"  cascade {one.text}: {one.id}" for one in plan.cascades]
    values = {
        "sweep": sweep.name,
        "points": len(sweep.points),
        "models": list(plan.models),
        "trained": trained,
        "recipes": [one.values for one in recipes],
        **{
            kind.value: {
                table.spec.run_id: {
                    "images": len(table.images),
                    "shards": min(table.shards, len(table.images)),
                }
                for table in plan.tables.values()
                if table.kind is kind
            }
            for kind in TABLES
        },
        "cascades": {
            one.id: {"levels": [level.run for level in one.levels], "tau": list(one.taus)}
            for one in plan.cascades
        },
        "tasks": len(plan.models) + tasks,
        "draws": draws,
        "hours": None if cost.unknown else cost.hours,
        "scaled": list(cost.scaled),
        "memory_gb": {key: one.total for key, one in memory.items()},
        "notes": notes,
    }
    return Description("\n".join(lines), values)


def _cascades(plan: Plan) -> str:
    """Return the number of cascades, and the runs of other sweeps that they need."""
    others = {level.run: level.sweep for one in plan.cascades for level in one.levels if level.sweep}
    needed = (
        f"; needs {', '.join(f'{run} of sweep {name}' for run, name in others.items())}" if others else ""
    )
    return (
        f"{'cascades':{WIDE}}{counted(len(plan.cascades), 'cascade')} of these counts, without further draws"
        + needed
        + (
            "; with levels sampled as needed, whose draws are counted as if no image were left out"
            if any(one.replaced for one in plan.cascades)
            else ""
        )
    )


@dataclass(frozen=True)
class _Stage:
    """All tables of one kind."""

    kind: RunKind
    tasks: int
    images: int
    draws: int

    @property
    def text(self) -> str:
        draws = f", {counted(self.draws, 'draw')}" if self.draws else ""
        return f"{self.kind.verb:{WIDE}}{counted(self.tasks, 'task')}, {counted(self.images, 'image')}{draws}"


def _stage(plan: Plan, kind: RunKind) -> _Stage | None:
    tables = [table for table in plan.tables.values() if table.kind is kind]
    if not tables:
        return None
    return _Stage(
        kind,
        sum(min(table.shards, len(table.images)) for table in tables),
        sum(len(table.images) for table in tables),
        sum(
            len(table.images) * (table.spec.n0 + table.spec.n)
            for table in tables
            if isinstance(table.spec, CountSpec)
        ),
    )


def _how(entry: PlannedRow) -> str:
    """Return a short description of the work on each image."""
    spec = entry.table.spec
    if isinstance(spec, VerifySpec):
        wanted = f"at {', '.join(map(radius_text, spec.radii))}" if spec.radii else "largest radius"
        return f"{spec.verifier} ({spec.norm}, {wanted})"
    if isinstance(spec, AttackSpec):
        levels = [*(one.sigma for one in spec.before), spec.sigma]
        target = f"cascade of {levels_text(levels)}" if spec.before else f"{spec.target} classifier"
        return f"attacked by {spec.attack} ({spec.norm}, {target})"
    assert isinstance(spec, CountSpec)
    if spec.needed:
        return f"n = {spec.n:,} for those that earlier levels of its cascade leave (σ = {spec.sigma:g})"
    return f"n = {spec.n:,}, {', '.join(entry.resolved.point.certification.certificates)}"
