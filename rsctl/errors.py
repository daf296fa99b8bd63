"""Errors that a user can cause. The command line prints their message, never a traceback."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Base of the errors shown as a message; `exit_code` is what the command returns."""

    exit_code = 2


class InputError(UserError):
    """Invalid input (exit 2). The message names the place, what is allowed and what to do."""

    exit_code = 2


class UnavailableError(UserError):
    """The environment or the cluster can't do it now (exit 3)."""

    exit_code = 3


class RefusedError(UserError):
    """Stored results would be mixed, weakened or lost: nothing was written (exit 2)."""

    exit_code = 2


def unknown(what: str, given: str, allowed: Iterable[str]) -> str:
    """Return the message for an unknown name: the closest match, then all that are allowed."""
    names = sorted(allowed)
    near = get_close_matches(given, names, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return f"unknown {what} '{given}'.{hint} Allowed: {', '.join(names) or '(none)'}."
