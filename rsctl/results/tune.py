"""Choice of a cascade by the counts of held-out images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rsctl.certificates.cascade_search import TIE, CascadeChoice, CascadeObjective, search_cascade
from rsctl.config.cascade_runs import Candidate, combine
from rsctl.config.cascades import CascadeLevel
from rsctl.config.runs import CountSpec
from rsctl.errors import InputError, unknown
from rsctl.results.cascade import choice_of_images, require_same_images, require_same_labels
from rsctl.results.measurement import Measurement, common_images
from rsctl.results.notes import about_shared_noise, data_of, mark_varying
from rsctl.results.opening import measure_run
from rsctl.store.layout import Store
from rsctl.store.run_kinds import RunKind
from rsctl.store.tuned import TunedRecord, noise_key_of, record_tuned
from rsctl.text import counted

HOLD_OUT = (
    'Copy its sweep file under another name, add split = "val" to [certification], and submit it: its networks are then trained '
    "without the images that tune."
)


@dataclass(frozen=True)
class TunedCascade:
    """The best cascade of a method's levels on the images of a sweep, and each level alone."""

    sweep: str
    method: str
    """With the settings that distinguish it."""
    seeds: int
    sigmas: tuple[float, ...]
    """Noise levels in the order of the cascade."""
    taus: tuple[float, ...]
    value: float
    alone: tuple[tuple[float, float], ...]
    """(σ, value) of each level alone, the best first."""
    objective: str
    alpha: float
    split: str
    images: int

    @property
    def better(self) -> bool:
        """True where no level alone has this value."""
        return self.value > self.alone[0][1] + TIE

    @property
    def block(self) -> dict[str, object]:
        """Keys and values for a sweep file; `tuned` records where the choice comes from."""
        return {
            "levels": list(self.sigmas),
            "tau": self.taus[0],
            "tuned": {"sweep": self.sweep, "split": self.split, "images": self.images, "objective": self.objective},
        }  # fmt: skip


def tune_cascades(
    store: Store,
    sweep: str,
    objective: CascadeObjective,
    *,
    methods: Sequence[str] = (),
    alpha: float | None = None,
) -> tuple[list[TunedCascade], list[str]]:
    """The best cascade of each method and settings of a sweep on `val` images, with notes; the store remembers the choice.

    Raises InputError for a sweep on test images, and where no method has counts at two noise levels.
    """
    found, notes, records = [], [], []
    rows = _held_out(store, sweep, methods, alpha)
    for method in dict.fromkeys(row.method for row in rows):
        several, left_out = _seeds([row for row in rows if row.method == method])
        notes += left_out
        for seeds in several:
            choice, record = _search(sweep, seeds, objective)
            records.append(record)
            found.append(choice)
            notes += _about(seeds)
    if not found:
        raise InputError(
            " ".join([f"sweep '{sweep}': no method has counts at two noise levels.", *notes[:1]])
        )
    record_tuned(store, sweep, records)
    return found, list(dict.fromkeys(notes))


def _held_out(store: Store, sweep: str, methods: Sequence[str], alpha: float | None) -> list[Measurement]:
    entries = [entry for entry in store.sweep(sweep)["entries"] if entry.kind is RunKind.COUNTS]
    if not entries:
        raise InputError(f"sweep '{sweep}': has no certification runs, whose counts a cascade needs.")
    runs = {(entry.run, json.dumps(entry.images)): entry for entry in entries}
    specs = {key: store.run(entry.kind, entry.run).count_spec for key, entry in runs.items()}
    # A level that is sampled as needed is one of its own cascade alone.
    kept = [runs[key] for key, spec in specs.items() if spec.split == "val" and not spec.needed]
    if not kept:
        raise InputError(
            f"sweep '{sweep}': has test images only; a cascade chosen by them would be tuned on the test set. {HOLD_OUT}"
        )
    rows = [
        measure_run(store.run(entry.kind, entry.run), None, alpha or entry.alpha, entry.images)
        for entry in kept
    ]
    known = {row.method for row in rows}
    for method in methods:
        if method not in known:
            raise InputError(f"--method: {unknown('method', method, known)}")
    mark_varying(rows)
    return [row for row in rows if not methods or row.method in methods]


def _seeds(rows: Sequence[Measurement]) -> tuple[list[list[list[Measurement]]], list[str]]:
    """Levels by ascending σ, per training seed, of each setting of one method; and notes on settings without such levels."""
    sigmas = sorted({row.sigma for row in rows})
    if len(sigmas) < 2:
        return [], [f"{rows[0].name}: has counts at one noise level; a cascade needs two."]
    candidates = [
        Candidate(row.run, row.training, row.table_spec, choice_of_images(row), row.alpha or 0.0, row)
        for row in rows
        if isinstance(row.table_spec, CountSpec)
    ]
    combined, left_out = combine([CascadeLevel(sigma=sigma) for sigma in sigmas], candidates)
    alike: dict[str, list[list[Measurement]]] = {}
    for runs in combined:
        levels = [one.item for one in runs]
        alike.setdefault(levels[0].name, []).append(levels)
    return list(alike.values()), left_out


def _search(
    sweep: str, several: Sequence[Sequence[Measurement]], objective: CascadeObjective
) -> tuple[TunedCascade, TunedRecord]:
    first, sigmas = several[0][0], [one.sigma for one in several[0]]
    tables, labels, images = [], [], []
    for levels in several:
        require_same_images(levels)
        positions = common_images(levels)
        if not len(positions):
            raise InputError(
                f"{first.name}, seed {levels[0].seed}: no image is finished at all noise levels yet."
            )
        kept = [one.table.restrict(positions) for one in levels if one.table]
        require_same_labels(levels, [one.rows.label for one in kept])
        tables.append([one.counts() for one in kept])
        labels.append(kept[0].rows.label)
        images.append(positions)
    alpha = first.alpha or 0.0
    best, *alone = search_cascade(tables, labels, alpha, objective)
    every = np.unique(np.concatenate(images))
    choice = TunedCascade(
        sweep, first.name, len(several), _of(best, sigmas), (best.tau or 0.0,) * (len(best.levels) - 1), best.value,
        tuple((_of(one, sigmas)[0], one.value) for one in alone), str(objective), alpha, first.split, len(every),
    )  # fmt: skip
    return choice, TunedRecord(
        levels=list(choice.sigmas), taus=list(choice.taus), method=first.method, objective=choice.objective, alpha=alpha,
        value=best.value, data=data_of(first), split=first.split, images=every.tolist(),
        runs=sorted(one.run for levels in several for one in levels),
        noise=sorted({noise_key_of(one.table_spec) for levels in several for one in levels}),
    )  # fmt: skip


def _of(choice: CascadeChoice, sigmas: Sequence[float]) -> tuple[float, ...]:
    return tuple(sigmas[i] for i in choice.levels)


def _about(several: Sequence[Sequence[Measurement]]) -> list[str]:
    rows = [row for levels in several for row in levels]
    notes = [
        f"{row.run}: {row.progress}; images that all noise levels have were used."
        for row in rows
        if row.progress
    ]
    notes += [problem for row in rows for problem in row.problems]
    if shared := sorted({row.table_spec.seed for row in rows if getattr(row.spec, "shares_noise", False)}):
        notes.append(about_shared_noise(shared))
    if len(several) > 1:
        notes.append(f"{rows[0].name}: values are means over {counted(len(several), 'training seed')}.")
    return notes
