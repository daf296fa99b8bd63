"""The runs that the levels of a cascade name, matched by their specs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath
from typing import Any, Generic, TypeVar

from rsctl.config.cascades import CascadeLevel
from rsctl.config.run_settings import data_key, varying_settings
from rsctl.config.runs import CountSpec, TrainSpec
from rsctl.errors import InputError

Item = TypeVar("Item")
SHARED = {
    "dataset": "dataset", "split": "certification.split", "holdout": "certification.val_share", "seed": "certification.seed",
    "noise": "noise", "exponent": "exponent", "stopping": "certification.stopping", "arithmetic": "certification.arithmetic",
    "dataset_parameters": "parameters of the dataset", "data": "files of the dataset (fingerprint)",
}  # fmt: skip
"""Fields of a table's spec that all levels must share, and their names in messages."""


@dataclass(frozen=True, eq=False)
class Candidate(Generic[Item]):
    """A certification run that may be a level."""

    run: str
    train: TrainSpec
    count: CountSpec
    images: str
    """Description of its choice of images, equal for equal choices."""
    alpha: float
    item: Item
    sweep: str = ""
    """Another sweep that has it; empty for the sweep of the cascade."""

    @cached_property
    def key(self) -> tuple[str, str]:
        return self.run, self.images

    def fits(self, level: CascadeLevel) -> bool:
        """True where it has all that the level states."""
        name, *parameters = _method(level.method)
        return (
            (self.run.startswith(level.run) if level.run is not None else self.sweep == (level.sweep or ""))
            and level.sigma in (None, self.count.sigma)
            and level.seed in (None, self.train.seed)
            and name in (None, self.train.method)
            and all(self._has(key, value) for key, value in parameters)
        )

    def _has(self, key: str, value: Any) -> bool:
        """True where the method has this hyper-parameter; a checkpoint's file is given by its path or the end of it."""
        if key == "file" and isinstance(value, str):
            wanted = PurePath(value).parts
            return bool(wanted) and PurePath(self.train.file).parts[-len(wanted) :] == wanted
        return bool(self.train.hyperparameters.get(key) == value)


def _method(method: str | dict[str, Any] | None) -> list[Any]:
    """The name, and pairs of hyper-parameter and value."""
    if not isinstance(method, dict):
        return [method]
    return [method.get("name"), *((key, value) for key, value in method.items() if key != "name")]


@dataclass(frozen=True)
class Context:
    """Settings that the levels of one cascade share unless they state them: method and settings, of a sweep's own runs, and seed."""

    seed: int | None
    method: str | None = None
    runs: frozenset[tuple[str, str]] = frozenset()
    """Keys of the sweep's own runs with these settings, at any σ."""

    def __str__(self) -> str:
        return f" of {self.method}, seed {self.seed}" if self.method else f", seed {self.seed}"


Combined = tuple[list[list[Candidate[Item]]], list[str]]


def combine(levels: Sequence[CascadeLevel], candidates: Sequence[Candidate[Item]]) -> Combined[Item]:
    """The runs of each cascade, one per method, settings and seed that the levels leave open; and notes on incomplete ones.

    Raises InputError where there is none, where a run would be two levels, and where a level could be several runs.
    """
    # The first of each: a run that a grid names repeatedly is one, and one that two sweeps have is in both.
    unique = list({(one.sweep, *one.key): one for one in reversed(candidates)}.values())[::-1]
    stated = [level.sigma for level in levels if level.free]
    if None not in stated and len(set(stated)) < len(stated):
        raise InputError("its levels need different σ, by which the runs of a sweep are found.")
    fitting = [[one for one in unique if one.fits(level)] for level in levels]
    for level, found in zip(levels, fitting, strict=True):
        if not found and not level.free:
            raise InputError(_missing(unique, level))
    combined: dict[tuple[tuple[str, str], ...], list[Candidate[Item]]] = {}
    left_out = []
    for context in _wanted(levels, fitting, _contexts(unique)):
        chosen = [_of_context(level, some, context) for level, some in zip(levels, fitting, strict=True)]
        lacking = [level for level, some in zip(levels, chosen, strict=True) if some is None]
        if lacking:
            at = ", ".join(map(str, lacking)).replace(", σ = ", ", ")
            left_out.append(
                f"No cascade{context}: no run with these settings at {at}.{_available(unique, lacking[0])}"
            )
            continue
        runs = [one for one in chosen if one is not None]
        if len({one.key for one in runs}) < len(runs):
            raise InputError(f"{runs[0].run} would be two of its levels.")
        combined[tuple(one.key for one in runs)] = runs
    return list(combined.values()), left_out


