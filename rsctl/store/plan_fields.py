"""Fields of the plan of a sweep. See `rsctl.store.fields`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, FailFast, Field, with_config
from typing_extensions import NotRequired, TypedDict

from rsctl.config.cascades import cascade_id
from rsctl.store.fields import STRICT, Alpha, Amount, Count, Counts, Name, Text, Time
from rsctl.store.records import Kind, digest_of
from rsctl.store.run_kinds import TABLES, RunKind


@with_config(STRICT)
class ImagesRecord(TypedDict):
    """The choice of a table's images."""

    of: Annotated[int, Field(ge=0, le=20_000_000)]
    start: NotRequired[Count]
    stop: NotRequired[Count]
    skip: Annotated[int, Field(ge=1, lt=2**31)]
    max: Count
    count: Count


def _of_table(kind: RunKind) -> RunKind:
    if not kind.is_table:
        raise ValueError(f"must be one of {', '.join(TABLES)}")
    return kind


@with_config(ConfigDict(strict=True, allow_inf_nan=False))
@dataclass(frozen=True, kw_only=True)
class PlanEntry:
    """One table of a sweep, as recorded in its plan."""

    model: Name
    parents: Annotated[list[Name], Field(max_length=1000), FailFast()] = field(default_factory=list)
    kind: Annotated[RunKind, AfterValidator(_of_table)]
    run: Name
    tasks: Counts
    images: ImagesRecord
    alpha: Alpha | None
    """The alpha of its certificates; only tables of counts have any."""
    certificates: Annotated[list[Text], Field(max_length=1000), FailFast()]
    radii: Annotated[list[Amount], Field(max_length=10_000), FailFast()]
    left_out: Text = ""
    digest: str = ""
    """Digest of the sealed fields; empty in plans of older versions."""

    SEALED: ClassVar = ("alpha", "certificates", "radii", "images")
    """Fields that printed numbers depend on."""

    @property
    def models(self) -> list[str]:
        """Its model's run, after the runs that this one needs."""
        return [*self.parents, self.model]

    @property
    def key(self) -> str:
        """`counts/<id>`."""
        return f"{self.kind}/{self.run}"

    @property
    def is_intact(self) -> bool:
        return self.digest in ("", digest_of(vars(self), self.SEALED))

    def sealed(self) -> PlanEntry:
        return replace(self, digest=digest_of(vars(self), self.SEALED))


def _of_before(entry: Any) -> Any:
    """Converts an entry of the time when counts were the only tables to the current form."""
    if isinstance(entry, dict) and "counts" in entry:
        entry = {"kind": "counts", "run": entry["counts"], **entry}
        del entry["counts"]
    return entry


def _with_alpha(entry: PlanEntry) -> PlanEntry:
    if entry.kind is RunKind.COUNTS and entry.alpha is None:
        raise ValueError("alpha must be a number where images are sampled")
    return entry


def _of_counts(levels: list[PlanEntry]) -> list[PlanEntry]:
    if any(level.kind is not RunKind.COUNTS for level in levels):
        raise ValueError("must be certification runs")
    return levels


@with_config(STRICT)
class CascadeOriginRecord(TypedDict):
    """Where the levels and thresholds of a cascade were chosen."""

    sweep: Text
    split: Text
    images: Count
    objective: Text


@with_config(ConfigDict(strict=True, allow_inf_nan=False))
@dataclass(frozen=True, kw_only=True)
class CascadeEntry:
    """One cascade of a sweep, as recorded in its plan."""

    levels: Annotated[
        list[Annotated[PlanEntry, AfterValidator(_with_alpha)]],
        Field(min_length=2, max_length=1000),
        AfterValidator(_of_counts),
    ]
    sweeps: Annotated[list[Text], Field(max_length=1000)]
    """The other sweep that each level was found in; empty for a run of this sweep."""
    taus: Annotated[list[Annotated[float, Field(ge=0.5, lt=1)]], Field(max_length=1000)]
    """The threshold of each level but the last."""
    tuned: CascadeOriginRecord | None = None
    """As the sweep file states it."""
    digest: str = ""

    def __post_init__(self) -> None:
        if not len(self.levels) == len(self.sweeps) == len(self.taus) + 1:
            raise ValueError("must have a sweep for each level, and a threshold for each but the last")

    @property
    def id(self) -> str:
        """`RUN@0.9+RUN`."""
        return cascade_id([level.run for level in self.levels], self.taus)

    @property
    def is_intact(self) -> bool:
        return self.digest == self._digest and all(level.is_intact for level in self.levels)

    @property
    def _digest(self) -> str:
        sealed = {"id": self.id, "sweeps": self.sweeps, **({"tuned": self.tuned} if self.tuned else {})}
        return digest_of(sealed, tuple(sealed))

    def sealed(self) -> CascadeEntry:
        return replace(self, digest=self._digest)

    @property
    def values(self) -> dict[str, Any]:
        """The entry as a record holds it."""
        return {**vars(self), "levels": [vars(level) for level in self.levels]}


@with_config(STRICT)
class PlanRecord(TypedDict):
    """`sweeps/<name>/plan.json`."""

    schema: NotRequired[Literal[1]]
    name: NotRequired[Text]
    description: Text
    cluster: Text
    submitted: NotRequired[Time]
    entries: Annotated[
        list[Annotated[PlanEntry, BeforeValidator(_of_before), AfterValidator(_with_alpha)]],
        Field(min_length=1, max_length=1_000_000),
        FailFast(),
    ]
    cascades: NotRequired[Annotated[list[CascadeEntry], Field(max_length=100_000), FailFast()]]
    raw: dict[str, Any]


PLAN = Kind(PlanRecord)


def entries_and_levels(plan: PlanRecord) -> list[PlanEntry]:
    """The entries of a sweep, then the levels of its cascades, which may be runs of other sweeps."""
    return [*plan["entries"], *(level for cascade in plan.get("cascades", []) for level in cascade.levels)]
