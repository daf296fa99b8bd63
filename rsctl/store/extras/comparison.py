"""Draws on which the network in fp32 chooses another class than the counted function."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from rsctl.config.runs import CountSpec
from rsctl.store.extras.columns import ColumnPlace, ExtraColumns, Shape, Values


class ComparisonColumns(ExtraColumns):
    """Disagreements (C,) by the class of the counted function; while an image is under way, the blocks compared so far."""

    name = "comparison"
    recorder = "jobs.certify.recorders.comparison"
    columns = {"disagreements": ColumnPlace("disagreements", "i4")}
    under_way = {"blocks": ColumnPlace("compared", "i8"), "disagreements": ColumnPlace("disagreements", "i4")}
    lacking = "its counts of disagreements between precisions don't match the run's 'transfer'"

    def wanted(self, spec: CountSpec) -> bool:
        return spec.transfer > 0

    def problem(self, values: Values, counts: NDArray[Any]) -> str:
        found = values["disagreements"].shape
        return (
            "" if found == counts.shape else f"disagreements of shape {found} don't fit counts {counts.shape}"
        )

    def under_way_shapes(self, spec: CountSpec, classes: int) -> dict[str, Shape]:
        return {"blocks": (), "disagreements": (classes,)}

    def table_parts(self, spec: CountSpec, values: Values) -> dict[str, Any]:
        return {"disagreements": values["disagreements"], "compared": spec.transfer}


COLUMNS = ComparisonColumns()
