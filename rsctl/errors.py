"""What a user can cause. The command line prints these as sentences, never as tracebacks."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Something a sentence can explain; `exit_code` is what the command returns."""

    exit_code = 2


class InputError(UserError):
    """The input is wrong (exit 2): say where, what is allowed, what to do."""

    exit_code = 2


class UnavailableError(UserError):
    """The environment or the cluster can't do it now (exit 3)."""

    exit_code = 3


class RefusedError(UserError):
    """Stored results would be mixed, weakened or lost: nothing was written (exit 2)."""

    exit_code = 2


def unknown(what: str, given: str, allowed: Iterable[str]) -> str:
    """The sentence for a name that isn't there: the near one first, then the whole list."""
    names = sorted(allowed)
    near = get_close_matches(given, names, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return f"unknown {what} '{given}'.{hint} Allowed: {', '.join(names) or '(none)'}."
