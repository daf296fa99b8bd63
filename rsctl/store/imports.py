"""Imported results in the store: radii or counts per image, from the per-image logs of other code.

```
<store>/
  imports/<method>-<dataset>-s<σ>-<hash8>/   spec.json  radii.h5
  sweeps/<name>/imports/<import>.json        the sweep that shows it, and the stated n, n0 and alpha
```

`radii.h5` holds `index` (N,) int64, `label` (N,) int32, `predicted` (N,) int32 (-1 where it abstained),
`radius` (N,) float64 (0 there) and `seconds` (N,) float64 (NaN where the log has none), in ascending order of
`index`, and `printed` (N,) float64, half a unit of the last digit of each printed radius. The attribute `counts` is
`unknown`: no other alpha or certificate can be derived from it.

A log of counts has `counts` (N, C) int64, where the attribute is `classes`, or (N, 1), those of the predicted class
alone, where it is `top`; `draws` (N,) int64; and radii of 0: they are derived at the requested alpha.
The file begins with a digest (`rsctl.store.digest`), and the SHA-256 of the rows is in the spec: both are compared.

A log's identity is its rows with σ, method, data and model; n and alpha, which no log records, are stated
by the importer and belong to the sweep. So an import can be repeated and corrected. Both files are
published whole, radii first: a folder with a `spec.json` is complete.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rsctl.config.identity import content_hash, identity
from rsctl.errors import InputError, RefusedError
from rsctl.store.digest import Corrupt
from rsctl.store.fields import SHOWN, SPEC
from rsctl.store.files import names_in, publish, read_json, replace, to_json
from rsctl.store.hdf5 import encode
from rsctl.store.layout import Store
from rsctl.store.plan_fields import PlanRecord
from rsctl.store.records import UnreadableRecord, first_problem, move_aside, read_or_skip, seal, wrong
from rsctl.store.strangers import read_data_file

SCHEMA = 1
_COLUMNS = {"index": "i8", "label": "i4", "predicted": "i4", "radius": "f8", "seconds": "f8"}
_FURTHER = {"printed": "f8", "counts": "i8", "draws": "i8"}
"""Columns that not every log has."""


@dataclass(frozen=True, eq=False)
class Radii:
    """The rows of a log, one per image; shapes (N,), types as in `radii.h5`."""

    index: NDArray[np.int64]
    label: NDArray[np.int32]
    predicted: NDArray[np.int32]
    radius: NDArray[np.float64]
    seconds: NDArray[np.float64]
    printed: NDArray[np.float64] | None = None
    """Half a unit of the last digit of each printed radius; None for older imports."""
    counts: NDArray[np.int64] | None = None
    """(N, C), or (N, 1) of the predicted class alone; None where there are radii alone."""
    draws: NDArray[np.int64] | None = None
    """Number of draws of each image; None without counts."""

    def __len__(self) -> int:
        return len(self.index)

    def take(self, rows: Any) -> Radii:
        return Radii(**{name: column[rows] for name, column in self.columns.items()})

    @property
    def columns(self) -> dict[str, NDArray[Any]]:
        """The columns present, by name."""
        every = {name: getattr(self, name) for name in (*_COLUMNS, *_FURTHER)}
        return {name: column for name, column in every.items() if column is not None}

    @property
    def sha256(self) -> str:
        """SHA-256 of the rows without the times, and without how the radii were printed."""
        digest = hashlib.sha256()
        for name, column in self.columns.items():
            if name not in ("seconds", "printed"):
                digest.update(column.astype(f"<{_COLUMNS.get(name) or _FURTHER[name]}").tobytes())
        return digest.hexdigest()


class ImportSpec(BaseModel):
    """The certified model and its data, as stated by the log, its path and its importer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    kind: Literal["import"] = "import"
    method: str
    dataset: str
    split: str
    model: str
    sigma: float
    noise: Literal["gaussian"] = "gaussian"
    seed: int | None
    certificate: str
    rows: str
    """SHA-256 of the rows."""
    trained_sigma: float | None = Field(default=None, json_schema_extra={"neutral": None})
    """Noise level of the training, where the path states it; None where it states one level alone."""
    counts: Literal["", "top", "classes"] = Field(default="", json_schema_extra={"neutral": ""})
    """Counts of the predicted class or of every class; empty for radii alone."""

    @property
    def hash(self) -> str:
        return content_hash(identity(self))

    @property
    def trained_elsewhere(self) -> float | None:
        """The noise level of the training where it isn't the certificate's."""
        return None if self.trained_sigma in (None, self.sigma) else self.trained_sigma

    @property
    def run_id(self) -> str:
        name = re.sub(r"[^A-Za-z0-9.]+", "-", f"{self.method[:40]}-{self.dataset[:20]}").strip("-.")
        return f"{name or 'log'}-s{self.sigma:g}-{self.hash[:8]}"


