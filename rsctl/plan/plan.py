"""The models and tables of a sweep, each once, however many points share them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rsctl.catalog import unknown_name
from rsctl.certificates import certificates
from rsctl.certificates.possible import Draws, ask, best_table
from rsctl.config.resolve import Resolved
from rsctl.config.runs import TableSpec, TrainSpec
from rsctl.config.sections import StageResources
from rsctl.config.sweep import Sweep
from rsctl.config.validate import Invalid, Problem
from rsctl.errors import RefusedError
from rsctl.plan.cascade_attacks import attacked_cascades
from rsctl.plan.cascades import PlannedCascade, planned_cascades, rows_with
from rsctl.plan.rows import PlannedRow, row_of
from rsctl.store.layout import Store
from rsctl.store.run_kinds import RunKind


@dataclass
class ModelPlan:
    """One base classifier to train."""

    spec: TrainSpec
    dataset_parameters: dict[str, Any]
    resources: StageResources
    images: int
    """Training images per epoch."""
    stated: bool
    """True if the sweep file sets the normalisation of a published checkpoint."""
    pixels: int = 0
    """Bytes of one image in memory."""

    @property
    def needs(self) -> list[str]:
        """Runs whose models must be trained first."""
        return self.spec.needs


@dataclass
class TablePlan:
    """One table to compute, with the images needed by all points that share it."""

    spec: TableSpec
    dataset_parameters: dict[str, Any]
    resources: StageResources
    shards: int
    launch: dict[str, Any]
    """Other parameters of its tasks, none of them part of the run's identity."""
    images: list[int] = field(default_factory=list)
    pixels: int = 0
    """Bytes of one image in memory."""

    @property
    def kind(self) -> RunKind:
        return RunKind(self.spec.folder)

    @property
    def key(self) -> str:
        """`counts/<id>`."""
        return self.spec.key


@dataclass
class Plan:
    """Runs by their ids, in the order of the sweep file; a model comes after those it needs."""

    sweep: Sweep
    models: dict[str, ModelPlan]
    tables: dict[str, TablePlan]
    """By `counts/<id>`."""
    entries: list[PlannedRow]
    cascades: list[PlannedCascade] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)
    """Notes on methods that lack a level of a cascade."""


def make_plan(sweep: Sweep, file: str, store: Store | None = None) -> Plan:
    """Deduplicate the points of a sweep into runs; `store` has the other sweeps that its cascades name.

    Raises Invalid for unknown certificates, empty image sets and cascades without runs.
    """
    plan = Plan(sweep, {}, {}, [])
    problems: dict[Problem, None] = {}
    for resolved in sweep.points:
        settings, resources, train = resolved.point.certification, resolved.point.resources, resolved.train
        for name in settings.certificates if resolved.count else ():
            if name not in certificates():
                text = unknown_name("certificate", name, certificates())
                problems[Problem("certification.certificates", text)] = None
            elif refusal := refused(name, resolved):
                problems[Problem("certification.certificates", refusal)] = None
        total = resolved.shape.counts["train" if settings.split == "val" else "test"]
        images_per_epoch = round(resolved.shape.counts["train"] * (1 - train.holdout))
        for spec in (*resolved.parents, train):
            stated = spec.run_id in resolved.stated
            model = ModelPlan(
                spec,
                resolved.dataset_parameters,
                resources.training,
                images_per_epoch,
                stated,
                resolved.shape.dimension,
            )
            planned = plan.models.setdefault(spec.run_id, model)
            planned.stated |= stated
        for table in resolved.tables:
            row = row_of(resolved, table, total)
            if not row.images:
                key = "certification.start" if settings.start else "certification.skip"
                problems[Problem(key, f"leaves no image of the {total} of split '{settings.split}'.")] = None
            _add(plan, row)
    plan.cascades, plan.incomplete = planned_cascades(sweep, plan.entries, store, problems)
    for row in attacked_cascades(sweep, plan.cascades, problems):
        _add(plan, row)
    if problems:
        raise Invalid(file, list(problems))
    if any(one.replaced for one in plan.cascades):
        rows, plan.entries, plan.tables = rows_with(plan.entries, plan.cascades), [], {}
        for row in rows:
            _add(plan, row)
    return plan


def _add(plan: Plan, entry: PlannedRow) -> None:
    resolved, table, images = entry.resolved, entry.table, entry.images
    stage = RunKind(table.spec.folder).stage
    planned = TablePlan(
        table.spec,
        resolved.dataset_parameters,
        getattr(resolved.point.resources, stage),
        table.shards,
        table.launch,
        pixels=resolved.shape.dimension,
    )
    planned = plan.tables.setdefault(planned.key, planned)
    # Image sets with one seed are prefixes of one order: the longer one first keeps that order.
    longer, shorter = sorted((planned.images, images), key=len, reverse=True)
    planned.images = list(dict.fromkeys([*longer, *shorter]))
    plan.entries.append(entry)


def left_out(resolved: Resolved) -> str:
    """Describe the files of its data set that aren't used as images; empty if all are."""
    path = resolved.dataset_parameters.get("path")
    ignored = resolved.shape.left_out
    return f"{resolved.train.dataset}{f' {path!r}' if path else ''}: {ignored}" if ignored else ""


def refused(name: str, resolved: Resolved) -> str:
    """Return the reason why this certificate refuses a table of this spec, or empty; tested on one image before sampling."""
    spec, shape, alpha = resolved.count, resolved.shape, resolved.point.certification.alpha
    if spec is None:
        return ""
    try:
        ask(name, best_table(Draws.of(spec, shape.classes, shape.dimension), spec.n, alpha), alpha)
    except RefusedError as error:
        return str(error)
    return ""
