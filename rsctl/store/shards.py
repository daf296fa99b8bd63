"""A shard: the rows of one attempt at one task, in one small HDF5 file that is replaced and never appended to.

| dataset | shape, type | meaning |
|---|---|---|
| `index`, `label` | (N,) int64, int32 | position in the data split, ground truth |
| `selection_counts`, `counts` | (N, C) int32 | the n0 draws that choose the class; the n estimation draws |
| `n`, `seconds` | (N,) int64, float64 | estimation draws (0 where a level sampled as needed leaves out the image), wall time |
| `fingerprint` | (N,) int32 | executed function: a row of `functions` |
| `looks/draws`, `looks/counts` | (K,) int64, (N, K, C) int32 | with sequential sampling: counts at every look |
| `shells/edges`, `shells/counts` | (S − 1,) float64, (N, S, C) int32 | with `shells`: the estimation draws by shell |
| `disagreements` | (N, C) int32 | with `transfer`: draws on which the fp32 network chose another class, by f's class |
| `halves/draws`, `…/others`, `…/products` | (2,) int64, (N, 2) int32, (N, 3) float64 | with `gradient`: see `rsctl.certificates.table.GradientSums` |
| `certificates/<name>/radius`, `…/predicted` | (N,) float64, int32 | for plain h5py users; rsctl itself derives radii from counts |
| `pending/…` | partly sampled images | the same, with the number of blocks drawn so far |

The shard of a verifier or an attack has `index`, `label`, `seconds`, `fingerprint`, and besides (see `rsctl.store.rows.DistanceBounds`):

| dataset | shape, type | meaning |
|---|---|---|
| `predicted` | (N,) int32 | class of the clean image |
| `radius`, `broken` | (N,) float64 | proved within; distance of a known adversarial image, inf where there is none |
| `adversarial` | (N, channels, size, size) float32 | that image, with `keep_images` |

Its first 512 bytes hold a digest of the others (`rsctl.store.digest`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from rsctl.certificates import Certified
from rsctl.store.digest import Corrupt
from rsctl.store.extras import Values, extra_columns
from rsctl.store.hdf5 import encode, put
from rsctl.store.rows import DistanceBounds, ImageRows, Rows
from rsctl.store.strangers import read_data_file

__all__ = ["Corrupt", "Pending", "Rows", "Shard", "encode_shard", "read_shard"]

SCHEMA = 1
NONE: Mapping[str, Certified] = {}
_PENDING: dict[str, str] = {
    "index": "i8", "label": "i4", "selection_counts": "i4", "counts": "i4",
    "selection_blocks": "i8", "estimation_blocks": "i8", "seconds": "f8", "fingerprint": "i4",
}  # fmt: skip


@dataclass
class Pending:
    """A partly sampled image: the blocks drawn so far are the first ones of each phase."""

    index: int
    label: int
    selection_counts: NDArray[np.int32]
    counts: NDArray[np.int32]
    selection_blocks: int
    estimation_blocks: int
    seconds: float
    fingerprint: int
    extras: dict[str, Values] = field(default_factory=dict)
    """Measurements beside the counts, by name."""


@dataclass
class Shard:
    """The content of one file."""

    rows: ImageRows
    attributes: dict[str, Any]
    """Spec, its hash, the model's SHA-256, the data's fingerprint, versions: plain JSON values."""
    functions: list[dict[str, Any]]
    """The functions as executed; `fingerprint` of a row points here."""
    pending: list[Pending] = field(default_factory=list)
    digest: bool = True
    """False where the file has none, as in earlier versions: its numbers are unverified."""


def encode_shard(shard: Shard, certificates: Mapping[str, Certified] = NONE, alpha: float = 0.0) -> bytes:
    """The bytes of a shard's file, with the radii of these certificates at `alpha` beside the counts."""

    def write(file: Any) -> None:
        file.attrs["schema"] = SCHEMA
        for name, value in shard.attributes.items():
            file.attrs[name] = value if isinstance(value, (int, float, str)) else json.dumps(value)
        file["functions"] = np.array(
            [json.dumps(f, sort_keys=True) for f in shard.functions], h5py.string_dtype()
        )
        shard.rows.write(file)
        for name, certified in certificates.items():
            group = file.create_group(f"certificates/{name}")
            group.attrs["alpha"] = alpha
            group["radius"] = certified.radius
            group["predicted"] = certified.predicted.astype("i4")
        if shard.pending:
            group = file.create_group("pending")
            for name, kind in _PENDING.items():
                put(group, name, np.array([getattr(image, name) for image in shard.pending], kind))
            classes = len(shard.pending[0].counts)
            for name, extra in extra_columns().items():
                if extra.always or name in shard.pending[0].extras:
                    values = [image.extras.get(name) for image in shard.pending]
                    extra.write_under_way(group, values, classes)

    return encode(write)


def read_shard(path: Path) -> Shard:
    """Read a shard in one go; raises Corrupt if the file isn't one, FileNotFoundError if it isn't there."""
    content = read_data_file(path)
    arrays, attributes = content.arrays, content.attributes
    if attributes.get("schema") != SCHEMA:
        raise Corrupt(f"schema {attributes.get('schema')!r} instead of {SCHEMA}")
    try:
        rows: ImageRows = (Rows if "counts" in arrays else DistanceBounds).read(arrays)
        functions = [json.loads(text) for text in content.texts]
        pending = _pending(arrays)
    except (KeyError, ValueError, TypeError, IndexError, RecursionError) as error:
        raise Corrupt(f"it can't be read as a shard ({error})") from error
    if not all(isinstance(function, dict) for function in functions):
        raise Corrupt("its 'functions' are not JSON objects")
    problem = rows.problem(len(functions))
    if problem:
        raise Corrupt(problem)
    return Shard(rows, attributes, functions, pending, content.digest)


def _pending(arrays: Mapping[str, NDArray[Any]]) -> list[Pending]:
    """Partly sampled images; raises KeyError where a column is missing, ValueError where one doesn't fit."""
    if not any(name.startswith("pending/") for name in arrays):
        return []
    columns = {name: arrays[f"pending/{name}"] for name in _PENDING}
    for name, column in columns.items():
        if column.dtype != np.dtype(_PENDING[name]):
            raise ValueError(f"'pending/{name}' has shape {column.shape} and type {column.dtype}")
    found = {name: extra.read_under_way(arrays) for name, extra in extra_columns().items()}
    extras = {name: values for name, values in found.items() if values is not None}
    lengths = {len(array) for values in (columns, *extras.values()) for array in values.values()}
    if len(lengths) > 1:
        raise ValueError(f"the columns of partly sampled images have {sorted(lengths)} rows")
    return [
        Pending(
            **{name: column[row] for name, column in columns.items()},
            extras={
                name: {key: array[row] for key, array in values.items()} for name, values in extras.items()
            },
        )
        for row in range(len(columns["index"]))
    ]
