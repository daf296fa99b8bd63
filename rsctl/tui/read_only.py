"""The read-only dashboard: everything is shown, nothing is changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from rsctl.errors import RefusedError

P = ParamSpec("P")
T = TypeVar("T")

VARIABLE = "RSCTL_READ_ONLY"
"""Environment variable that makes the dashboard read-only if it is 1; `rsctl serve` sets it."""
REFUSAL = "This dashboard is read-only: it changes nothing and opens no files. One that does is 'rsctl' in a terminal without RSCTL_READ_ONLY, or 'rsctl serve --steer' in a browser."
CHANGING = frozenset(
    {
        *(f"part('actions', '{name}')" for name in ("cancel", "retry", "retry_larger", "delete")),
        *(f"part('controls', '{name}')" for name in ("export", "figure")),
        "part('editor', 'edit')",
        "cancel",
    }
)
"""Actions of keys that are refused at once, before a dialog of theirs; the functions that they call refuse, too (`changes`)."""


def is_read_only() -> bool:
    return os.environ.get(VARIABLE) == "1"


def changes(function: Callable[P, T]) -> Callable[P, T]:
    """Mark a function that changes something, or reads or runs what the user names: a read-only dashboard refuses it.

    Raises
    ------
    RefusedError
        The dashboard is read-only.
    """

    @wraps(function)
    def allowed(*args: P.args, **kwargs: P.kwargs) -> T:
        if is_read_only():
            raise RefusedError(REFUSAL)
        return function(*args, **kwargs)

    return allowed
