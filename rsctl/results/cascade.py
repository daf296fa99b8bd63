"""Cascades of the runs of a sweep: several noise levels as one classifier, certified from the counts of each."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rsctl.certificates import Certified
from rsctl.certificates.cascade import NAME, Cascade, bounds_of, require_threshold
from rsctl.certificates.runner_up import RunnerUp
from rsctl.config.cascade_runs import SHARED, Candidate, combine
from rsctl.config.cascades import CascadeLevel, cascade_id, saved_text, savings, split_id
from rsctl.config.runs import CountSpec
from rsctl.errors import InputError, RefusedError
from rsctl.results.accuracy import scored
from rsctl.results.measurement import BROKEN, Measurement, common_images
from rsctl.results.rounding import plain
from rsctl.store.cascades import stored_candidates
from rsctl.store.degenerate import Verdict
from rsctl.store.layout import Store
from rsctl.store.plan_fields import CascadeEntry, CascadeOriginRecord, PlanEntry, PlanRecord
from rsctl.store.run_kinds import RunKind
from rsctl.store.tuned import Tuning

KIND = "cascades"


def measure_cascade(levels: Sequence[Measurement], cascade: Cascade) -> Measurement:
    """One classifier from measurements with counts, over the images that all of them have finished.

    Raises RefusedError where they aren't on the same images, or where the certificate isn't sound for their counts.
    """
    _require_its_levels(levels, cascade)
    require_same_images(levels)
    positions = common_images(levels)
    tables = [one.table.restrict(positions) for one in levels if one.table]
    certified, labels = (
        Certified(np.empty(0, np.int64), np.empty(0), np.empty(0, bool)),
        np.empty(0, np.int32),
    )
    last, alpha = levels[-1], levels[-1].alpha or 0.0
    if len(positions):
        require_same_labels(levels, [one.rows.label for one in tables])
        certified = cascade.certify([one.counts() for one in tables], alpha)
        labels = tables[0].rows.label
    names = tuple(replace(one, varying=_without_sigma(one)).name for one in levels)
    names = names if len(set(names)) > 1 else ()
    return Measurement(
        run=cascade_id([one.run for one in levels], cascade.taus), kind=KIND, spec=last.spec, train=last.train, certificate=NAME,
        guarantee=replace(cascade, names=names).guarantee.label(alpha, last.arithmetic), norm=cascade.norm, alpha=alpha, failure=alpha,
        index=positions, seconds=sum((one.rows.seconds for one in tables), np.zeros(len(positions))),
        planned=last.planned, subset=last.subset, subset_key=last.subset_key, varying={} if names else _without_sigma(last), level_names=names,
        mean_draws=sum(float(one.rows.n.mean()) for one in tables) if len(positions) else float("nan"),
        degenerate=_verdict(levels), problems=list(dict.fromkeys(text for one in levels for text in one.problems)),
        recipe=json.dumps([[one.recipe for one in levels], list(cascade.taus)]), levels=[replace(one, table=None) for one in levels], taus=cascade.taus,
        **scored(certified, labels, sorted({cell.radius for one in levels for cell in one.cells})),
    )  # fmt: skip


def _without_sigma(row: Measurement) -> dict[str, Any]:
    """Distinguishing settings of a level without those that levels may differ in."""
    return {key: value for key, value in row.varying.items() if key not in (BROKEN, "certification.sigma")}


def cascades_of(rows: Sequence[Measurement], cascade: Cascade) -> tuple[list[Measurement], list[str]]:
    """The cascades of a sweep's rows, one per method, settings and training seed, with notes for their readers.

    Raises InputError where no method has a run at every level.
    """
    # A run under several certificates is one table.
    candidates = [
        Candidate(row.run, row.training, row.spec, choice_of_images(row), row.alpha or 0.0, row)
        for row in rows
        if isinstance(row.spec, CountSpec)
    ]
    try:
        combined, left_out = combine([CascadeLevel(sigma=sigma) for sigma in cascade.sigmas], candidates)
    except InputError as error:
        raise InputError(f"cascade: {error}") from error
    if not combined:
        raise InputError(" ".join(["cascade: no method has counts at all of its levels.", *left_out[:1]]))
    found = [measure_cascade([one.item for one in levels], cascade) for levels in combined]
    return found, [*about_cascades(found), *left_out]


def recorded(
    entries: Sequence[CascadeEntry], level_of: Callable[[PlanEntry], Measurement], *, strict: bool
) -> tuple[list[Measurement], list[str]]:
    """The cascades of a sweep's plan, with notes for their readers; `level_of` measures a level.

    One that its counts don't allow is left out with a note; if `strict` RefusedError is raised.
    """
    found, left_out = [], []
    for entry in entries:
        levels = [level_of(level) for level in entry.levels]
        try:
            found.append(with_origin(cascade_of(levels, entry.taus), entry.tuned))
        except RefusedError as error:
            if strict:
                raise
            left_out.append(f"Left out: the cascade {entry.id}: {error}")
    return found, [*(about_cascades(found) if found else []), *left_out]


def with_origin(row: Measurement, stated: CascadeOriginRecord | None) -> Measurement:
    """The cascade with the origin that its sweep file states, whose images and draws may be these where they are of the same split."""
    if not stated:
        return row
    told = stated["sweep"], stated["split"], stated["images"], stated["objective"]
    here = stated["split"] == row.split
    return replace(row, tuning=Tuning(*told, here=here, own_draws=here))


def chosen_cascade(store: Store, plan: PlanRecord, sweep: str, name: str) -> CascadeEntry:
    """The cascade `RUN@τ+RUN` as an entry of a sweep's plan; runs may be those of other sweeps.

    Raises InputError where a run can't be found or a threshold is missing.
    """
    runs, taus = split_id(name)
    levels: list[PlanEntry] = []
    sweeps: list[str] = []
    for run in runs:
        own = [one for one in plan["entries"] if one.kind is RunKind.COUNTS and one.run.startswith(run)]
        others = [] if own else [*stored_candidates(store, [CascadeLevel(run=run)], [])]
        found = {one.run: ("", one) for one in own} or {one.run: (one.sweep, one.item) for one in others}
        if len(found) != 1:
            several = (
                f"is ambiguous: {', '.join([*found][:6])}. Give a longer beginning of its id."
                if found
                else "is in no sweep of the store."
            )
            raise InputError(f"cascade: the run '{run}' {several}")
        of, entry = found.popitem()[1]
        levels.append(entry)
        sweeps.append("" if of == sweep else of)
    for tau in taus:
        require_threshold(tau)
    return CascadeEntry(levels=levels, sweeps=sweeps, taus=taus)


def cascade_of(levels: Sequence[Measurement], taus: Sequence[float]) -> Measurement:
    """The cascade of these measurements; raises RefusedError as `measure_cascade` does."""
    return measure_cascade(levels, Cascade(tuple(one.sigma for one in levels), tuple(taus)))


def about_cascades(found: Sequence[Measurement]) -> list[str]:
    """Notes for the readers of a table of cascades."""
    notes = [
        "A cascade is one classifier of its own: choose its levels, their order and τ without the images that it is reported on "
        '(with split = "val"), or it is tuned on the test set. Its alpha is that of all its levels together (change it with --alpha); '
        "--certificate is for the levels by themselves. Its clean accuracy isn't known: PREDICT is for one level.",
        *about_bounds(found),
        *about_saved(found),
    ]
    for row in found:
        if not row.complete:
            each = ", ".join(f"{one.images} at σ = {one.sigma:g}" for one in row.levels)
            notes.append(
                f"{row.name}, seed {row.seed}: over the {row.images} of {row.planned} images that all its levels have finished ({each})."
            )
    return notes


def about_bounds(found: Sequence[Measurement]) -> list[str]:
    """Note on levels that are certified with weaker bounds than the last level of a cascade; empty where there is none."""
    weaker = sorted({one.certificate for row in found for one in whole_levels(row)} - {RunnerUp.name})
    if not weaker:
        return []
    return [
        f"The last level of a cascade is certified with both bounds of '{RunnerUp.name}', its levels by themselves here with '{weaker[0]}': "
        f"part of a difference is that of the certificates. --certificate {RunnerUp.name} compares the classifiers alone."
    ]


def about_saved(found: Sequence[Measurement]) -> list[str]:
    """Notes on the draws that cascades saved by sampling as needed."""
    notes = []
    for row in found:
        if (saved := draws_saved(row)) is None:
            continue
        notes.append(f"{row.name}, seed {row.seed}: {saved_text(**saved)}.")
        needed = getattr(row.levels[-1].spec, "needed", None)
        planned = needed.share * bounds_of(len(row.levels)) if needed else 0.0
        if needed and not np.isclose(planned, row.alpha or 0.0, rtol=1e-9):
            notes.append(
                f"{row.name}, seed {row.seed}: it was sampled for alpha = {planned:g}. At {row.alpha:g} its radii are proved, too, but "
                "images that were left out may abstain."
            )
    return notes


def as_needed(row: Measurement) -> bool:
    """True for a level that was sampled only where earlier ones don't settle an image: it is no classifier by itself."""
    return not row.levels and isinstance(row.spec, CountSpec) and row.spec.needed is not None


