"""`[[cascade]]` of a sweep file, and the runs that its levels name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BeforeValidator, Field, field_validator, model_validator

from rsctl.catalog.declare import Parameters
from rsctl.config.names import SafeName
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


EXAMPLE_ORIGIN = {
    "sweep": "my-sweep-val",
    "split": "val",
    "images": 500,
    "objective": "certified accuracy at 0.5",
}


class CascadeLevel(Parameters):
    """A level of a cascade in `cascade.levels`."""

    sigma: Annotated[float, Field(gt=0, le=100)] | None = Field(None, examples=[0.25])
    """Its noise level in certification."""
    method: str | dict[str, Any] | None = Field(None, examples=["smoothadv"])
    """Its method: a name, or a table of `name` and hyper-parameters. By default each method of the sweep has a cascade of its own."""
    seed: Annotated[int, Field(ge=0)] | None = Field(None, examples=[0])
    """Its training seed; by default each seed has a cascade of its own."""
    sweep: SafeName | None = Field(None, examples=["other-sweep"])
    """The sweep of the store that has it; by default this one."""
    run: str | None = Field(None, examples=["gaussian-digits-s0.25-0a1b2c3d-4e5f6a7b"])
    """Id of its certification run, or the beginning of one, in this sweep or any other."""

    @model_validator(mode="after")
    def _some(self) -> CascadeLevel:
        if self.run is None and self.sigma is None and self.method is None and self.sweep is None:
            raise ValueError("a level needs sigma, method, sweep or run")
        return self

    @property
    def free(self) -> bool:
        """True where it is one run of each method and seed of the sweep."""
        return self.run is None and self.method is None and self.sweep is None

    @property
    def of_any_method(self) -> bool:
        """True where a sweep's runs of several methods may be meant."""
        return self.run is None and self.method is None

    def __str__(self) -> str:
        if self.run is not None:
            return f"run {self.run}"
        method = self.method if isinstance(self.method, str) else json.dumps(self.method)
        parts = [method] if self.method is not None else []
        parts += [f"σ = {self.sigma:g}"] if self.sigma is not None else []
        parts += [f"seed = {self.seed}"] if self.seed is not None else []
        return ", ".join(parts + ([f"sweep {self.sweep}"] if self.sweep is not None else []))


def _as_level(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float, str, dict, CascadeLevel)):
        raise ValueError(
            f"a level is a σ, the id of a run, or a table of {', '.join(CascadeLevel.model_fields)}"
        )
    if isinstance(value, str):
        return {"run": value}
    return {"sigma": float(value)} if isinstance(value, (int, float)) else value


def _as_thresholds(value: Any) -> Any:
    """The threshold or thresholds; one message for every way in which they can be wrong."""
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, bool) or not isinstance(one, (int, float)) or not 0.5 <= one < 1:
            raise ValueError(
                "give a threshold in [0.5, 1), or a list of one for each level but the last: below 0.5 two classes could exceed it"
            )
    return value


class CascadeOrigin(Parameters):
    """`tuned` of a `[[cascade]]`: the choice of its levels, order and thresholds, as `rsctl tune` prints it."""

    sweep: SafeName = Field(examples=["my-sweep-val"])
    """The sweep whose counts chose."""
    split: Literal["test", "val"] = Field(examples=["val"])
    """The split of its images."""
    images: Annotated[int, Field(ge=1)] = Field(examples=[500])
    """Their number."""
    objective: Annotated[str, Field(max_length=1000)] = Field(examples=["certified accuracy at 0.5"])
    """The number that is the largest for the choice."""


