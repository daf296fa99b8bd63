"""Comparison of two runs on the same images: the difference, its significance and its scope."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsctl.config.runs import CountSpec, TrainSpec
from rsctl.config.sections import Certification
from rsctl.errors import InputError, RefusedError
from rsctl.report.compare.significance import AtRadius, bootstrap, holm, mcnemar, welch
from rsctl.results.cascade import about_bounds
from rsctl.results.learned import describe_verdict
from rsctl.results.measurement import Measurement, common_images
from rsctl.results.notes import about_shared_noise
from rsctl.results.opening import measure_import, measure_run
from rsctl.results.own_runs import seedless
from rsctl.results.rounding import stated
from rsctl.results.tuned import about_tuned
from rsctl.store.imports import ImportSpec, ShownImport, imports
from rsctl.store.layout import Store
from rsctl.text import counted

LEAST_SEEDS = 3
"""Fewest training seeds per method for a comparison of methods."""


@dataclass(frozen=True)
class OverSeeds:
    """A number over training seeds: two methods rather than two models."""

    what: str
    first: float
    second: float
    difference: float
    low: float
    high: float
    """95 % interval of first − second (Welch)."""
    p: float
    p_holm: float


@dataclass(frozen=True)
class Comparison:
    """The comparison of two runs."""

    first: str
    second: str
    images: int
    radii: list[AtRadius]
    acr_first: float
    acr_second: float
    acr_low: float
    acr_high: float
    """95 % interval of the difference of ACRs, first − second: paired percentile bootstrap over images."""
    resamples: int
    seeds: tuple[int, int]
    """Training seeds of each method in this store."""
    methods: list[OverSeeds] = field(default_factory=list)
    """Empty unless both have at least `LEAST_SEEDS`."""
    warnings: list[str] = field(default_factory=list)
    one_model: bool = False
    """Both are tables of the same trained model, certified in two ways."""


def compare(
    store: Store, first: Measurement, second: Measurement, radii: Sequence[float] | None = None, seed: int = 0
) -> Comparison:
    """Compare two runs image by image; `seed` draws the bootstrap.

    Raises RefusedError where they aren't on the same data, InputError where no image is in both.
    """
    _require_same_data(first, second)
    columns = list(radii) if radii else _columns(first, second)
    images, a, b = np.intersect1d(first.index, second.index, assume_unique=True, return_indices=True)
    if not len(images):
        raise InputError(f"{first.run} and {second.run} have no finished image in common yet.")
    if (first.labels[a] != second.labels[b]).any():
        raise RefusedError(
            f"{first.run} and {second.run} have different labels: they aren't on the same images."
        )
    mine, theirs = first.score[a], second.score[b]
    difference = np.maximum(mine, 0) - np.maximum(theirs, 0)
    resamples, (low, high) = bootstrap(difference, seed)
    ours, others = siblings(store, first), siblings(store, second)
    cascades = [one for one in (first, second) if one.levels]
    one_model = not cascades and first.train is not None and first.train == second.train
    return Comparison(
        first.run, second.run, len(images), mcnemar(mine, theirs, columns),
        float(np.maximum(mine, 0).mean()), float(np.maximum(theirs, 0).mean()), low, high, resamples,
        (len(ours), len(others)), [] if one_model else _methods(ours, others, columns), _warnings(first, second, len(images)),
        one_model,
    )  # fmt: skip


def siblings(store: Store, row: Measurement) -> list[Measurement]:
    """The runs or logs of the store that differ from this one in the training seed alone, itself among them."""
    if row.logged is not None:
        return _logs_like(store, row, row.logged)
    spec, train = row.spec, row.train
    if train is None or not isinstance(spec, CountSpec) or row.levels:
        return [row]

    def same(train: TrainSpec, count: CountSpec) -> tuple[Any, Any]:
        return seedless(store, train), count.model_dump(exclude={"model_hash", "model_run"})

    wanted, found = same(train, spec), []
    for run in store.runs("counts"):
        model = store.run("models", run.count_spec.model_run)
        if (model.path / "spec.json").is_file() and same(model.train_spec, run.count_spec) == wanted:
            one = measure_run(run, row.certificate, row.alpha)
            if one.images:
                found.append(one)
    return found or [row]


def _logs_like(store: Store, row: Measurement, shown: ShownImport) -> list[Measurement]:
    """The same for logs, by their paths; a log without a seed is on its own."""
    if row.seed is None:
        return [row]

    def known(spec: ImportSpec) -> dict[str, Any]:
        return spec.model_dump(exclude={"seed", "rows"})

    wanted, found = known(shown.log.spec), {row.seed: row}
    under = (row.certificate, row.alpha) if shown.log.spec.counts else (None, None)
    for log in imports(store):
        if log.spec.seed is not None and log.spec.seed not in found and known(log.spec) == wanted:
            one = measure_import(log, *under)
            if (one.n, one.alpha) == (row.n, row.alpha):
                found[log.spec.seed] = one
    return list(found.values())


def _methods(first: list[Measurement], second: list[Measurement], radii: Sequence[float]) -> list[OverSeeds]:
    """Welch's t-test over training seeds, on the images that all runs have."""
    if min(len(first), len(second)) < LEAST_SEEDS or {one.run for one in first} & {one.run for one in second}:
        return []
    shared = common_images([*first, *second])
    if not len(shared):
        return []

    def values(rows: list[Measurement]) -> list[NDArray[np.float64]]:
        scores = [one.score[np.isin(one.index, shared)] for one in rows]
        return [np.array([np.maximum(score, 0).mean() for score in scores])] + [
            np.array([(score >= r).mean() for score in scores]) for r in radii
        ]

    names = ["ACR", *(f"{r:g}" for r in radii)]
    tests = [(name, *welch(a, b)) for name, a, b in zip(names, values(first), values(second), strict=True)]
    adjusted = holm([test[-1] for test in tests[1:]])
    return [OverSeeds(*test, p_holm) for test, p_holm in zip(tests, [tests[0][-1], *adjusted], strict=True)]


