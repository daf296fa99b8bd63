"""A shard: the counts of one attempt at one task, in one small HDF5 file that is replaced and never appended to.

| dataset | shape, type | meaning |
|---|---|---|
| `index`, `label` | (N,) int64, int32 | position in the data split, ground truth |
| `selection_counts`, `counts` | (N, C) int32 | the n0 draws that choose the class; the n estimation draws |
| `n`, `seconds` | (N,) int64, float64 | estimation draws, wall time |
| `fingerprint` | (N,) int32 | which executed function: a row of `functions` |
| `looks/draws`, `looks/counts` | (K,) int64, (N, K, C) int32 | of sequential tables: counts at every look |
| `shells/edges`, `shells/counts` | (S − 1,) float64, (N, S, C) int32 | where noise norms are kept apart: the estimation draws by shell |
| `certificates/<name>/radius`, `…/predicted` | (N,) float64, int32 | for plain h5py users; the tool itself derives from counts |
| `pending/…` | images under way | the same, with the number of blocks drawn so far |
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from rsctl.certificates import Certified, Looks, Shells
from rsctl.store.files import read_bytes

SCHEMA = 1
_COLUMNS: dict[str, str] = {
    "index": "i8", "label": "i4", "selection_counts": "i4", "counts": "i4", "n": "i8", "seconds": "f8", "fingerprint": "i4",
}  # fmt: skip
_PENDING: dict[str, str] = {
    "index": "i8", "label": "i4", "selection_counts": "i4", "counts": "i4",
    "selection_blocks": "i8", "estimation_blocks": "i8", "seconds": "f8", "fingerprint": "i4", "looks": "i4", "shells": "i4",
}  # fmt: skip


class Corrupt(Exception):
    """The file isn't a shard of this format; the message says what is wrong with it."""


@dataclass
class Rows:
    """Finished images, one row each."""

    index: NDArray[np.int64]
    label: NDArray[np.int32]
    selection_counts: NDArray[np.int32]
    counts: NDArray[np.int32]
    n: NDArray[np.int64]
    seconds: NDArray[np.float64]
    fingerprint: NDArray[np.int32]
    looks: Looks | None = None
    """Counts at every look, of a table that was looked at while it was drawn."""
    shells: Shells | None = None
    """Estimation counts by noise norm, where the sampler kept them apart."""

    def __len__(self) -> int:
        return len(self.index)

    def take(self, rows: Any) -> Rows:
        columns: dict[str, Any] = {name: getattr(self, name)[rows] for name in _COLUMNS}
        looks = Looks(self.looks.draws, self.looks.counts[rows]) if self.looks else None
        shells = Shells(self.shells.edges, self.shells.counts[rows]) if self.shells else None
        return Rows(**columns, looks=looks, shells=shells)

    @classmethod
    def empty(cls, classes: int) -> Rows:
        wide = ("selection_counts", "counts")
        columns: dict[str, Any] = {
            name: np.empty((0, classes) if name in wide else 0, kind) for name, kind in _COLUMNS.items()
        }
        return cls(**columns)

    @classmethod
    def concatenate(cls, parts: list[Rows]) -> Rows:
        columns: dict[str, Any] = {
            name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS
        }
        looks = [part.looks for part in parts if part.looks]
        joined = Looks(looks[0].draws, np.concatenate([look.counts for look in looks])) if looks else None
        shells = [part.shells for part in parts if part.shells]
        split = (
            Shells(shells[0].edges, np.concatenate([shell.counts for shell in shells])) if shells else None
        )
        return cls(**columns, looks=joined, shells=split)


@dataclass
class Pending:
    """One image under way: the blocks drawn so far are the first ones of each phase."""

    index: int
    label: int
    selection_counts: NDArray[np.int32]
    counts: NDArray[np.int32]
    selection_blocks: int
    estimation_blocks: int
    seconds: float
    fingerprint: int
    looks: NDArray[np.int32]
    """(K, C): the estimation counts at each look, zeros where none was taken yet; (0, C) for a fixed n."""
    shells: NDArray[np.int32]
    """(S, C): the estimation counts by noise norm; (0, C) where they are not kept apart."""


@dataclass
class Shard:
    """What one file holds."""

    rows: Rows
    attributes: dict[str, Any]
    """Spec, its hash, the model's SHA-256, the data's fingerprint, versions: plain JSON values."""
    functions: list[dict[str, Any]]
    """The functions as executed; `fingerprint` of a row points here."""
    pending: list[Pending] = field(default_factory=list)