def whole_levels(row: Measurement) -> list[Measurement]:
    """The levels of a cascade that are classifiers by themselves."""
    return [one for one in row.levels if not as_needed(one)]


def draws_saved(row: Measurement) -> dict[str, int] | None:
    """Numbers of the draws that a cascade saved so far (`savings`); None where every level samples every image."""
    if not any(map(as_needed, row.levels)):
        return None
    counted = [
        (one.spec, one.images, one.mean_draws) for one in row.levels if isinstance(one.spec, CountSpec)
    ]
    return savings(
        [(spec, many, round(many - many * mean / spec.n) if many else 0) for spec, many, mean in counted]
    )


def _require_its_levels(levels: Sequence[Measurement], cascade: Cascade) -> None:
    """Raises RefusedError unless levels that are sampled as needed follow the levels that they were sampled for."""
    for number, one in enumerate(levels):
        needed, before = getattr(one.spec, "needed", None), levels[:number]
        if needed and (needed.levels, needed.taus) != (
            [level.table_spec.hash for level in before],
            [*cascade.taus[:number]],
        ):
            told = ", ".join(
                f"{run} (τ = {tau:g})" for run, tau in zip(needed.runs, needed.taus, strict=True)
            )
            raise RefusedError(
                f"{one.run} samples what {told} left: it is a level after these, and of no other cascade."
            )