@dataclass(frozen=True)
class Import:
    """The folder of one imported log."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @cached_property
    def spec(self) -> ImportSpec:
        file = self.path / "spec.json"
        stored = read_json(file, SPEC)
        try:
            spec = ImportSpec.model_validate(stored.get("spec"))
            found = spec.hash
        except ValueError as error:
            why = first_problem(error) if isinstance(error, ValidationError) else str(error)
            raise UnreadableRecord(file, f"this version of rsctl can't read this import: {why}") from error
        if found != stored.get("hash"):
            raise RefusedError(
                f"{file}: its content doesn't match its hash: it was edited. Remove the folder and import again."
            )
        return spec  # fmt: skip

    @cached_property
    def radii(self) -> Radii:
        """The rows of the log; raises RefusedError where they aren't those that were imported."""
        file = self.path / "radii.h5"
        try:
            content = read_data_file(file)
            kinds = {**_COLUMNS, **{name: kind for name, kind in _FURTHER.items() if name in content.arrays}}
            found = Radii(**{name: content.arrays[name] for name in kinds})
            if problem := self._problem(found, content.digest):
                raise Corrupt(problem)
            return found
        except KeyError as error:
            reason = f"it has no column {error}"
        except (Corrupt, OSError) as error:
            reason = str(error)
        raise RefusedError(f"{file}: can't be used: {reason}. Move its folder away and import again.")

    def _problem(self, found: Radii, digest: bool) -> str:
        """The problem of these rows, or empty."""
        for name, column in found.columns.items():
            kind, rank = _COLUMNS.get(name) or _FURTHER[name], 2 if name == "counts" else 1
            if column.dtype != np.dtype(kind) or column.ndim != rank or len(column) != len(found):
                return (
                    f"'{name}' has shape {column.shape} and type {column.dtype}: different lengths or types"
                )
        if not digest and read_json(self.path / "spec.json").get("digests"):
            return "it has no digest, but was written with one: it was replaced or edited"
        if bool(self.spec.counts) != (found.counts is not None and found.draws is not None):
            return "its counts contradict spec.json"
        if found.sha256 != self.spec.rows:
            return (
                "its rows are not those that were imported: their SHA-256 differs from the one in spec.json"
            )
        if found.printed is not None and not ((found.printed >= 0) & (found.printed < np.inf)).all():
            return "its column 'printed' must hold finite numbers of 0 or more"
        return ""


@dataclass(frozen=True)
class ShownImport:
    """An import as a sweep shows it."""

    log: Import
    n: int | None
    n0: int | None
    alpha: float | None
    source: str
    remarks: list[str]
    """Irregularities of the log, for the readers of its numbers."""


def keep(store: Store, spec: ImportSpec, radii: Radii) -> tuple[Import, bool]:
    """Store a log; returns it and whether it is new."""
    kept = Import(store.root / "imports" / spec.run_id)
    there = os.path.lexists(kept.path / "spec.json")
    try:
        before = kept.spec if there else None
    except UnreadableRecord:
        move_aside(kept.path / "spec.json")
        there = False
    if there:
        if before != spec:
            raise RefusedError(
                f"{kept.path}: holds another log of the same name. Move it away and import again."
            )
        return kept, False

    def write(file: Any) -> None:
        file.attrs["schema"], file.attrs["counts"] = SCHEMA, spec.counts or "unknown"
        for name, column in radii.columns.items():
            file[name] = np.asarray(column, _COLUMNS.get(name) or _FURTHER[name])

    publish(kept.path / "radii.h5", encode(write))
    values = {"schema": SCHEMA, "digests": True, "hash": spec.hash, "spec": identity(spec)}
    return kept, publish(kept.path / "spec.json", to_json(values))


def show(store: Store, sweep: str, shown: ShownImport) -> str:
    """Put an import beside the runs of a sweep; returns `new`, `changed` or `unchanged`."""
    file = store.sweep_folder(sweep) / "imports" / f"{shown.log.id}.json"
    values = seal({
        "schema": SCHEMA, "n": shown.n, "n0": shown.n0, "alpha": shown.alpha, "source": shown.source, "remarks": shown.remarks,
    }, SHOWN)  # fmt: skip
    if wrong(file, SHOWN):
        move_aside(file)
    if not file.exists() and publish(file, to_json(values)):
        return "new"
    before = read_json(file, SHOWN)
    if all(before.get(key) == values[key] for key in ("n", "n0", "alpha", "remarks")):
        return "unchanged"
    replace(file, to_json(values))
    return "changed"


def hide(store: Store, sweep: str, shown: ShownImport) -> None:
    """Remove an import from a sweep; the store keeps it."""
    (store.sweep_folder(sweep) / "imports" / f"{shown.log.id}.json").unlink(missing_ok=True)


def shown_by(store: Store, sweep: str) -> list[ShownImport]:
    """The imports that a sweep shows, by name; unreadable records are skipped."""
    folder = store.sweep_folder(sweep) / "imports"
    found = []
    for name in store.import_names(sweep):
        if record := read_or_skip(folder / f"{name}.json", SHOWN):
            found.append(
                ShownImport(Import(store.root / "imports" / name), record["n"], record["n0"], record["alpha"],
                      record["source"], record["remarks"])
            )  # fmt: skip
    return found


def shown_record(log: Import) -> ShownImport | None:
    """The statements about this log in the first sweep that shows it."""
    store = Store(log.path.parent.parent)
    for name in names_in(store.root / "sweeps"):
        for shown in shown_by(store, name):
            if shown.log.id == log.id:
                return shown
    return None


def imports(store: Store) -> Iterator[Import]:
    """Every import of the store, by name."""
    for name in names_in(store.root / "imports"):
        if (store.root / "imports" / name / "spec.json").is_file():
            yield Import(store.root / "imports" / name)


def find_sweep(store: Store, name: str) -> tuple[PlanRecord, list[ShownImport]]:
    """A sweep's plan and its imported logs; a sweep may consist of imported logs alone."""
    beside = shown_by(store, name)
    if os.path.lexists(store.sweep_folder(name) / "plan.json"):
        return store.sweep(name), beside
    if store.import_names(name):
        return PlanRecord(name=name, description="", cluster="local", entries=[], raw={}), beside
    known = sorted({*store.sweep_names(), *store.import_only()})
    raise InputError(f"no sweep '{name}' in {store.root}. Available: {', '.join(known) or '(none yet)'}.")
