"""The estimation counts by noise norm."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsctl.certificates import Shells
from rsctl.config.runs import CountSpec
from rsctl.store.extras.columns import ColumnPlace, ExtraColumns, Shape, Values


class ShellsColumns(ExtraColumns):
    """Estimation counts (S, C) in the shells between S − 1 noise norms."""

    name = "shells"
    recorder = "jobs.certify.recorders.shells"
    shared = {"edges": ColumnPlace("shells/edges", "f8")}
    columns = {"counts": ColumnPlace("shells/counts", "i4")}
    under_way = {"counts": ColumnPlace("shells", "i4")}
    always = True
    lacking = "its counts by shell don't match the run's settings"

    def wanted(self, spec: CountSpec) -> bool:
        return bool(spec.shell_edges)

    def problem(self, values: Values, counts: NDArray[Any]) -> str:
        shells, (size, classes) = values["counts"], counts.shape
        if shells.shape != (size, len(values["edges"]) + 1, classes):
            return f"counts by shell of shape {shells.shape} don't fit counts {counts.shape}"
        return ""

    def under_way_shapes(self, spec: CountSpec, classes: int) -> dict[str, Shape]:
        return {"counts": (len(spec.shell_edges) + 1 if spec.shell_edges else 0, classes)}

    def shared_values(self, spec: CountSpec, dimension: int) -> Values:
        return {"edges": np.array(spec.shell_edges)}

    def foreign(self, spec: CountSpec, values: Values) -> str:
        return "" if values["edges"].tolist() == spec.shell_edges else "its shell edges differ from the run's"

    def table_parts(self, spec: CountSpec, values: Values) -> dict[str, Any]:
        return {"shells": Shells(tuple(values["edges"].tolist()), values["counts"])}


COLUMNS = ShellsColumns()
