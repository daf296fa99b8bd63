"""What a sweep needs: each model once, each count table once, however many points share them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rsctl.certificates import CountTable, Looks, Shells, certificates
from rsctl.certificates.stopping import make_rule
from rsctl.errors import RefusedError, unknown
from rsctl.spec.permutation import images_of
from rsctl.spec.resolve import Resolved
from rsctl.spec.runs import CountSpec, TrainSpec
from rsctl.spec.sections import StageResources
from rsctl.spec.sweep import Sweep
from rsctl.spec.validate import Invalid, Problem


@dataclass
class ModelPlan:
    """One base classifier to train."""

    spec: TrainSpec
    dataset_parameters: dict[str, Any]
    resources: StageResources
    images: int
    """Training images per epoch."""

    @property
    def needs(self) -> list[str]:
        """Runs whose models must be there first."""
        return [origin.run for origin in self.spec.parents.values()]


@dataclass
class CountPlan:
    """One count table: which images it needs, over all points that share it."""

    spec: CountSpec
    dataset_parameters: dict[str, Any]
    resources: StageResources
    shards: int
    alpha: float
    certificates: list[str]
    images: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Entry:
    """One point of the sweep: one row of its table."""

    resolved: Resolved
    images: list[int]
    split_count: int

    @property
    def selection(self) -> dict[str, int]:
        """How its images are chosen, enough to choose them again."""
        settings = self.resolved.point.certification
        return {
            "of": self.split_count,
            "skip": settings.skip,
            "max": settings.max_images,
            "count": len(self.images),
        }


@dataclass
class Plan:
    """Runs by their ids, in the order of the sweep file; a model comes after those it needs."""

    sweep: Sweep
    models: dict[str, ModelPlan]
    counts: dict[str, CountPlan]
    entries: list[Entry]


def make_plan(sweep: Sweep, file: str) -> Plan:
    """Deduplicate the points of a sweep into runs; raises Invalid for unknown certificates and empty image sets."""
    plan = Plan(sweep, {}, {}, [])
    problems: dict[str, Problem] = {}
    for resolved in sweep.points:
        settings = resolved.point.certification
        for name in settings.certificates:
            if name not in certificates():
                problem = Problem("certification.certificates", unknown("certificate", name, certificates()))
                problems.setdefault(str(problem), problem)
            elif refusal := refused(name, resolved):
                problem = Problem("certification.certificates", refusal)
                problems.setdefault(str(problem), problem)
        total = resolved.shape.counts["train" if settings.split == "val" else "test"]
        images = images_of(total, resolved.count.holdout, settings.seed, settings.skip, settings.max_images)
        if not images:
            problem = Problem(
                "certification.skip", f"leaves no image of the {total} of split '{settings.split}'."
            )
            problems.setdefault(str(problem), problem)
        resources = resolved.point.resources
        train, count = resolved.train, resolved.count
        images_per_epoch = round(resolved.shape.counts["train"] * (1 - train.holdout))
        for spec in (*resolved.parents, train):
            plan.models.setdefault(
                spec.run_id,
                ModelPlan(spec, resolved.dataset_parameters, resources.training, images_per_epoch),
            )
        table = plan.counts.setdefault(
            count.run_id,
            CountPlan(
                count,
                resolved.dataset_parameters,
                resources.certification,
                settings.shards,
                settings.alpha,
                list(settings.certificates),
            ),
        )
        # Image sets with one seed are prefixes of one order: the longer one first keeps that order.
        longer, shorter = (
            (images, table.images) if len(images) > len(table.images) else (table.images, images)
        )
        table.images = list(dict.fromkeys([*longer, *shorter]))
        plan.entries.append(Entry(resolved, images, total))
    if problems:
        raise Invalid(file, list(problems.values()))
    return plan


def refused(name: str, resolved: Resolved) -> str:
    """Why this certificate won't take a table of this spec, or empty: it is shown one image, before any is drawn."""
    spec, classes = resolved.count, resolved.shape.classes
    counts = np.zeros((1, classes), np.int32)
    counts[0, 0] = spec.n
    looks = None
    rule = make_rule(
        spec.stopping,
        radii=spec.stop_radii,
        delta=spec.stop_delta,
        sigma=spec.sigma,
        alpha=spec.stop_alpha,
        n=spec.n,
        block=spec.block,
    )
    if rule is not None:
        at_looks = np.zeros((1, len(rule.draws), classes), np.int32)
        at_looks[0, :, 0] = rule.draws
        looks = Looks(rule.draws, at_looks)
    shells = None
    if spec.shell_edges:
        by_shell = np.zeros((1, len(spec.shell_edges) + 1, classes), np.int32)
        by_shell[0, 0] = counts[0]
        shells = Shells(tuple(spec.shell_edges), by_shell)
    n, label = np.array([spec.n]), np.zeros(1, np.int32)
    dimension = resolved.shape.channels * resolved.shape.size**2
    table = CountTable(
        counts,
        counts,
        n,
        spec.sigma,
        dimension,
        spec.noise,
        spec.stopping,
        label=label,
        looks=looks,
        exponent=spec.exponent,
        shells=shells,
    )
    try:
        certificates()[name].certify(table, resolved.point.certification.alpha)
    except RefusedError as error:
        return str(error)
    return ""