def _require_same_data(first: Measurement, second: Measurement) -> None:
    for key in ("dataset", "split", "norm"):
        a, b = getattr(first, key), getattr(second, key)
        if a != b:
            raise RefusedError(f"{first.run} has {key} '{a}', {second.run} '{b}': images can't be paired.")
    own = [(one.train.dataset_parameters, one.table_spec.data) for one in (first, second) if one.train]
    if len(own) == 2 and own[0] != own[1]:
        raise RefusedError(
            f"{first.run} and {second.run} are on different images: dataset parameters or files differ."
        )


def _columns(first: Measurement, second: Measurement) -> list[float]:
    """The usual radii, up to the last that either certifies anywhere."""
    largest = max([float(one.score.max()) for one in (first, second) if one.images], default=0.0)
    return [r for r in Certification().radii if r <= largest] or [0.0]


def _warnings(first: Measurement, second: Measurement, images: int) -> list[str]:
    notes = []
    trained = [one.trained_sigma if one.own else one.trained_sigma or one.sigma for one in (first, second)]
    if first.levels or second.levels:
        trained = [None, None]  # each level has its own
    for key in ("sigmas", "trained_sigma", "noise", "certificate", "alpha", "n", "n0", "guarantee"):
        a, b = trained if key == "trained_sigma" else (getattr(one, key) for one in (first, second))
        if a != b:
            notes.append(f"{'sigma' if key == 'sigmas' else key} differs: {stated(a)} and {stated(b)}.")
    for one in (first, second):
        if one.degenerate:
            notes.insert(0, describe_verdict(one.run, one.degenerate))
        notes += one.problems
        if one.progress:
            notes.append(f"{one.run}: {one.progress}.")
        if images < one.images:
            notes.append(
                f"{one.run}: {one.images - images} of its images aren't in the other run and are left out."
            )
    notes += [*about_bounds([first, second]), *about_tuned([first, second])]
    counted_with = [one.spec for one in (first, second) if isinstance(one.spec, CountSpec)]
    if shared := sorted({spec.seed for spec in counted_with if spec.shares_noise}):
        notes.append(about_shared_noise(shared))
    if first.split == "test":
        notes.append("Choosing a method or a setting by this comparison is tuning on test images.")
    return notes


def _p(p: float) -> str:
    return f"{p:.3g}" if p > 1e-300 else "< 1e-300"


def _share(accuracy: float) -> str:
    """Per cent in eight cells, rounded down as in every table."""
    return f"{math.floor(accuracy * 10000 + 1e-9) / 100:7.2f}%"


def comparison_text(found: Comparison) -> str:
    difference = found.acr_first - found.acr_second
    lines = [
        f"A  {found.first}",
        f"B  {found.second}",
        f"{counted(found.images, 'image')} in both",
        "",
        f"{'radius':>8} {'A':>8} {'B':>8} {'only A':>8} {'only B':>8} {'p':>10} {'p (Holm)':>10}",
    ]
    lines += [
        f"{one.radius:8g} {_share(one.first)} {_share(one.second)} {one.only_first:8} {one.only_second:8} {_p(one.p):>10} {_p(one.p_holm):>10}"
        for one in found.radii
    ]
    lines += [
        "",
        f"ACR {found.acr_first:.4f} and {found.acr_second:.4f}; difference {difference:+.4f}, "
        f"95 % interval [{found.acr_low:+.4f}, {found.acr_high:+.4f}] (paired bootstrap over images, {found.resamples} resamples)",
        "",
    ]
    significant = [one for one in found.radii if one.p_holm < 0.05]
    where = ", ".join(f"{one.radius:g} ({'A' if one.first > one.second else 'B'})" for one in significant)
    between = "these two ways to certify ONE MODEL" if found.one_model else "THESE TWO MODELS"
    lines.append(
        f"Between {between} the difference is larger than chance over images (5 %, Holm) at radius {where}; in brackets the run that certifies more."
        if significant
        else f"Between {between} no difference at these radii is larger than chance over images (5 %, Holm)."
    )
    if found.one_model:
        lines.append("This compares neither methods nor other models.")
    elif found.methods:
        lines += [
            "",
            f"Over training seeds ({found.seeds[0]} of A, {found.seeds[1]} of B), about THE TWO METHODS with these settings (Welch):",
        ]
        lines += [
            f"{one.what:>8} {one.first:8.4f} {one.second:8.4f}  difference {one.difference:+.4f} [{one.low:+.4f}, {one.high:+.4f}]  p {_p(one.p)}  p (Holm) {_p(one.p_holm)}"
            for one in found.methods
        ]
    else:
        lines.append(
            f"This is no comparison of the two methods, which needs at least {LEAST_SEEDS} training seeds of each in this store "
            f"(available: {found.seeds[0]} and {found.seeds[1]})."
        )
    return "\n".join([*lines, *(f"Note: {note}" for note in found.warnings)])


def comparison_json(found: Comparison) -> str:
    about = "certification" if found.one_model else "methods and models" if found.methods else "models"
    return json.dumps({**asdict(found), "speaks_of": about}, indent=1, allow_nan=False)
