"""The arrays of one measurement in a data file: reading, writing, checks, and what certificates get."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsctl.config.runs import CountSpec
from rsctl.store.hdf5 import put

Values = dict[str, NDArray[Any]]
"""The arrays of one measurement, by column."""
Shape = tuple[int | None, ...]
"""The sides of an array; None stands for any."""


@dataclass(frozen=True)
class ColumnPlace:
    """The data set of a column."""

    path: str
    kind: str
    """Type of its elements."""
    compressed: bool = False


class ExtraColumns(ABC):
    """A measurement that may be kept of each image beside its counts: one file each in this room."""

    name: str
    recorder: str
    """The module of the data plane whose `RECORDER` makes it."""
    columns: Mapping[str, ColumnPlace]
    """One row per finished image."""
    shared: Mapping[str, ColumnPlace] = {}
    """The same for all images of a file."""
    under_way: Mapping[str, ColumnPlace]
    """One row per image under way, below `pending/`."""
    always = False
    """Files have the columns of images under way even where nothing is measured; they are empty then."""
    lacking: str
    """The error message for a file that has it though its run doesn't measure it, or the other way round."""

    @abstractmethod
    def wanted(self, spec: CountSpec) -> bool:
        """True where a run measures it."""

    @abstractmethod
    def problem(self, values: Values, counts: NDArray[Any]) -> str:
        """The first contradiction to the counts (N, C) of the same rows, or empty."""

    @abstractmethod
    def under_way_shapes(self, spec: CountSpec, classes: int) -> dict[str, Shape]:
        """Shapes of one image's columns while it is under way."""

    def shared_values(self, spec: CountSpec, dimension: int) -> Values:
        """The arrays that all images share, of inputs with d coordinates."""
        return {}

    def foreign(self, spec: CountSpec, values: Values) -> str:
        """The reason why these can't be of this run, which measures it, or empty."""
        return ""

    def table_parts(self, spec: CountSpec, values: Values) -> dict[str, Any]:
        """The arguments of a `CountTable` that carry it, besides `extras`."""
        return {}

    def mismatch(self, spec: CountSpec, values: Values | None) -> str:
        """The reason why rows with these arrays can't be of this run, or empty."""
        if (values is not None) != self.wanted(spec):
            return self.lacking
        return "" if values is None else self.foreign(spec, values)

    def fits(self, spec: CountSpec, values: Values | None, classes: int) -> bool:
        """False where these can't be the arrays of an image under way."""
        if values is None:
            return not self.wanted(spec) and not self.always
        return all(
            len(values[name].shape) == len(shape)
            and all(side in (None, found) for side, found in zip(shape, values[name].shape, strict=True))
            for name, shape in self.under_way_shapes(spec, classes).items()
        )

    def take(self, values: Values, rows: Any) -> Values:
        return {name: array if name in self.shared else array[rows] for name, array in values.items()}

    def concatenate(self, parts: Sequence[Values]) -> Values:
        joined = {name: np.concatenate([part[name] for part in parts]) for name in self.columns}
        return {**{name: parts[0][name] for name in self.shared}, **joined}

    def read(self, arrays: Mapping[str, NDArray[Any]]) -> Values | None:
        """Finished images of a file, None where it has no such columns; KeyError where it has some of them."""
        return _read({**self.shared, **self.columns}, arrays, "")

    def write(self, file: Any, values: Values) -> None:
        for name, place in self.shared.items():
            file[place.path] = np.asarray(values[name], place.kind)
        for name, place in self.columns.items():
            put(file, place.path, np.asarray(values[name], place.kind), compressed=place.compressed)

    def read_under_way(self, arrays: Mapping[str, NDArray[Any]]) -> Values | None:
        """Images under way of a file, None where it has no such columns.

        Raises KeyError where a column is missing, ValueError where one has another type.
        """
        values = _read(self.under_way, arrays, "pending/", required=self.always)
        for name, array in (values or {}).items():
            if array.dtype != np.dtype(self.under_way[name].kind):
                raise ValueError(f"'pending/{self.under_way[name].path}' has type {array.dtype}")
        return values

    def write_under_way(self, group: Any, images: Iterable[Values | None], classes: int) -> None:
        """The columns of these images into a file's group; of all or of none of them there are some."""
        found = list(images)
        for name, place in self.under_way.items():
            empty = np.zeros((0, classes))
            rows = [empty if values is None else values[name] for values in found]
            put(group, place.path, np.array(rows, place.kind), compressed=place.compressed)


def _read(
    places: Mapping[str, ColumnPlace],
    arrays: Mapping[str, NDArray[Any]],
    above: str,
    *,
    required: bool = False,
) -> Values | None:
    paths = {name: above + place.path for name, place in places.items()}
    if not required and not any(path in arrays for path in paths.values()):
        return None
    return {name: arrays[path] for name, path in paths.items()}
