"""The dashboard's data files: columns, help texts and themes."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import tomli

from rsctl.tui.widgets.cells import GridColumn


@cache
def data(name: str) -> dict[str, Any]:
    """The content of a file of rsctl/tui."""
    return tomli.loads(files("rsctl.tui").joinpath(name).read_text(encoding="utf-8"))


def columns(name: str) -> tuple[GridColumn, ...]:
    """The columns of a table."""
    return tuple(GridColumn(**one) for one in data("columns.toml")[name])
