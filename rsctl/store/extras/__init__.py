"""Measurements that may be kept of each image beside its counts: their columns in data files.

A module here holds the `COLUMNS` of one measurement with a format of its own; plugins declare further ones
(`rsctl.catalog.declare.Extra`). What makes them is in `jobs/certify/recorders/`.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from rsctl.catalog import known_extras, plugins
from rsctl.config.runs import CountSpec
from rsctl.store.extras.columns import ExtraColumns, Values
from rsctl.store.extras.declared import DeclaredColumns

__all__ = ["ExtraColumns", "Values", "extra_columns", "measured"]


def extra_columns() -> dict[str, ExtraColumns]:
    """Every measurement, rsctl's own and those of plugins, by name."""
    return _known(plugins())


@cache
def _known(plugins: tuple[str, ...]) -> dict[str, ExtraColumns]:
    modules = [
        importlib.import_module(f"{__name__}.{entry.name}") for entry in pkgutil.iter_modules(__path__)
    ]
    own: list[ExtraColumns] = [module.COLUMNS for module in modules if hasattr(module, "COLUMNS")]
    declared = [DeclaredColumns(extra) for extra in known_extras().values()]
    return {one.name: one for one in [*declared, *own]}


def measured(spec: CountSpec) -> list[ExtraColumns]:
    """Those that a run measures."""
    return [columns for columns in extra_columns().values() if columns.wanted(spec)]
