"""`[[cascade]]` of a sweep file, and the runs that its levels name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from rsctl.catalog.declare import Parameters
from rsctl.config.names import SafeName
from rsctl.config.runs import CountSpec
from rsctl.errors import InputError

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


Level = Annotated[CascadeLevel, BeforeValidator(_as_level, json_schema_input_type=float | str)]


def _two(levels: list[CascadeLevel]) -> list[CascadeLevel]:
    if len(levels) < 2:
        raise ValueError("a cascade needs two levels at least")
    return levels


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

    levels: Annotated[list[Level], AfterValidator(_two)] = Field(examples=[[0.25, 0.5]])
    """Its levels, in order: each a σ of the sweep, the id of a run, or a table such as `{ method = "smoothadv", sigma = 0.5 }` or
    `{ sweep = "other", sigma = 0.5 }`. Levels need Gaussian noise, a fixed n and the same images. Nothing is run beyond them."""
    tau: Annotated[float | list[float], BeforeValidator(_as_thresholds)] = Field(examples=[0.9])
    """Threshold that a class's probability must exceed for a level to return it; or a list of one for each level but the last."""

    tuned: CascadeOrigin | None = Field(None, examples=[EXAMPLE_ORIGIN])
    """The choice of levels, order and tau, as `rsctl tune` prints it; tables name it."""
    order: Literal["all", "as-needed"] = "all"
    """`all`: every level samples every image. `as-needed`: a level after the first samples an image only where no level before it
    settles it; its counts then are a run of their own, for this cascade alone."""
    settled_radius: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """With `as-needed`: a level settles an image that it decides with at least this radius, which then is the cascade's; 0 for any radius."""

    @model_validator(mode="after")
    def _thresholds(self) -> CascadeTable:
        if isinstance(self.tau, list) and len(self.tau) != len(self.levels) - 1:
            raise ValueError(
                f"{len(self.tau)} thresholds for {len(self.levels)} levels: give one tau for all, or one for each level but the last"
            )
        if self.settled_radius and self.order == "all":
            raise ValueError(
                'settled_radius is for order = "as-needed": set that, or leave settled_radius out'
            )
        return self

    @property
    def taus(self) -> tuple[float, ...]:
        """The threshold of each level but the last."""
        return tuple(self.tau) if isinstance(self.tau, list) else (float(self.tau),) * (len(self.levels) - 1)


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


def savings(levels: Sequence[tuple[CountSpec, int, int]]) -> dict[str, int]:
    """The draws saved by sampling as needed, from each level's spec, its finished images, and those of them that it left out.

    `left_out` of `of_images` rows of later levels have no draws; sampling them would have cost `draws_saved` of `of_draws` draws in all.
    """
    return {
        "left_out": sum(left_out for _, _, left_out in levels),
        "of_images": sum(images for _, images, _ in levels[1:]),
        "draws_saved": sum(left_out * (spec.n0 + spec.n) for spec, _, left_out in levels),
        "of_draws": sum(images * (spec.n0 + spec.n) for spec, images, _ in levels),
    }


def saved_text(left_out: int, of_images: int, draws_saved: int, of_draws: int) -> str:
    """`as needed, 130 of 200 images left out of later levels: 13,000 of 40,000 draws saved (32%)`."""
    share = draws_saved / of_draws if of_draws else 0.0
    return (
        f"as needed, {left_out:,} of {of_images:,} images left out of later levels: {draws_saved:,} of {of_draws:,} draws saved "
        f"({share:.0%})"
    )


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