class CascadeTable(Parameters):
    """`[[cascade]]`: several runs as one classifier, certified from their counts."""

    levels: list[Annotated[CascadeLevel, BeforeValidator(_as_level, json_schema_input_type=float | str)]] = (
        Field(examples=[[0.25, 0.5]])
    )
    """Its levels, in order: each a σ of the sweep, the id of a run, or a table such as `{ method = "smoothadv", sigma = 0.5 }` or
    `{ sweep = "other", sigma = 0.5 }`. Levels need Gaussian noise, a fixed n and the same images. Nothing is run beyond them."""
    tau: Annotated[float | list[float], BeforeValidator(_as_thresholds)] = Field(examples=[0.9])
    """Threshold that a class's probability must exceed for a level to return it; or a list of one for each level but the last."""

    tuned: CascadeOrigin | None = Field(None, examples=[EXAMPLE_ORIGIN])
    """The choice of levels, order and tau, as `rsctl tune` prints it; tables name it."""

    @field_validator("levels")
    @classmethod
    def _two(cls, value: list[CascadeLevel]) -> list[CascadeLevel]:
        if len(value) < 2:
            raise ValueError("a cascade needs two levels at least")
        return value

    @model_validator(mode="after")
    def _thresholds(self) -> CascadeTable:
        if isinstance(self.tau, list) and len(self.tau) != len(self.levels) - 1:
            raise ValueError(
                f"{len(self.tau)} thresholds for {len(self.levels)} levels: give one tau for all, or one for each level but the last"
            )
        return self

    @property
    def taus(self) -> tuple[float, ...]:
        """The threshold of each level but the last."""
        return tuple(self.tau) if isinstance(self.tau, list) else (float(self.tau),) * (len(self.levels) - 1)


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
            and all(self.train.hyperparameters.get(key) == value for key, value in parameters)
        )


def _method(method: str | dict[str, Any] | None) -> list[Any]:
    """The name, and pairs of hyper-parameter and value."""
    if not isinstance(method, dict):
        return [method]
    return [method.get("name"), *((key, value) for key, value in method.items() if key != "name")]


@dataclass(frozen=True)
class Context:
    """What the levels of one cascade share unless they state it: method and settings, of a sweep's own runs, and seed."""

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
    unique = list({one.key: one for one in candidates}.values())
    stated = [level.sigma for level in levels if level.free]
    if None not in stated and len(set(stated)) < len(stated):
        raise InputError("its levels need different σ, by which the runs of a sweep are found.")
    fitting = [[one for one in unique if one.fits(level)] for level in levels]
    for level, found in zip(levels, fitting, strict=True):
        if not found and not level.free:
            raise InputError(f"no run is {level}.{_available(unique, level)}")
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


def _available(candidates: Sequence[Candidate[Any]], level: CascadeLevel) -> str:
    if level.run is not None:
        return " 'rsctl status SWEEP' lists the runs of a sweep."
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


def cascade_title(levels: Sequence[tuple[str, float, str]], taus: Sequence[float]) -> str:
    """`gaussian σ = 0.25 → 0.5, τ = 0.9`, from method, σ and other sweep (or empty) of each level."""
    names = [f"{method} (sweep {sweep})" if sweep else method for method, _, sweep in levels]
    same = len(set(names)) == 1
    parts = [
        f"{'' if same and k else f'{name} σ = '}{sigma:g}"
        for k, (name, (_, sigma, _)) in enumerate(zip(names, levels, strict=True))
    ]
    told = taus if len(set(taus)) > 1 else taus[:1]
    return f"{' → '.join(parts)}, τ = {', '.join(f'{tau:g}' for tau in told)}"


def cascade_id(runs: Sequence[str], taus: Sequence[float]) -> str:
    """`A@0.9+B`: run A with threshold 0.9, then run B."""
    before = [f"{run}@{tau:g}" for run, tau in zip(runs[:-1], taus, strict=True)]
    return "+".join([*before, runs[-1]])


def split_id(name: str) -> tuple[list[str], list[float]]:
    """The runs and thresholds of `A@0.9+B`; raises InputError where a threshold is missing or no number."""
    *before, last = name.split("+")
    runs, taus = [], []
    for part in before:
        run, _, tau = part.rpartition("@")
        try:
            taus.append(float(tau))
        except ValueError as error:
            raise InputError(
                f"'{name}': '{part}' has no threshold. A cascade is written RUN@τ+RUN, such as {part.strip('@')}@0.9+{last}."
            ) from error
        runs.append(run)
    return [*runs, last], taus
