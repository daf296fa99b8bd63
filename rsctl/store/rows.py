"""Rows of a table, one per finished image: counts under noise, or results of a verifier or an attack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from rsctl.certificates import Halves, Looks, Shells

_Rows = TypeVar("_Rows", bound="ImageRows")


@dataclass(kw_only=True)
class ImageRows:
    """Columns that every table has; arrays of shape (N,)."""

    COLUMNS: ClassVar[Mapping[str, str]] = {"index": "i8", "label": "i4", "seconds": "f8", "fingerprint": "i4"}  # fmt: skip
    """Data sets of the file and the types of their elements."""

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
    def empty(cls: type[_Rows]) -> _Rows:
        """No image at all."""
        return cls(**{name: np.empty(0, kind) for name, kind in cls.COLUMNS.items()})

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape that must agree between the files of one table besides the number of rows."""
        return ()

    @classmethod
    def read(cls: type[_Rows], arrays: Mapping[str, NDArray[Any]]) -> _Rows:
        """Builds the rows from the arrays of a file, by path; raises KeyError where a column is missing."""
        return cls(**{name: arrays[name] for name in cls.COLUMNS})

    def write(self, file: Any) -> None:
        for name, kind in self.COLUMNS.items():
            put(file, name, np.asarray(getattr(self, name), kind))

    def problem(self, functions: int) -> str:
        """The first inconsistency, or empty; `functions` is the number of functions in the file."""
        for name, kind in self.COLUMNS.items():
            column = getattr(self, name)
            rank = 2 if name in ("counts", "selection_counts") else 1
            if column.ndim != rank or len(column) != len(self) or column.dtype != np.dtype(kind):
                return f"'{name}' has shape {column.shape} and type {column.dtype}"
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

    selection_counts: NDArray[np.int32]
    """(N, C): the n0 draws that choose the class."""
    counts: NDArray[np.int32]
    """(N, C): the n estimation draws."""
    n: NDArray[np.int64]
    looks: Looks | None = None
    """Counts at every look, for sequential sampling."""
    shells: Shells | None = None
    """Estimation counts by noise norm, where the sampler recorded shells."""
    disagreements: NDArray[np.int32] | None = None
    """(N, C): draws on which the fp32 network chose another class, by f's class; None without `transfer`."""
    halves: Halves | None = None
    """Sums of the noise that left the selected class, where the sampler recorded them."""

    def take(self, rows: Any) -> Rows:
        taken = super().take(rows)
        taken.looks = Looks(self.looks.draws, self.looks.counts[rows]) if self.looks else None
        taken.shells = Shells(self.shells.edges, self.shells.counts[rows]) if self.shells else None
        taken.disagreements = None if self.disagreements is None else self.disagreements[rows]
        if self.halves:
            taken.halves = Halves(self.halves.draws, self.halves.others[rows], self.halves.products[rows])
        return taken

    @property
    def shape(self) -> tuple[int, ...]:
        return self.counts.shape[1:]

    @classmethod
    def empty(cls, classes: int = 1) -> Rows:
        wide = ("selection_counts", "counts")
        columns: dict[str, Any] = {
            name: np.empty((0, classes) if name in wide else 0, kind) for name, kind in cls.COLUMNS.items()
        }
        return cls(**columns)

    @classmethod
    def concatenate(cls, parts: Sequence[Rows]) -> Rows:
        joined = super().concatenate(parts)
        looks = [part.looks for part in parts if part.looks]
        if looks:
            joined.looks = Looks(looks[0].draws, np.concatenate([look.counts for look in looks]))
        shells = [part.shells for part in parts if part.shells]
        if shells:
            joined.shells = Shells(shells[0].edges, np.concatenate([shell.counts for shell in shells]))
        compared = [part.disagreements for part in parts if part.disagreements is not None]
        joined.disagreements = np.concatenate(compared) if compared else None
        halves = [part.halves for part in parts if part.halves]
        if halves:
            joined.halves = Halves(
                halves[0].draws,
                np.concatenate([half.others for half in halves]),
                np.concatenate([half.products for half in halves]),
            )
        return joined

    @classmethod
    def read(cls, arrays: Mapping[str, NDArray[Any]]) -> Rows:
        rows = super().read(arrays)
        if "looks/counts" in arrays:
            rows.looks = Looks(arrays["looks/draws"], arrays["looks/counts"])
        if "shells/counts" in arrays:
            rows.shells = Shells(tuple(arrays["shells/edges"].tolist()), arrays["shells/counts"])
        rows.disagreements = arrays.get("disagreements")
        if "halves/products" in arrays:
            first, second = arrays["halves/draws"].tolist()
            rows.halves = Halves((first, second), arrays["halves/others"], arrays["halves/products"])
        return rows

    def write(self, file: Any) -> None:
        super().write(file)
        if self.looks:
            file["looks/draws"] = np.asarray(self.looks.draws, "i8")
            put(file, "looks/counts", np.asarray(self.looks.counts, "i4"))
        if self.shells:
            file["shells/edges"] = np.asarray(self.shells.edges, "f8")
            put(file, "shells/counts", np.asarray(self.shells.counts, "i4"))
        if self.disagreements is not None:
            put(file, "disagreements", np.asarray(self.disagreements, "i4"))
        if self.halves:
            file["halves/draws"] = np.asarray(self.halves.draws, "i8")
            put(file, "halves/others", np.asarray(self.halves.others, "i4"))
            put(file, "halves/products", np.asarray(self.halves.products, "f8"))

    def problem(self, functions: int) -> str:
        if found := super().problem(functions):
            return found
        if self.counts.ndim != 2 or self.counts.shape != self.selection_counts.shape:
            return f"counts {self.counts.shape} and selection_counts {self.selection_counts.shape} differ in shape"
        size, classes = self.counts.shape
        if (self.label >= classes).any():
            return f"label {self.label.max()} is not one of {classes} classes"
        if self.looks and self.looks.counts.dtype.kind != "i":
            return f"looks of type {self.looks.counts.dtype}"
        if self.looks and self.looks.counts.shape != (size, len(self.looks.draws), classes):
            return f"looks of shape {self.looks.counts.shape} don't fit counts {self.counts.shape}"
        if self.shells and self.shells.counts.shape != (size, len(self.shells.edges) + 1, classes):
            return f"counts by shell of shape {self.shells.counts.shape} don't fit counts {self.counts.shape}"
        if self.disagreements is not None and self.disagreements.shape != self.counts.shape:
            return f"disagreements of shape {self.disagreements.shape} don't fit counts {self.counts.shape}"
        if self.halves and (self.halves.others.shape, self.halves.products.shape) != ((size, 2), (size, 3)):
            return f"sums of noise of shape {self.halves.products.shape} don't fit counts {self.counts.shape}"
        if (self.counts < 0).any() or (self.selection_counts < 0).any():
            return "a count is negative"
        if (self.counts.sum(axis=1) != self.n).any():
            return (
                f"counts of image {self.index[(self.counts.sum(axis=1) != self.n).argmax()]} don't sum to n"
            )
        return ""


