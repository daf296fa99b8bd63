"""Filters of runs, such as `state:failed method:sodm sigma:>0.5`, or text that occurs in a name."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rsctl.errors import InputError, unknown
from rsctl.tui.views import STATES, Overview, RunView

_COMPARISONS: tuple[tuple[str, Callable[[Any, Any], bool]], ...] = (
    (">=", operator.ge),
    ("<=", operator.le),
    (">", operator.gt),
    ("<", operator.lt),
    ("!", operator.ne),
)


@dataclass(frozen=True)
class Filter:
    """Terms that must all hold."""

    text: str
    terms: tuple[tuple[str, str], ...]
    """(key, wanted) pairs; the key of plain text is empty."""

    def matches(self, run: RunView) -> bool:
        return all(_holds(run, key, wanted) for key, wanted in self.terms)


def parse_filter(text: str, overview: Overview) -> Filter:
    """Parses a filter; raises InputError for a key that no run has, or a state that doesn't exist."""
    terms = []
    known = {key for sweep in overview.sweeps for run in sweep.runs for key in run.settings}
    allowed = {"state", "sweep", *map(_short, known)}
    for word in text.split():
        key, colon, wanted = word.partition(":")
        if colon and key not in allowed | known:
            raise InputError(unknown("setting", key, allowed))
        if colon and key == "state" and not any(state.startswith(wanted.lstrip("!")) for state in STATES):
            raise InputError(unknown("state", wanted, STATES))
        terms.append((key, wanted) if colon else ("", word.lower()))
    return Filter(text, tuple(terms))


def _short(key: str) -> str:
    return key.rpartition(".")[2]


def _holds(run: RunView, key: str, wanted: str) -> bool:
    if not wanted:
        return True
    if not key:
        return any(wanted in name.lower() for name in (run.sweep, run.title, run.model, run.counts))
    if key == "state":
        states = {task.state for task in run.tasks}
        if wanted.startswith("!"):
            return not any(state.startswith(wanted[1:]) for state in states)
        return any(state.startswith(wanted) for state in states)
    if key == "sweep":
        return wanted in run.sweep
    # `seed` is the training's; another table's is `certification.seed`.
    names = [key] if key in run.settings else [name for name in run.settings if key == _short(name)]
    values = [run.settings[name] for name in names]
    return any(_compares(value, wanted) for value in values if value is not None)


def _compares(value: Any, wanted: str) -> bool:
    for sign, compare in _COMPARISONS:
        if wanted.startswith(sign):
            number = _number(wanted[len(sign) :])
            if number is not None and isinstance(value, (int, float)):
                return compare(float(value), number)
            return sign == "!" and str(value) != wanted[1:]
    number = _number(wanted)
    if number is not None and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value) == number
    return wanted.lower() in str(value).lower()


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
