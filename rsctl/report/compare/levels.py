"""Cascades compared with each of their levels."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rsctl.errors import InputError
from rsctl.report.compare.pairs import Comparison, compare, comparison_json, comparison_text
from rsctl.results.measurement import Measurement
from rsctl.results.opening import open_cascade
from rsctl.results.sweep import sweep_results
from rsctl.store.layout import Store


def compare_with_levels(
    store: Store, name: str, certificate: str | None, alpha: float | None, radii: Sequence[float] | None
) -> list[Comparison]:
    """Compare the cascade `RUN@τ+RUN`, or every cascade of a sweep, with each of its levels.

    Raises InputError where the name is neither, and where a sweep has no cascade.
    """
    found = _cascades(store, name, certificate, alpha)
    return [compare(store, one, level, radii) for one in found for level in one.levels]


def _cascades(store: Store, name: str, certificate: str | None, alpha: float | None) -> list[Measurement]:
    if "@" in name:
        return [open_cascade(store, name, certificate, alpha)]
    if name not in store.sweep_names():
        raise InputError(
            f"{name}: compare it with which run? Give two runs; or a cascade, RUN@τ+RUN, or a sweep with [[cascade]] tables, which "
            "are compared with their levels."
        )
    found = sweep_results(store, name, certificate=certificate, alpha=alpha).cascades
    if not found:
        raise InputError(
            f"{name}: its sweep file has no [[cascade]] to compare with its levels. Give two runs ('rsctl status {name}' lists them)."
        )
    return found


def levels_text(found: Sequence[Comparison]) -> str:
    """The comparisons as text for a terminal, one below the other."""
    return "\n\n\n".join(map(comparison_text, found))


def levels_json(found: Sequence[Comparison]) -> str:
    """The comparisons as one JSON document."""
    return json.dumps({"comparisons": [json.loads(comparison_json(one)) for one in found]}, indent=1)