def encode_shard(shard: Shard, certificates: Mapping[str, Certified], alpha: float) -> bytes:
    """The bytes of a shard's file, with the radii of these certificates at `alpha` beside the counts."""
    with h5py.File.in_memory() as file:
        file.attrs["schema"] = SCHEMA
        for name, value in shard.attributes.items():
            file.attrs[name] = value if isinstance(value, (int, float, str)) else json.dumps(value)
        file["functions"] = np.array(
            [json.dumps(f, sort_keys=True) for f in shard.functions], h5py.string_dtype()
        )
        for name, kind in _COLUMNS.items():
            _put(file, name, np.asarray(getattr(shard.rows, name), kind))
        if shard.rows.looks:
            file["looks/draws"] = np.asarray(shard.rows.looks.draws, "i8")
            _put(file, "looks/counts", np.asarray(shard.rows.looks.counts, "i4"))
        if shard.rows.shells:
            file["shells/edges"] = np.asarray(shard.rows.shells.edges, "f8")
            _put(file, "shells/counts", np.asarray(shard.rows.shells.counts, "i4"))
        for name, certified in certificates.items():
            group = file.create_group(f"certificates/{name}")
            group.attrs["alpha"] = alpha
            group["radius"] = certified.radius
            group["predicted"] = certified.predicted.astype("i4")
        if shard.pending:
            group = file.create_group("pending")
            for name, kind in _PENDING.items():
                _put(group, name, np.array([getattr(image, name) for image in shard.pending], kind))
        file.flush()
        return bytes(file.id.get_file_image())


def _put(group: Any, name: str, values: NDArray[Any]) -> None:
    # Counts over many classes are nearly all zero; compressed they cost what a sparse form would.
    wide = values.ndim >= 2 and values.shape[-1] > 64 and values.size > 0
    group.create_dataset(
        name, data=values, **({"compression": "gzip", "compression_opts": 1, "shuffle": True} if wide else {})
    )


def read_shard(path: Path) -> Shard:
    """Read a shard in one go; raises Corrupt if the file isn't one, FileNotFoundError if it isn't there."""
    data = read_bytes(path)
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            if file.attrs.get("schema") != SCHEMA:
                raise Corrupt(f"schema {file.attrs.get('schema')!r} instead of {SCHEMA}")
            rows = Rows(**{name: file[name][()] for name in _COLUMNS})
            if "looks" in file:
                rows.looks = Looks(file["looks/draws"][()], file["looks/counts"][()])
            if "shells" in file:
                edges = tuple(float(edge) for edge in file["shells/edges"][()])
                rows.shells = Shells(edges, file["shells/counts"][()])
            functions = [json.loads(text) for text in file["functions"].asstr()[()]]
            attributes = {name: _attribute(value) for name, value in file.attrs.items()}
            pending = []
            if "pending" in file:
                columns = {name: file["pending"][name][()] for name in _PENDING}
                pending = [
                    Pending(**{name: column[i] for name, column in columns.items()})
                    for i in range(len(columns["index"]))
                ]
    except Corrupt:
        raise
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise Corrupt(f"it can't be read as a shard ({error})") from error
    problem = _inconsistency(rows, functions)
    if problem:
        raise Corrupt(problem)
    return Shard(rows, attributes, functions, pending)


def _attribute(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _inconsistency(rows: Rows, functions: list[dict[str, Any]]) -> str:
    count = len(rows)
    for name, kind in _COLUMNS.items():
        column = getattr(rows, name)
        if len(column) != count or column.dtype != np.dtype(kind):
            return f"'{name}' has shape {column.shape} and type {column.dtype}"
    if rows.counts.ndim != 2 or rows.counts.shape != rows.selection_counts.shape:
        return (
            f"counts {rows.counts.shape} and selection_counts {rows.selection_counts.shape} differ in shape"
        )
    if rows.looks and rows.looks.counts.shape != (count, len(rows.looks.draws), rows.counts.shape[1]):
        return f"looks of shape {rows.looks.counts.shape} don't fit counts {rows.counts.shape}"
    if rows.shells and rows.shells.counts.shape != (count, len(rows.shells.edges) + 1, rows.counts.shape[1]):
        return f"counts by shell of shape {rows.shells.counts.shape} don't fit counts {rows.counts.shape}"
    if (rows.counts < 0).any() or (rows.selection_counts < 0).any():
        return "a count is negative"
    if (rows.counts.sum(axis=1) != rows.n).any():
        return f"counts of image {rows.index[(rows.counts.sum(axis=1) != rows.n).argmax()]} don't sum to n"
    if count and (rows.fingerprint.min() < 0 or rows.fingerprint.max() >= len(functions)):
        return "a fingerprint points outside 'functions'"
    return ""
