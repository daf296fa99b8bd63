"""Some rows of a sweep: those of a method, or at a noise level."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from rsctl.errors import InputError, unknown
from rsctl.store.imports import ShownImport
from rsctl.store.layout import Store
from rsctl.store.plan_fields import CascadeEntry, PlanEntry, PlanRecord
from rsctl.store.run_kinds import RunKind
from rsctl.text import counted


@dataclass(frozen=True)
class RowFilter:
    """Methods, noise levels and runs to keep; an empty list keeps all."""

    methods: Sequence[str] = ()
    sigmas: Sequence[float] = ()
    levels: Sequence[float] = ()
    """Noise levels of a cascade, kept beside `sigmas`."""
    runs: Sequence[str] = ()
    """Ids of selected runs and logs; `said` describes the selection in a note."""
    said: str = ""

    def of(
        self, store: Store, plan: PlanRecord, beside: list[ShownImport]
    ) -> tuple[PlanRecord, list[ShownImport], list[str]]:
        """The plan and the logs with these rows alone, and a note of what is left out.

        Raises InputError for a method or σ that no run has, and where no run has both.
        """
        if not self.methods and not self._levels and not self.runs:
            return plan, beside, []
        own = [(entry, (*_row(store, entry), entry.run)) for entry in plan["entries"]]
        logs = [(one, (one.log.spec.method, one.log.spec.sigma, one.log.id)) for one in beside]
        rows = [row for _, row in (*own, *logs)]
        for method in self.methods:
            if method not in {known for known, _, _ in rows}:
                raise InputError(f"--method: {unknown('method', method, {known for known, _, _ in rows})}")
        for sigma in self._levels:
            if sigma not in {known for _, known, _ in rows}:
                there = ", ".join(f"{known:g}" for known in sorted({known for _, known, _ in rows}))
                key = "--sigma" if sigma in self.sigmas else "cascade"
                raise InputError(f"{key}: no run has σ = {sigma:g}. Available: {there}.")
        left_out = sum(not self._wants(*row) for row in rows)
        cascades = [one for one in plan.get("cascades", []) if self._wants_cascade(store, one)]
        if left_out == len(rows) and not cascades:
            raise InputError(f"{plan['name']}: no run has {self}: each exists, but not in combination.")
        kept: PlanRecord = {
            **plan,
            "entries": [entry for entry, row in own if self._wants(*row)],
            "cascades": cascades,
        }
        note = f"left out: {counted(left_out, 'run')} of the sweep; only those of {self} were requested."
        return (
            kept,
            [one for one, row in logs if self._wants(*row)],
            [note] if left_out else [],
        )

    @property
    def _levels(self) -> list[float]:
        return list(dict.fromkeys([*self.sigmas, *self.levels]))

    def _wants(self, method: str, sigma: float, run: str) -> bool:
        return all(
            not wanted or one in wanted
            for one, wanted in ((method, self.methods), (sigma, self._levels), (run, self.runs))
        )

    def _wants_cascade(self, store: Store, cascade: CascadeEntry) -> bool:
        """True for a selected one; by method and noise level where all its levels are wanted."""
        if self.runs and cascade.id not in self.runs:
            return False
        wants = replace(self, runs=())
        return all(wants._wants(*_row(store, level), level.run) for level in cascade.levels)

    def __str__(self) -> str:
        if self.said:
            return self.said
        levels = [f"σ {' or '.join(f'{sigma:g}' for sigma in self._levels)}"] if self._levels else []
        return " at ".join([*([" or ".join(self.methods)] if self.methods else []), *levels])


def _row(store: Store, entry: PlanEntry) -> tuple[str, float]:
    """Method and σ as the tables show them: of the noise that is sampled, or of the training where there is none."""
    train = store.model(entry.model).train_spec
    table = store.run(entry.kind, entry.run).table_spec
    return train.method, getattr(table, "sigma", 0.0) or train.sigma


def each_once(
    entries: Sequence[PlanEntry],
    certificate: str | None,
    alpha: float | None,
    radii: Sequence[float] | None,
) -> list[PlanEntry]:
    """Entries without those that an earlier one already shows under these options, so that one run never counts as several seeds.

    A grid over keys that don't affect a run (shards, certificates, keys of another table) names it repeatedly.
    """
    seen: set[tuple[Any, ...]] = set()
    kept = []
    for entry in entries:
        shown = json.dumps([entry.key, entry.images, list(radii or entry.radii)])
        if entry.kind is RunKind.COUNTS:
            # A level of a cascade that is sampled as needed has none.
            names = [certificate] if certificate and entry.certificates else entry.certificates
            new = [name for name in names if (shown, alpha or entry.alpha, name) not in seen]
            seen |= {(shown, alpha or entry.alpha, name) for name in new}
            if new:
                kept.append(replace(entry, certificates=new))
        elif (shown,) not in seen:
            seen.add((shown,))
            kept.append(entry)
    return kept