@dataclass(kw_only=True)
class Findings(ImageRows):
    """Results of a verifier or an attack; distances in the table's norm, in units of [0, 1] pixels.

    Between `radius` and `broken` nothing is known of an image.
    """

    COLUMNS = {**ImageRows.COLUMNS, "predicted": "i4", "radius": "f8", "broken": "f8"}

    predicted: NDArray[np.int32]
    """Class of the clean image; -1 where it is only known that the smoothed classifier doesn't return the label."""
    radius: NDArray[np.float64]
    """Proved radius: the class is the same everywhere within it; 0 where nothing is proved, and for every attack."""
    broken: NDArray[np.float64]
    """Distance of a known adversarial image; inf where none is known."""
    adversarial: NDArray[np.float32] | None = None
    """(N, channels, size, size): that image, zeros where none is known; None where they weren't stored."""

    def take(self, rows: Any) -> Findings:
        taken = super().take(rows)
        taken.adversarial = None if self.adversarial is None else self.adversarial[rows]
        return taken

    @classmethod
    def concatenate(cls, parts: Sequence[Findings]) -> Findings:
        joined = super().concatenate(parts)
        kept = [part.adversarial for part in parts if part.adversarial is not None]
        joined.adversarial = np.concatenate(kept) if len(kept) == len(parts) else None
        return joined

    @classmethod
    def read(cls, arrays: Mapping[str, NDArray[Any]]) -> Findings:
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
        if np.isnan(self.radius).any() or (self.radius < 0).any():
            return "a radius is negative or not a number"
        if np.isnan(self.broken).any() or (self.broken < 0).any():
            return "a distance is negative or not a number"
        if (self.radius > self.broken).any():
            return "an image has a proved radius beyond its known adversarial distance"
        if self.adversarial is not None and (
            self.adversarial.ndim != 4 or len(self.adversarial) != len(self)
        ):
            return f"adversarial images of shape {self.adversarial.shape} don't fit {len(self)} rows"
        return ""


def put(group: Any, name: str, values: NDArray[Any], *, compressed: bool = False) -> None:
    """Write a data set. Counts over many classes are nearly all zero: compressed, they are as small as a sparse form."""
    wide = compressed or (values.ndim >= 2 and values.shape[-1] > 64)
    options = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if wide and values.size else {}
    group.create_dataset(name, data=values, **options)
