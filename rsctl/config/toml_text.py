"""Raw tables as TOML."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_ORDER = ("name", "description", "cluster", "dataset", "model", "method", "sigma", "seed")


def to_toml(raw: Mapping[str, Any]) -> str:
    """A raw table as TOML: single values first, then tables, then lists of tables."""
    lines: list[str] = []
    _write(raw, "", lines)
    return "\n".join(lines).strip() + "\n"


def _write(table: Mapping[str, Any], prefix: str, lines: list[str]) -> None:
    rank = {key: place for place, key in enumerate(_ORDER)}
    items = (
        sorted(table.items(), key=lambda item: rank.get(item[0], len(rank))) if not prefix else table.items()
    )
    tables = [(key, value) for key, value in items if isinstance(value, Mapping)]
    lists = [(key, value) for key, value in items if _is_tables(value)]
    for key, value in items:
        if not isinstance(value, Mapping) and not _is_tables(value):
            lines.append(f"{_key(key)} = {to_value(value)}")
    for key, value in lists:
        for entry in value:
            lines += ["", f"[[{prefix}{_key(key)}]]"]
            _write(entry, f"{prefix}{_key(key)}.", lines)
    for key, value in tables:
        # A table that only holds tables needs no heading of its own.
        if not value or any(not isinstance(entry, Mapping) for entry in value.values()):
            lines += ["", f"[{prefix}{_key(key)}]"]
        _write(value, f"{prefix}{_key(key)}.", lines)


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(entry, Mapping) for entry in value)


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _string(key)


def _string(text: str) -> str:
    # JSON's escapes are TOML's, but for the delete character.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def to_value(value: Any) -> str:
    """One value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(to_value(entry) for entry in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(k)} = {to_value(v)}" for k, v in value.items()) + "}"
    return repr(value) if isinstance(value, float) else str(value)
