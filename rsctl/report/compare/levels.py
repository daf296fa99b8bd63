"""Two runs compared, or cascades with each of their levels."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rsctl.errors import InputError
from rsctl.report.compare.pairs import compare, comparison_json, comparison_text
from rsctl.results.cascade import whole_levels
from rsctl.results.measurement import Measurement
from rsctl.results.opening import open_cascade, open_run
from rsctl.results.sweep import sweep_results
from rsctl.store.layout import Store


def compared(
    store: Store, first: str, second: str, certificate: str | None, alpha: float | None, radii: Sequence[float] | None, *, as_json: bool
) -> str:  # fmt: skip
    """Compare two runs, as text or as one JSON document.

    Without a second one the first is the cascade `RUN@τ+RUN`, or a sweep of which every cascade is compared with each of its levels.
    Raises InputError where the name is neither, and where a sweep has no cascade.
    """
    if second:
        a, b = (open_run(store, name, certificate, alpha) for name in (first, second))
        if a.run == b.run:
            raise InputError(
                f"compare: both are {a.run}. Name two; 'rsctl status SWEEP' lists the runs of a sweep."
            )
        found = compare(store, a, b, radii)
        return comparison_json(found) if as_json else comparison_text(found)
    several = [
        compare(store, one, level, radii)
        for one in _cascades(store, first, certificate, alpha)
        for level in whole_levels(one)
    ]
    if as_json:
        return json.dumps({"comparisons": [json.loads(comparison_json(one)) for one in several]}, indent=1)
    return "\n\n\n".join(map(comparison_text, several))


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
