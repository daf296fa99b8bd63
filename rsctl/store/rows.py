"""Rows of a table, one per finished image: counts under noise, or results of a verifier or an attack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from rsctl.store.extras import Values, extra_columns
from rsctl.store.hdf5 import put

_Rows = TypeVar("_Rows", bound="ImageRows")


@dataclass(kw_only=True)
class ImageRows:
    """Columns that every table has; arrays of shape (N,)."""

    COLUMNS: ClassVar[Mapping[str, str]] = {"index": "i8", "label": "i4", "seconds": "f8", "fingerprint": "i4"}  # fmt: skip
    """Data sets of the file and the types of their elements."""

    PATHS: ClassVar[Mapping[str, str]] = {}
    """Data sets of columns with another name in the file."""

    WIDE: ClassVar[Sequence[str]] = ()
    """Columns with a number for each class."""

    index: NDArray[np.int64]
    """Position in the data split."""
    label: NDArray[np.int32]
    seconds: NDArray[np.float64]
    """Wall time."""
    fingerprint: NDArray[np.int32]
    """Executed function: a row of the file's `functions`."""

    def __len__(self) -> int:
        return len(self.index)

    def take(self: _Rows, rows: Any) -> _Rows:
        return type(self)(**{name: getattr(self, name)[rows] for name in self.COLUMNS})

    @classmethod
    def concatenate(cls: type[_Rows], parts: Sequence[_Rows]) -> _Rows:
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in cls.COLUMNS})

    @classmethod
    def empty(cls: type[_Rows], classes: int = 1) -> _Rows:
        """No image at all."""
        shapes = {name: (0, classes) if name in cls.WIDE else (0,) for name in cls.COLUMNS}
        return cls(**{name: np.empty(shapes[name], kind) for name, kind in cls.COLUMNS.items()})

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape that must agree between the files of one table besides the number of rows."""
        return ()

    @classmethod
    def read(cls: type[_Rows], arrays: Mapping[str, NDArray[Any]]) -> _Rows:
        """Builds the rows from the arrays of a file, by path; raises KeyError where a column is missing."""
        return cls(**{name: arrays[cls.PATHS.get(name, name)] for name in cls.COLUMNS})

    def write(self, file: Any) -> None:
        for name, kind in self.COLUMNS.items():
            put(file, self.PATHS.get(name, name), np.asarray(getattr(self, name), kind))

    def problem(self, functions: int) -> str:
        """The first inconsistency, or empty; `functions` is the number of functions in the file."""
        for name, kind in self.COLUMNS.items():
            column = getattr(self, name)
            rank = 2 if name in self.WIDE else 1
            if column.ndim != rank or len(column) != len(self) or column.dtype != np.dtype(kind):
                return f"'{self.PATHS.get(name, name)}' has shape {column.shape} and type {column.dtype}"
        if (self.index < 0).any() or len(np.unique(self.index)) != len(self):
            return "it holds an image twice, or a position below 0"
        if (self.label < 0).any() or not ((self.seconds >= 0) & (self.seconds < np.inf)).all():
            return "a label or a time is below 0"
        if len(self) and (self.fingerprint.min() < 0 or self.fingerprint.max() >= functions):
            return "a fingerprint points outside 'functions'"
        return ""


@dataclass(kw_only=True)
class Rows(ImageRows):
    """Counts under noise."""

    COLUMNS = {**ImageRows.COLUMNS, "selection_counts": "i4", "counts": "i4", "n": "i8"}
    WIDE = ("selection_counts", "counts")

    selection_counts: NDArray[np.int32]
    """(N, C): the n0 draws that choose the class."""
    counts: NDArray[np.int32]
    """(N, C): the n estimation draws."""
    n: NDArray[np.int64]
    extras: dict[str, Values] = field(default_factory=dict)
    """Measurements beside the counts, by name (`rsctl.store.extras`)."""

    @property
    def drawn(self) -> NDArray[np.bool_]:
        """(N,): False for the images that a level of a cascade didn't need to sample."""
        return self.n > 0

    def take(self, rows: Any) -> Rows:
        taken = super().take(rows)
        taken.extras = {
            name: extra_columns()[name].take(values, rows) for name, values in self.extras.items()
        }
        return taken

    @property
    def shape(self) -> tuple[int, ...]:
        return self.counts.shape[1:]

    @classmethod
    def concatenate(cls, parts: Sequence[Rows]) -> Rows:
        joined = super().concatenate(parts)
        for name, extra in extra_columns().items():
            if found := [part.extras[name] for part in parts if name in part.extras]:
                joined.extras[name] = extra.concatenate(found)
        return joined

    @classmethod
    def read(cls, arrays: Mapping[str, NDArray[Any]]) -> Rows:
        rows = super().read(arrays)
        found = {name: extra.read(arrays) for name, extra in extra_columns().items()}
        rows.extras = {name: values for name, values in found.items() if values is not None}
        return rows

    def write(self, file: Any) -> None:
        super().write(file)
        for name, values in self.extras.items():
            extra_columns()[name].write(file, values)

    def problem(self, functions: int) -> str:
        if found := super().problem(functions):
            return found
        if self.counts.ndim != 2 or self.counts.shape != self.selection_counts.shape:
            return f"counts {self.counts.shape} and selection_counts {self.selection_counts.shape} differ in shape"
        classes = self.counts.shape[1]
        if (self.label >= classes).any():
            return f"label {self.label.max()} is not one of {classes} classes"
        for name, values in self.extras.items():
            if found := extra_columns()[name].problem(values, self.counts):
                return found
        if (self.counts < 0).any() or (self.selection_counts < 0).any():
            return "a count is negative"
        if (self.counts.sum(axis=1) != self.n).any():
            return (
                f"counts of image {self.index[(self.counts.sum(axis=1) != self.n).argmax()]} don't sum to n"
            )
        return ""


