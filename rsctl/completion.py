"""How what is typed can go on: names that the store and the catalog know, and files.

The shell and the dashboard's prompts ask here. A completion never fails: where nothing can be known, nothing follows.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from rsctl.errors import UserError

Names = Callable[[str], list[str]]
"""What is typed → the whole texts that begin so."""


def files(typed: str) -> list[str]:
    """Files and folders whose path begins as what is typed does; a folder ends in a slash, so that one can go on."""
    folder, begun = os.path.split(typed)
    try:
        with os.scandir(os.path.expanduser(folder) or ".") as found:
            names = sorted(
                os.path.join(folder, entry.name) + ("/" if entry.is_dir() else "")
                for entry in found
                if entry.name.startswith(begun) and (begun.startswith(".") or not entry.name.startswith("."))
            )
    except OSError:
        return []
    return names


def among(names: Callable[[], Iterable[str]]) -> Names:
    """Completes one of these names."""

    def complete(incomplete: str) -> list[str]:
        try:
            return [name for name in names() if name.startswith(incomplete)]
        except (UserError, OSError):
            return []

    return complete


def listed(names: Iterable[str]) -> Names:
    """Completes the last of several names with commas between them."""
    known = list(names)

    def complete(typed: str) -> list[str]:
        before, comma, last = typed.rpartition(",")
        lead = before + comma + last[: len(last) - len(last.lstrip())]
        given = {part.strip() for part in before.split(",")}
        return [lead + name for name in known if name.startswith(last.strip()) and name not in given]

    return complete
