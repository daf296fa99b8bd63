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
from numpy.typing import NDArray

from rsctl.certificates import find_certificate
from rsctl.config.runs import AttackSpec, CountSpec, VerifySpec
from rsctl.errors import UserError
from rsctl.store.layout import Run, Store
from rsctl.store.plan_fields import PlanEntry
from rsctl.store.rows import Findings
from rsctl.store.run_kinds import RunKind
from rsctl.store.tables import StoredTable, read_findings, read_table
from rsctl.text import counted

SMOOTHED = "the smoothed classifier"
SHOWN = 5
"""Contradictions that are reported one by one; the others are counted."""


@dataclass(frozen=True)
class Break:
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


@dataclass(frozen=True)
class _Subject:
    """Key of a comparison: a radius and a distance are compared where these fields are equal."""

    checkpoint: str
    precision: str
    """Precision, with the arithmetic where it is exact."""
    sigma: float
    """Noise level of the smoothed classifier; 0 for the network itself."""
    norm: str
    images: tuple[Any, ...]

    @classmethod
    def of(cls, table: StoredTable[Any], precision: str, sigma: float, norm: str) -> _Subject:
        spec = table.run.table_spec
        images = (spec.dataset, spec.dataset_parameters, spec.data, spec.split, spec.holdout)
        return cls(table.model_sha256, precision, sigma, norm, images)


@dataclass(frozen=True)
class _Claim:
    """Certified radii of some images, or distances of adversarial ones; arrays (N,)."""

    where: str
    subject: _Subject
    k: int
    """Number of top classes that the claim is about."""
    alpha: float
    index: NDArray[np.int64]
    values: NDArray[np.float64]
    """A radius is 0 where the prediction isn't the label, a distance inf where none was found."""
    name: str = ""
    guarantee: str = ""
    """Guarantee of a radius."""


def find_breaks(store: Store, entries: Sequence[PlanEntry]) -> list[Break]:
    """Every contradiction about the models of these entries of a sweep's plan, the largest first.

    Attacks of other sweeps on the same models count, too. Certificates are those of the entries, and elsewhere those
    that the runs were submitted with. Models without attacks cost one folder listing.
    """
    asked = {entry.run: entry for entry in entries if entry.kind is RunKind.COUNTS}
    found: list[Break] = []
    for model in dict.fromkeys(entry.model for entry in entries):
        attacks = list(_attacks(store, model))
        if attacks:
            for claim in _claims(store, model, asked):
                found += [one for attack in attacks for one in _between(claim, attack)]
    return sorted(found, key=lambda one: one.distance - one.radius)


def tell(breaks: Sequence[Break]) -> list[str]:
    """The notes on these contradictions."""
    if not breaks:
        return []
    lines = [str(one) for one in breaks[:SHOWN]]
    if len(breaks) > SHOWN:
        lines.append(f"Likewise contradicted: {counted(len(breaks) - SHOWN, 'more certificate')}.")
    chance = max(one.chance for one in breaks)
    if chance:
        lines.append(
            f"By chance alone a certificate or the confirmation of an attack may be wrong about {chance:g} of all images; "
            "a larger share is certainly a bug."
        )
    return lines


def _between(claim: _Claim, attack: _Claim) -> Iterator[Break]:
    if claim.subject != attack.subject or claim.k > attack.k:
        return
    common, ours, theirs = np.intersect1d(claim.index, attack.index, assume_unique=True, return_indices=True)
    radius, distance = claim.values[ours], attack.values[theirs]
    for i in np.flatnonzero(distance < radius):
        yield Break(
            int(common[i]), float(radius[i]), float(distance[i]), claim.subject.norm, claim.name, claim.guarantee, claim.where,
            attack.where, claim.alpha + attack.alpha,
        )  # fmt: skip


def _attacks(store: Store, model: str) -> Iterator[_Claim]:
    for run, table in [*_findings(store, "attacks", model), *_findings(store, "verifications", model)]:
        spec = run.spec
        rows = table.rows
        if isinstance(spec, AttackSpec):
            sigma, k = (spec.sigma if spec.target == "smoothed" else 0.0), int(spec.parameters.get("topk", 1))
            alpha, distance = spec.alpha, rows.broken
        elif isinstance(spec, VerifySpec):
            # A verifier's counterexample contradicts another verifier's proof just as well.
            sigma, k, alpha = 0.0, 1, 0.0
            distance = np.where(rows.predicted == rows.label, rows.broken, np.inf)
        else:
            continue
        subject = _Subject.of(table, spec.precision, sigma, spec.norm)
        yield _Claim(f"{run.kind}/{run.id}", subject, k, alpha, rows.index, distance)


def _claims(store: Store, model: str, asked: dict[str, PlanEntry]) -> Iterator[_Claim]:
    for run, proved in _findings(store, "verifications", model):
        spec, rows = run.spec, proved.rows
        if isinstance(spec, VerifySpec):
            yield _Claim(
                f"{run.kind}/{run.id}", _Subject.of(proved, spec.precision, 0.0, spec.norm), 1, 0.0, rows.index,
                np.where(rows.predicted == rows.label, rows.radius, 0.0), spec.verifier, "deterministic, of the base classifier",
            )  # fmt: skip
    for run in _runs(store, "counts", model):
        yield from _certified(run, asked.get(run.id))


def _certified(run: Run, entry: PlanEntry | None) -> Iterator[_Claim]:
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
            rule = find_certificate(name)
            certified = rule.certify(table.counts(), alpha)
        except UserError:
            continue  # the table of certificates gives the reason
        if rule.guarantee.kind == "heuristic" or not rule.guarantee.classifier.startswith(SMOOTHED):
            continue
        precision: str = "fp32" if rule.guarantee.classifier.endswith("in fp32") else spec.precision
        if spec.arithmetic == "exact":
            # Exact arithmetic is another function: attacks with float noise don't contradict it.
            precision = f"{precision}, {spec.arithmetic}"
        yield _Claim(
            f"{run.kind}/{run.id}", _Subject.of(table, precision, spec.sigma, rule.norm), rule.k,
            rule.guarantee.times_alpha * alpha if rule.guarantee.kind == "probabilistic" else 0.0, table.rows.index,
            np.where(certified.predicted == table.rows.label, certified.radius, 0.0), name, rule.guarantee.label(alpha, spec.arithmetic),
        )  # fmt: skip


def _findings(store: Store, folder: str, model: str) -> Iterator[tuple[Run, StoredTable[Findings]]]:
    for run in _runs(store, folder, model):
        try:
            table = read_findings(run)
        except UserError:
            continue
        if len(table.rows):
            yield run, table


def _runs(store: Store, folder: str, model: str) -> Iterator[Run]:
    """The tables of a model: their ids begin with its own."""
    return (run for run in store.runs(folder) if run.id.startswith(f"{model}-"))
