"""Certificates that an adversarial image contradicts. There should be none: each means a bug, and is reported loudly.

A radius is compared with a distance where both concern the same checkpoint, the same executed precision, the
same classifier (the network itself, or the smoothed one at the same σ), the same norm and the same image. An
attack on the network can't contradict a certificate of the smoothed classifier.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rsctl.certificates import find_certificate
from rsctl.config.runs import AttackSpec, CountSpec
from rsctl.errors import UserError
from rsctl.results.attacks import attack_spec, measure_attack
from rsctl.results.counts import measure_counts
from rsctl.results.image_order import ImageOrder
from rsctl.results.measurement import BROKEN, Measurement
from rsctl.results.verifications import measure_proofs
from rsctl.store.layout import Run, Store
from rsctl.store.plan_fields import PlanEntry
from rsctl.store.run_kinds import RunKind
from rsctl.store.tables import StoredTable, read_findings, read_table
from rsctl.text import counted

SMOOTHED = "the smoothed classifier"
SHOWN = 5
"""Contradictions that are reported one by one; the others are counted."""


@dataclass(frozen=True)
class Contradiction:
    """An adversarial image inside of a certified ball."""

    image: int
    """Position in the data split."""
    radius: float
    distance: float
    norm: str
    certificate: str
    guarantee: str
    certified_by: str
    """`counts/<run>` or `verifications/<run>`."""
    found_by: str
    """`attacks/<run>` or `verifications/<run>`."""
    chance: float
    """Probability that either of the two is wrong about one image; 0 where both are deterministic."""

    def __str__(self) -> str:
        return (
            f"image {self.image}: certified {self.radius:.4g} by {self.certificate} ({self.guarantee}; {self.certified_by}), "
            f"adversarial image at {self.norm} distance {self.distance:.4g} ({self.found_by}): this is a bug, report it."
        )


def find_contradictions(store: Store, entries: Sequence[PlanEntry]) -> list[Contradiction]:
    """Every contradiction about the models of these entries of a sweep's plan, the largest first.

    Attacks of other sweeps on the same models count, too. Certificates are those of the entries, and elsewhere those
    that the runs were submitted with. Models without attacks cost one folder listing.
    """
    requested = {entry.run: entry for entry in entries if entry.kind is RunKind.COUNTS}
    found: list[Contradiction] = []
    for model in dict.fromkeys(entry.model for entry in entries):
        proofs = list(_findings(store, RunKind.VERIFICATIONS, model))
        # A verifier's counterexample contradicts another verifier's proof just as well.
        attacks = [*_findings(store, RunKind.ATTACKS, model), *proofs]
        if not attacks:
            continue
        claims = [
            claim
            for run in _runs(store, RunKind.COUNTS, model)
            for claim in _certified(run, requested.get(run.id))
        ]
        found += [one for claim in [*proofs, *claims] for attack in attacks for one in between(claim, attack)]
    return sorted(found, key=lambda one: one.distance - one.radius)


def cascade_contradictions(store: Store, cascades: Sequence[Measurement]) -> list[Contradiction]:
    """Every contradiction about these cascades, by attacks on them of any sweep; the largest first. None without a guarantee."""
    found = [
        one
        for claim in cascades
        if claim.failure is not None
        for attack in _findings(store, RunKind.ATTACKS, claim.table_spec.model_run)
        if attack_spec(attack.spec).target == "cascade"
        for one in between(claim, attack)
    ]
    return sorted(found, key=lambda one: one.distance - one.radius)


def describe_contradictions(found: Sequence[Contradiction]) -> list[str]:
    """The notes on these contradictions."""
    if not found:
        return []
    lines = [str(one) for one in found[:SHOWN]]
    if len(found) > SHOWN:
        lines.append(f"Likewise contradicted: {counted(len(found) - SHOWN, 'more certificate')}.")
    chance = max(one.chance for one in found)
    if chance:
        lines.append(
            f"By chance alone a certificate or the confirmation of an attack may be wrong about {chance:g} of all images; "
            "a larger share is certainly a bug."
        )
    return lines


def mark_contradicted(rows: Sequence[Measurement], found: Sequence[Contradiction]) -> None:
    """Mark the names of measurements whose certificates an attack contradicts."""
    for row in rows:
        images = {
            one.image
            for one in found
            if one.certified_by.endswith(f"/{row.run}") and one.certificate == row.certificate
        }
        if images:
            row.varying[BROKEN] = len(images)


def between(claim: Measurement, attack: Measurement) -> Iterator[Contradiction]:
    """The images that the attack broke inside of the claim's radius."""
    if _classifier(claim) != _classifier(attack) or claim.k > attack.k or attack.distance is None:
        return
    common, ours, theirs = np.intersect1d(claim.index, attack.index, assume_unique=True, return_indices=True)
    # Neither a radius nor a counterexample about another class than the label counts; an attack has none of them.
    stated = attack.kind == "attacks" or attack.score >= 0
    radius, distance = claim.score[ours], np.where(stated, attack.distance, np.inf)[theirs]
    for i in np.flatnonzero(distance < radius):
        yield Contradiction(
            int(common[i]), float(radius[i]), float(distance[i]), claim.norm, claim.certificate,
            claim.guarantee if claim.kind in ("counts", "cascades") else "deterministic, of the base classifier", f"{claim.kind}/{claim.run}",
            f"{attack.kind}/{attack.run}", (claim.failure or 0.0) + (attack.alpha or 0.0),
        )  # fmt: skip


