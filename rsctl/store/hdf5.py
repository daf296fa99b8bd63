"""The arrays and attributes of a data file. Imports nothing but h5py and numpy: `rsctl.store.strangers` starts a process with it."""

from __future__ import annotations

import io
import math
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from rsctl.store.digest import SIZE, Corrupt, sealed

LARGEST = 400_000_000
"""Most bytes of a file without a digest, and of the arrays in it."""
KINDS = ("<i4", "<i8", "<f4", "<f8")
_UNREAD = "certificates"
"""Radii for plain h5py users; rsctl derives its own from the counts."""
TEXTS = "functions"
_MOST, _DEEPEST, _RANK, _FILTERS = 1000, 2, 4, (1, 2)  # the filters are gzip and shuffle
_TIGHTEST = 1100
"""Largest ratio of an array's bytes to those that gzip stored."""

Attribute = str | int | float


@dataclass(frozen=True)
class Content:
    """The content of a data file."""

    arrays: dict[str, NDArray[Any]]
    """Arrays by path: `counts`, `looks/draws`, `pending/index`."""
    texts: list[str]
    """The texts of `functions`."""
    attributes: dict[str, Attribute]
    digest: bool
    """True where its bytes match the digest that was written with them."""


def put(group: Any, name: str, values: NDArray[Any], *, compressed: bool = False) -> None:
    """Write a data set. Counts over many classes are nearly all zero: compressed, they are as small as a sparse form."""
    wide = compressed or (values.ndim >= 2 and values.shape[-1] > 64)
    options = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if wide and values.size else {}
    group.create_dataset(name, data=values, **options)


def encode(write: Callable[[Any], None]) -> bytes:
    """The bytes of a data file with what `write` puts into it."""
    name = uuid.uuid4().hex  # of no file
    with h5py.File(name, "w", driver="core", backing_store=False, userblock_size=SIZE) as file:
        write(file)
        file.flush()
        return sealed(bytes(file.id.get_file_image()))


def decode(data: bytes, *, digest: bool) -> Content:
    """The content of these bytes, with every array stored in them; `digest` is True if their digest was verified.

    Raises Corrupt.
    """
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            arrays: dict[str, NDArray[Any]] = {}
            texts, left = list[str](), _TIGHTEST * len(data) if digest else LARGEST
            for path, dataset in _datasets(file):
                left -= _size(path, dataset, left)
                if len(arrays) > _MOST:
                    raise Corrupt(f"it has more than {_MOST} data sets")
                if path == TEXTS:
                    texts = [_text(text) for text in dataset.asstr()[()].tolist()]
                else:
                    arrays[path] = dataset[()]
            return Content(arrays, texts, _attributes(file), digest)
    except Corrupt:
        raise
    except Exception as error:
        # Damaged files make h5py raise nearly any exception; all are problems of this file.
        reason = "".join(letter for letter in str(error)[:200] if letter.isprintable())
        raise Corrupt(f"it can't be read as HDF5 ({type(error).__name__}: {reason})") from error


def _datasets(group: Any, above: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    for name in group:
        path = above + name
        if path == _UNREAD:
            continue
        if not path.isprintable():
            raise Corrupt("it has data sets with unprintable names")
        if group.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
            raise Corrupt(f"'{path}' is a link to somewhere else")
        item = group[name]
        if isinstance(item, h5py.Dataset):
            yield path, item
        elif isinstance(item, h5py.Group) and depth < _DEEPEST:
            yield from _datasets(item, f"{path}/", depth + 1)
        else:
            raise Corrupt(f"'{path}' is neither a data set nor a group of them")


def _size(path: str, dataset: Any, most: int) -> int:
    """Bytes of the array; raises Corrupt where its type or layout isn't allowed, or this file doesn't hold all of it."""
    created, shape, kind = dataset.id.get_create_plist(), dataset.id.shape, dataset.id.dtype
    layout, filters = created.get_layout(), [created.get_filter(i)[0] for i in range(created.get_nfilters())]
    if layout == h5py.h5d.VIRTUAL or created.get_external_count():
        raise Corrupt(f"'{path}' keeps its data in other files")
    if (
        shape is None
        or not 1 <= len(shape) <= _RANK
        or dataset.id.get_space().get_simple_extent_type() != h5py.h5s.SIMPLE
    ):
        raise Corrupt(f"'{path}' has shape {shape}")
    if path == TEXTS:
        if h5py.check_string_dtype(kind) is None or math.prod(shape) > _MOST:
            raise Corrupt(f"'{path}' has type {kind} and shape {shape}")
        return 0
    if kind.str not in KINDS:
        raise Corrupt(f"'{path}' has type {kind}; allowed are {', '.join(KINDS)}")
    size: int = math.prod(shape) * kind.itemsize
    if size > most:
        raise Corrupt(f"'{path}' has shape {shape}, which exceeds the size limit")
    if not set(filters) <= set(_FILTERS):
        raise Corrupt(f"'{path}' is stored with filters that rsctl doesn't use")
    stored, whole = dataset.id.get_storage_size(), True
    if layout == h5py.h5d.CHUNKED:
        chunk = created.get_chunk()
        there = math.prod(-(-side // part) for side, part in zip(shape, chunk, strict=True))
        whole = dataset.id.get_num_chunks() == there and math.prod(chunk) * kind.itemsize <= LARGEST
    if not whole or size > stored * (_TIGHTEST if filters else 1):
        raise Corrupt(f"'{path}' has shape {shape}, but the file doesn't hold all of it")
    return size


def _attributes(file: Any) -> dict[str, Attribute]:
    if len(file.attrs) > _MOST:
        raise Corrupt(f"it has more than {_MOST} attributes")
    found: dict[str, Attribute] = {}
    for name in file.attrs:
        if not name.isprintable() or file.attrs.get_id(name).shape != ():
            raise Corrupt(f"the attribute {name!r} is not a single value")
        value = file.attrs[name]
        value = value.item() if isinstance(value, np.generic) else value
        if not isinstance(value, (int, float, str)):
            raise Corrupt(f"the attribute '{name}' is neither a number nor a string")
        found[name] = _text(value) if isinstance(value, str) else value
    return found


def _text(value: Any) -> str:
    text = str(value)
    text.encode()  # lone surrogates, which no text has, stand for bytes that are no UTF-8
    return text
