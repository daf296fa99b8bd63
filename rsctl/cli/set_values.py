"""Parses --set: values for keys of a sweep file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rsctl.errors import InputError


def given_tables(settings: list[str] | None, part: str) -> dict[str, Any]:
    """Parse the values of --set and --part into tables."""
    given: dict[str, Any] = {}
    for setting in [*(settings or ()), *([f"method.part={json.dumps(part)}"] if part else [])]:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise InputError(f"--set: '{setting}' is not KEY=VALUE, such as certification.split=val.")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        *parts, last = key.strip().split(".")
        table = given
        for step in parts:
            table = table.setdefault(step, {})
            if not isinstance(table, dict):
                raise InputError(f"--set: {key}: '{step}' is not a table.")
        table[last] = value
    return given


def merged(values: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the given values into the others, table by table."""
    together = dict(values)
    for key, value in given.items():
        if isinstance(together.get(key), Mapping):
            if not isinstance(value, Mapping):
                raise InputError(f"--set: {key} is a table; use {key}.KEY=VALUE.")
            value = merged(together[key], value)
        together[key] = value
    return together