def _classifier(row: Measurement) -> tuple[Any, ...]:
    """Key of a comparison: checkpoint, precision and arithmetic, noise of the smoothed classifier, norm, and images."""
    spec = row.table_spec
    precisions = [getattr(one.spec, "precision", "") for one in row.levels or [row]]
    precision, sigma = "+".join(dict.fromkeys(precisions)), getattr(spec, "sigma", 0.0)
    if isinstance(spec, CountSpec):
        if not row.levels and find_certificate(row.certificate).guarantee.classifier.endswith("in fp32"):
            precision = "fp32"
        if spec.arithmetic == "exact":
            # Exact arithmetic is another function: attacks with float noise don't contradict it.
            precision = f"{precision}, {spec.arithmetic}"
    images = (spec.dataset, spec.dataset_parameters, spec.data, spec.split, spec.holdout)
    before: list[tuple[float, float]] = []
    checkpoint = row.checkpoint
    if row.levels:
        before = [(one.sigma, tau) for one, tau in zip(row.levels, row.taus, strict=False)]
        checkpoint = "+".join(one.checkpoint for one in row.levels)
    elif isinstance(spec, AttackSpec):
        before = [(one.sigma, one.tau) for one in spec.before]
    return checkpoint, precision, sigma, before, row.norm, images


def _certified(run: Run, entry: PlanEntry | None) -> Iterator[Measurement]:
    """A table under the certificates that guarantee something of the smoothed classifier."""
    try:
        spec, table = run.spec, read_table(run)
        said = vars(entry) if entry else run.launch()
        names, alpha = said["certificates"], float(said["alpha"])
    except (UserError, KeyError):
        return
    if not isinstance(spec, CountSpec) or not len(table.rows) or spec.noise != "gaussian":
        return
    for name in names:
        try:
            guarantee = find_certificate(name).guarantee
            if guarantee.kind != "heuristic" and guarantee.classifier.startswith(SMOOTHED):
                yield measure_counts(table, _finished(table), name, alpha)
        except UserError:
            continue  # the table of certificates gives the reason


def _findings(store: Store, folder: str, model: str) -> Iterator[Measurement]:
    for run in _runs(store, folder, model):
        try:
            table = read_findings(run)
            measure = measure_attack if folder == "attacks" else measure_proofs
            found = measure(table, _finished(table))
        except UserError:
            continue
        if found.images:
            yield found


def _finished(table: StoredTable[Any]) -> ImageOrder:
    return ImageOrder(table.rows.index, "all finished")


def _runs(store: Store, folder: str, model: str) -> Iterator[Run]:
    """The tables of a model: their ids begin with its own."""
    return (run for run in store.runs(folder) if run.id.startswith(f"{model}-"))
