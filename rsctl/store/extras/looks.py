"""The counts at each look of a sequential table."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from rsctl.certificates import Looks
from rsctl.certificates.exact_noise import level_left
from rsctl.certificates.stopping import Rule, make_rule
from rsctl.config.runs import CountSpec
from rsctl.store.extras.columns import ColumnPlace, ExtraColumns, Shape, Values


def stopping_rule(spec: CountSpec, dimension: int) -> Rule | None:
    """The rule of a sequential table of inputs with d coordinates, None for a fixed n."""
    alpha = spec.stop_alpha
    if alpha and spec.arithmetic == "exact":
        # What the certificate will have left to spend.
        alpha = level_left(alpha, spec.sigma, dimension, spec.n0 + spec.n)
    return make_rule(
        spec.stopping, radii=spec.stop_radii, delta=spec.stop_delta, sigma=spec.sigma, alpha=alpha, n=spec.n, block=spec.block,
    )  # fmt: skip


class LooksColumns(ExtraColumns):
    """Estimation counts (K, C) at the K looks, zeros at looks that were not taken."""

    name = "looks"
    recorder = "jobs.certify.recorders.looks"
    shared = {"draws": ColumnPlace("looks/draws", "i8")}
    columns = {"counts": ColumnPlace("looks/counts", "i4")}
    under_way = {"counts": ColumnPlace("looks", "i4")}
    always = True
    lacking = "its counts by look don't match the run's settings"

    def wanted(self, spec: CountSpec) -> bool:
        return spec.stopping != "fixed"

    def problem(self, values: Values, counts: NDArray[Any]) -> str:
        looks, (size, classes) = values["counts"], counts.shape
        if looks.dtype.kind != "i":
            return f"looks of type {looks.dtype}"
        if looks.shape != (size, len(values["draws"]), classes):
            return f"looks of shape {looks.shape} don't fit counts {counts.shape}"
        return ""

    def under_way_shapes(self, spec: CountSpec, classes: int) -> dict[str, Shape]:
        return {"counts": (None, classes)}

    def shared_values(self, spec: CountSpec, dimension: int) -> Values:
        rule = stopping_rule(spec, dimension)
        assert rule is not None
        return {"draws": rule.draws}

    def table_parts(self, spec: CountSpec, values: Values) -> dict[str, Any]:
        return {"looks": Looks(values["draws"], values["counts"])}


COLUMNS = LooksColumns()
