"""Meanings of column headings, shown below tables and on the dashboard's help screen."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files

import tomli

_FILE = files("rsctl.report.tables").joinpath("legend.toml")
MEANINGS: dict[str, str] = tomli.loads(_FILE.read_text(encoding="utf-8"))


def legend(heads: Iterable[str]) -> str:
    """A sentence that explains these headings where needed, in their order; else empty."""
    told = [f"{word}: {MEANINGS[word]}" for word in dict.fromkeys(heads) if word in MEANINGS]
    return f"Columns. {'. '.join(told)}." if told else ""