@dataclass(kw_only=True)
class DistanceBounds(ImageRows):
    """Results of a verifier or an attack; distances in the table's norm, in units of [0, 1] pixels.

    Between `lower` and `upper` nothing is known of an image.
    """

    COLUMNS = {**ImageRows.COLUMNS, "predicted": "i4", "lower": "f8", "upper": "f8"}
    PATHS = {"lower": "radius", "upper": "broken"}

    predicted: NDArray[np.int32]
    """Class of the clean image; -1 where it is only known that the smoothed classifier doesn't return the label."""
    lower: NDArray[np.float64]
    """Proved radius: the class is the same everywhere within it; 0 where nothing is proved, and for every attack."""
    upper: NDArray[np.float64]
    """Distance of a known adversarial image; inf where none is known."""
    adversarial: NDArray[np.float32] | None = None
    """(N, channels, size, size): that image, zeros where none is known; None where they weren't stored."""

    def take(self, rows: Any) -> DistanceBounds:
        taken = super().take(rows)
        taken.adversarial = None if self.adversarial is None else self.adversarial[rows]
        return taken

    @classmethod
    def concatenate(cls, parts: Sequence[DistanceBounds]) -> DistanceBounds:
        joined = super().concatenate(parts)
        kept = [part.adversarial for part in parts if part.adversarial is not None]
        joined.adversarial = np.concatenate(kept) if len(kept) == len(parts) else None
        return joined

    @classmethod
    def read(cls, arrays: Mapping[str, NDArray[Any]]) -> DistanceBounds:
        rows = super().read(arrays)
        rows.adversarial = arrays.get("adversarial")
        return rows

    def write(self, file: Any) -> None:
        super().write(file)
        if self.adversarial is not None:
            put(file, "adversarial", np.asarray(self.adversarial, "f4"), compressed=True)

    def problem(self, functions: int) -> str:
        if found := super().problem(functions):
            return found
        if np.isnan(self.lower).any() or (self.lower < 0).any():
            return "a radius is negative or not a number"
        if np.isnan(self.upper).any() or (self.upper < 0).any():
            return "a distance is negative or not a number"
        if (self.lower > self.upper).any():
            return "an image has a proved radius beyond its known adversarial distance"
        if self.adversarial is not None and (
            self.adversarial.ndim != 4 or len(self.adversarial) != len(self)
        ):
            return f"adversarial images of shape {self.adversarial.shape} don't fit {len(self)} rows"
        return ""
