"""A sweep file under construction: its raw table, and how a field of the form reads and writes it."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from rsctl.config.toml_text import to_toml

START: dict[str, Any] = {
    "name": "my-sweep",
    "dataset": {"name": "digits"},
    "model": {"name": "cnn"},
    "method": [{"name": "gaussian"}],
    "grid": {"sigma": [0.25, 0.5]},
    "certification": {"n": 1000},
}
ONCE = ("name", "description", "cluster")
LISTS = {"method": "name", "verification": "verifier", "attack": "attack", "cascade": "levels"}
"""Tables that may occur several times, and the key of each that is never missing."""


class Draft:
    """`raw` as TOML would give it; data set and model are always tables, those of `LISTS` always lists of tables."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.raw: dict[str, Any] = deepcopy(dict(raw))
        for key in ("dataset", "model"):
            if not isinstance(self.raw.get(key), dict):
                name = self.raw.get(key)
                self.raw[key] = {"name": name} if isinstance(name, str) else {}
        for key, own in LISTS.items():
            found = self.raw.get(key, [])
            entries = found if isinstance(found, list) else [found]
            self.raw[key] = [{own: entry} if isinstance(entry, str) else dict(entry) for entry in entries]

    def copy(self) -> Draft:
        return Draft(self.raw)

    def tables(self, key: str) -> list[dict[str, Any]]:
        """The entries of one of `LISTS`, to modify."""
        found: list[dict[str, Any]] = self.raw[key]
        return found

    @property
    def methods(self) -> list[dict[str, Any]]:
        return self.tables("method")

    def get(self, key: str) -> tuple[Any, bool]:
        """The value of a field in the file, and whether it is a list in the grid; (None, False) if unset.

        Keys are dotted as in the file; `method.1.epsilon` is that of the second method.
        """
        table, last = self._table(key)
        if isinstance(table, dict) and last in table:
            return table[last], False
        grid, dotted = self._grid(key)
        found: Any = grid
        for part in dotted.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        if found is None and isinstance(grid, dict):
            found = grid.get(dotted)
        return found, found is not None

    def put(self, key: str, value: Any, *, grid: bool) -> None:
        """Set a field to a value, or to a list in the grid."""
        self.drop(key)
        if not grid:
            table, last = self._table(key, make=True)
            table[last] = value
            return
        found, dotted = self._grid(key, make=True)
        found[dotted] = value

    def drop(self, key: str) -> None:
        """Reset a field to its default."""
        table, last = self._table(key)
        if isinstance(table, dict):
            table.pop(last, None)
        grid, dotted = self._grid(key)
        if isinstance(grid, dict):
            grid.pop(dotted, None)
            _drop_nested(grid, dotted.split("."))
        self._tidy()

    def _table(self, key: str, *, make: bool = False) -> tuple[Any, str]:
        parts = key.split(".")
        current: Any = self.raw
        if parts[0] in LISTS and len(parts) > 2:
            current, parts = self.tables(parts[0])[int(parts[1])], parts[2:]
        for part in parts[:-1]:
            if make and not isinstance(current.get(part), dict):
                current[part] = {}
            current = current.get(part) if isinstance(current, dict) else None
        return current, parts[-1]

    def _grid(self, key: str, *, make: bool = False) -> tuple[Any, str]:
        """The grid table that a field belongs to, and its key in there."""
        parts = key.split(".")
        owner, dotted = self.raw, key
        if parts[0] == "method" and len(parts) > 2:
            owner, dotted = self.methods[int(parts[1])], ".".join(parts[2:])
        if make and not isinstance(owner.get("grid"), dict):
            owner["grid"] = {}
        return owner.get("grid"), dotted

    def _tidy(self) -> None:
        """Remove empty tables."""
        for owner in (self.raw, *(table for key in LISTS for table in self.tables(key))):
            for name in [n for n, value in owner.items() if value == {} and n not in ("dataset", "model")]:
                del owner[name]

    def plain(self) -> dict[str, Any]:
        """The raw table in its shortest form: a name alone needs no table, one method no list."""
        raw = deepcopy(self.raw)
        for key in ("dataset", "model"):
            if set(raw[key]) == {"name"}:
                raw[key] = raw[key]["name"]
            elif not raw[key]:
                del raw[key]
        methods = [m["name"] if set(m) == {"name"} else m for m in raw["method"]]
        if len(methods) == 1:
            raw["method"] = methods[0]
        elif methods:
            raw["method"] = [{"name": m} if isinstance(m, str) else m for m in methods]
        else:
            del raw["method"]
        for key in LISTS:
            if not raw.get(key, True):
                del raw[key]
        return raw

    def toml(self) -> str:
        """The sweep file."""
        return to_toml(self.plain())


def _drop_nested(table: Any, parts: list[str]) -> None:
    if not isinstance(table, dict) or parts[0] not in table:
        return
    if len(parts) == 1:
        del table[parts[0]]
        return
    _drop_nested(table[parts[0]], parts[1:])
    if table[parts[0]] == {}:
        del table[parts[0]]
