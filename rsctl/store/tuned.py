"""Cascades that were chosen by the counts of a sweep, in `sweeps/<name>/tuned.json`, so that its tables can mark them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, cast

from pydantic import FailFast, Field, with_config
from typing_extensions import NotRequired, TypedDict

from rsctl.config.runs import DrawnSpec, TableSpec
from rsctl.store.fields import STRICT, Alpha, Amount, Counts, Text, Texts
from rsctl.store.files import replace, to_json
from rsctl.store.layout import Store
from rsctl.store.records import Kind, read_or_skip

FILE = "tuned.json"
_Numbers = Annotated[list[Amount], Field(max_length=1000), FailFast()]


@dataclass(frozen=True)
class Tuning:
    """The origin of a cascade's levels, order and thresholds."""

    sweep: str
    split: str
    images: int
    objective: str
    here: bool
    """The measurement is over images that the choice was made on."""
    own_draws: bool
    """The choice was made by draws of the measurement, or of another run with the same noise; or it may have been."""

    @property
    def mark(self) -> str:
        """The end of a cascade's name; empty where it was tuned on other images."""
        return ", tuned on these images" if self.here else ""


@with_config(STRICT)
class TunedRecord(TypedDict):
    """One choice by `rsctl tune`."""

    levels: _Numbers
    """Noise levels in the order of the cascade."""
    taus: _Numbers
    method: Text
    objective: Text
    alpha: Alpha
    value: Amount
    """The objective on these images."""
    data: Text
    """Key of the data set and split, as `rsctl.results.notes.data_of` makes it."""
    split: Text
    images: Counts
    """Positions in the split."""
    runs: Texts
    """The runs whose counts were used."""
    noise: NotRequired[Texts]
    """Keys of their draws, by `noise_key_of`: with another n the same images get the same draws, and more or fewer of them."""
    sweep: NotRequired[Text]
    """The sweep whose images chose, where the record was received with a sweep that uses the cascade."""


@with_config(STRICT)
class TunedFileRecord(TypedDict):
    """`sweeps/<name>/tuned.json`."""

    choices: Annotated[list[TunedRecord], Field(max_length=10_000), FailFast()]


TUNED = Kind(TunedFileRecord)


def noise_key_of(spec: TableSpec) -> str:
    """The key of a run's draws as text; empty where nothing is drawn."""
    return json.dumps(spec.noise_key) if isinstance(spec, DrawnSpec) else ""


def tuned_on(store: Store, sweep: str) -> list[TunedRecord]:
    """The choices made on a sweep's images; none where the file is missing or can't be read."""
    found = read_or_skip(store.sweep_folder(sweep) / FILE, TUNED)
    return cast("list[TunedRecord]", found["choices"]) if found else []


def every_tuned(store: Store) -> Iterator[tuple[str, TunedRecord]]:
    """The choices of all sweeps with the names of these, in their alphabetical order."""
    try:
        names = sorted(entry.name for entry in os.scandir(store.root / "sweeps"))
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        if os.path.lexists(store.root / "sweeps" / name / FILE):
            for one in tuned_on(store, name):
                yield one.get("sweep", name), one


def record_tuned(store: Store, sweep: str, found: Sequence[TunedRecord]) -> None:
    """Add choices to those of a sweep, so that later tables of the same images can mark them."""
    choices = tuned_on(store, sweep)
    choices += [one for one in found if one not in choices]
    replace(store.sweep_folder(sweep) / FILE, to_json({"choices": choices}))