def require_same_images(levels: Sequence[Measurement]) -> None:
    """Raises RefusedError, with the key that differs, unless the tables are of the same images, noise and level of error."""
    first, *others = levels
    for other in others:
        for key, mine, its in _differing(first, other):
            raise RefusedError(
                f"a cascade needs the same {key} at every level: {first.run} has {plain(mine)}, {other.run} has {plain(its)}."
            )


def _differing(first: Measurement, other: Measurement) -> list[tuple[str, Any, Any]]:
    a, b = (one.table_spec for one in (first, other))
    pairs: list[tuple[str, Any, Any]] = [
        (key, getattr(a, field), getattr(b, field)) for field, key in SHARED.items()
    ]
    pairs += [
        ("alpha", first.alpha, other.alpha),
        ("choice of images", choice_of_images(first), choice_of_images(other)),
    ]  # fmt: skip
    counts = [one.counts for one in (first, other) if one.images]
    if len(counts) == 2 and counts[0] is not None and counts[1] is not None:
        pairs.append(("number of classes", counts[0].shape[1], counts[1].shape[1]))
    return [(key, mine, its) for key, mine, its in pairs if mine != its]


def choice_of_images(row: Measurement) -> str:
    """Description of the images, equal for equal choices."""
    return f"{row.planned} images ({row.subset}, {row.subset_key})"


def require_same_labels(levels: Sequence[Measurement], labels: Sequence[Any]) -> None:
    positions = common_images(levels)
    for one, its in zip(levels[1:], labels[1:], strict=True):
        if len(differing := np.flatnonzero(labels[0] != its)):
            i = differing[0]
            raise RefusedError(
                f"a cascade needs the same label at every level: of image {positions[i]} {levels[0].run} has {labels[0][i]}, {one.run} has {its[i]}."
            )


def _verdict(levels: Sequence[Measurement]) -> Verdict | None:
    """The verdicts on its levels, each with its σ."""
    found = [(f"at σ = {one.sigma:g}", one.degenerate) for one in levels if one.degenerate]
    if not found:
        return None
    return Verdict(
        ", ".join(f"{one.mark} {level}" for level, one in found),
        "; ".join(f"{level} {one.text}" for level, one in found),
    )
