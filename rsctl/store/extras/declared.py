"""The measurements that plugins declare: columns of plain shapes, in data sets `extras/<name>.<column>`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from rsctl.catalog.declare import Column, Extra
from rsctl.config.runs import CountSpec
from rsctl.store.extras.columns import ColumnPlace, ExtraColumns, Shape, Values


class DeclaredColumns(ExtraColumns):
    """The columns of a declaration."""

    def __init__(self, extra: Extra) -> None:
        self.extra, self.name, self.recorder = extra, extra.name, extra.implementation
        self.columns = _places(extra.name, extra.columns)
        self.under_way = _places(extra.name, extra.sampled)
        self.lacking = f"its measurement '{extra.name}' doesn't match the run's settings"

    def wanted(self, spec: CountSpec) -> bool:
        return self.name in spec.extras

    def problem(self, values: Values, counts: NDArray[Any]) -> str:
        size, classes = counts.shape
        for name, column in self.extra.columns.items():
            found, wanted = values[name].shape, (size, *_shape(column, classes))
            if len(found) != len(wanted) or any(
                side not in (None, own) for side, own in zip(wanted, found, strict=True)
            ):
                return f"'{self.columns[name].path}' of shape {found} doesn't fit counts {counts.shape}"
        return ""

    def under_way_shapes(self, spec: CountSpec, classes: int) -> dict[str, Shape]:
        return {name: _shape(column, classes) for name, column in self.extra.sampled.items()}


def _places(name: str, columns: Mapping[str, Column]) -> dict[str, ColumnPlace]:
    return {key: ColumnPlace(f"extras/{name}.{key}", column.kind) for key, column in columns.items()}


def _shape(column: Column, classes: int) -> Shape:
    sides: dict[str, int | None] = {"classes": classes, "dimension": None}
    return tuple(sides[side] if isinstance(side, str) else side for side in column.shape)