def _wanted(
    levels: Sequence[CascadeLevel],
    fitting: list[list[Candidate[Item]]],
    contexts: dict[tuple[str, str], Context],
) -> list[Context]:
    """One context for each cascade: those of the sweep's own runs, else methods and seeds that the levels leave open."""
    pairs = list(zip(levels, fitting, strict=True))
    if any(level.free for level in levels):
        wanted = [contexts[one.key] for level, some in pairs if level.free for one in some]
    elif any(level.of_any_method for level in levels):
        wanted = [
            Context(one.train.seed, one.train.method)
            for level, some in pairs
            if level.of_any_method
            for one in some
        ]
    else:
        seeds = [{one.train.seed for one in some} for some in fitting]
        wanted = [Context(seed) for some in seeds if len(some) > 1 for seed in sorted(some)] or [
            Context(None)
        ]
    return list(dict.fromkeys(wanted))


def _contexts(candidates: Sequence[Candidate[Any]]) -> dict[tuple[str, str], Context]:
    """The context of each of the sweep's own runs, by key."""
    own = [one for one in candidates if not one.sweep]
    alike: dict[str, list[Candidate[Any]]] = {}
    for one, settings in zip(own, varying_settings([(one.train, one.count) for one in own]), strict=True):
        told = {key: value for key, value in settings.items() if key != "certification.sigma"}
        parts = [data_key(one.train, one.count), one.images, one.train.method, one.train.seed, told]
        alike.setdefault(json.dumps(parts, sort_keys=True, default=str), []).append(one)
    return {
        one.key: Context(one.train.seed, one.train.method, frozenset(each.key for each in several))
        for several in alike.values()
        for one in several
    }


def _of_context(
    level: CascadeLevel, fitting: list[Candidate[Item]], context: Context
) -> Candidate[Item] | None:
    """The run of a level in a context, None without one; raises InputError where that leaves a choice."""
    left = fitting
    if level.free:
        left = [one for one in fitting if one.key in context.runs]
    else:
        if level.of_any_method:
            left = [one for one in left if one.train.method == context.method] or left
        if len({one.train.seed for one in left}) > 1 and context.seed is not None:
            left = [one for one in left if one.train.seed == context.seed]
    left = list({one.key: one for one in left}.values())
    if len(left) > 1:
        # Of a model certified at several σ and one trained at this σ the latter is meant.
        left = [one for one in left if one.train.sigma == one.count.sigma] or left
    if len(left) > 1:
        runs = ", ".join(one.run for one in left[:6])
        raise InputError(
            f"several runs of {left[0].train.method} could be the level {level}: {runs}. Give the id of one as the level, or "
            "{ method = { name = …, … }, sigma = …, seed = … }; 'rsctl compare' takes a cascade of chosen runs, as RUN@τ+RUN."
        )
    return left[0] if left else None


def _missing(candidates: Sequence[Candidate[Any]], level: CascadeLevel) -> str:
    if level.run is not None:
        return f"no certification run has an id that begins with '{level.run}'. 'rsctl status SWEEP' lists the runs of a sweep."
    return f"no run fits the level {level}.{_available(candidates, level)}"


def _available(candidates: Sequence[Candidate[Any]], level: CascadeLevel) -> str:
    known = [one for one in candidates if one.sweep == (level.sweep or "")]
    named = dict.fromkeys(f"{one.train.method} at σ = {one.count.sigma:g}" for one in known)
    return f" Available: {', '.join(list(named)[:12]) or '(no certification run)'}."


def differing(first: Candidate[Any], other: Candidate[Any]) -> Iterator[str]:
    """Sentences on what two levels may not differ in, but do."""
    pairs = [(key, getattr(first.count, field), getattr(other.count, field)) for field, key in SHARED.items()]
    pairs += [("alpha", first.alpha, other.alpha), ("choice of images", first.images, other.images)]
    for key, mine, its in pairs:
        if mine != its:
            yield f"a cascade needs the same {key} at every level: {first.run} has {mine}, {other.run} has {its}."
