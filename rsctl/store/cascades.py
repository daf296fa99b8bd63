"""Certification runs of the store as levels of cascades."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from rsctl.config.cascade_runs import Candidate
from rsctl.config.cascades import CascadeLevel
from rsctl.config.permutation import chosen_by, images_of
from rsctl.config.runs import TableSpec
from rsctl.errors import UserError
from rsctl.store.layout import Store
from rsctl.store.plan_fields import PlanEntry
from rsctl.store.run_kinds import RunKind


def stored_candidates(
    store: Store, levels: Iterable[CascadeLevel], own: Iterable[Candidate[Any]]
) -> Iterator[Candidate[PlanEntry]]:
    """The runs of other sweeps that levels name: those of a sweep, and runs by their ids that no own candidate has.

    Raises InputError for a sweep that doesn't exist.
    """
    own = list(own)
    for level in levels:
        if level.run is None and level.sweep is not None:
            yield from _of_sweep(store, level.sweep, "")
        elif level.run is not None and not any(one.fits(level) for one in own):
            for name in [level.sweep] if level.sweep else store.sweep_names():
                yield from _of_sweep(store, name, level.run, skip_unreadable=not level.sweep)


def _of_sweep(
    store: Store, name: str, begun: str, *, skip_unreadable: bool = False
) -> Iterator[Candidate[PlanEntry]]:
    try:
        plan = store.sweep(name)
        for entry in plan["entries"]:
            if entry.kind is RunKind.COUNTS and entry.run.startswith(begun):
                train, count = (
                    store.model(entry.model).train_spec,
                    store.run(entry.kind, entry.run).count_spec,
                )
                if count.needed and not begun:
                    continue  # no level of another cascade
                images = selection_key(entry.images, count)
                yield Candidate(entry.run, train, count, images, entry.alpha or 0.0, entry, name)
    except UserError:
        if not skip_unreadable:
            raise


def selection_key(selection: Mapping[str, Any], spec: TableSpec) -> str:
    """A description of a choice of images that is equal for equal choices."""
    return _key(*chosen_by(selection, spec.holdout, spec.seed))


@lru_cache(maxsize=64)
def _key(*choice: Any) -> str:
    images = sorted(images_of(*choice))
    digest = hashlib.sha256(",".join(map(str, images)).encode()).hexdigest()
    return f"{len(images)} of {choice[0]} images ({digest[:8]})"
