"""Sums of the noise that left the selected class, by half of the draws."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsctl.certificates import GradientSums
from rsctl.config.runs import CountSpec
from rsctl.store.extras.columns import ColumnPlace, ExtraColumns, Shape, Values


class GradientSumsColumns(ExtraColumns):
    """Misses (2,) and products (3,) of the sums; the sums themselves (2, d), in quanta, only while an image is under way."""

    name = "gradient_sums"
    recorder = "jobs.certify.recorders.gradient_sums"
    shared = {"draws": ColumnPlace("halves/draws", "i8")}
    columns = {"misses": ColumnPlace("halves/others", "i4"), "products": ColumnPlace("halves/products", "f8")}
    under_way = {
        "sums": ColumnPlace("sums", "i8", compressed=True),
        "misses": ColumnPlace("others", "i8", compressed=True),
    }
    lacking = "its gradient sums don't match the run's 'gradient' and n"

    def wanted(self, spec: CountSpec) -> bool:
        return spec.gradient

    def problem(self, values: Values, counts: NDArray[Any]) -> str:
        size = len(counts)
        shapes = [values[name].shape for name in ("draws", "misses", "products")]
        if shapes != [(2,), (size, 2), (size, 3)]:
            return f"sums of noise of shape {values['products'].shape} don't fit counts {counts.shape}"
        return ""

    def under_way_shapes(self, spec: CountSpec, classes: int) -> dict[str, Shape]:
        return {"sums": (2, None), "misses": (2,)}

    def shared_values(self, spec: CountSpec, dimension: int) -> Values:
        return {"draws": np.array(spec.halves)}

    def foreign(self, spec: CountSpec, values: Values) -> str:
        return "" if tuple(values["draws"].tolist()) == spec.halves else self.lacking

    def table_parts(self, spec: CountSpec, values: Values) -> dict[str, Any]:
        first, second = values["draws"].tolist()
        return {"gradient_sums": GradientSums((first, second), values["misses"], values["products"])}


COLUMNS = GradientSumsColumns()
