"""Unsaved sweep files of the form, kept between sessions: one per user and store.

They are stored in `$XDG_STATE_HOME/rsctl/drafts`, by default under `~/.local/state`. Used on a background thread only.
"""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import NamedTuple

from rsctl.config.toml_text import to_toml
from rsctl.errors import UserError
from rsctl.tui.compose.draft import Draft
from rsctl.tui.read_only import changes


class Kept(NamedTuple):
    """The draft left unsaved, if any, with its file and time; or the problem that prevented reading it."""

    draft: Draft | None = None
    file: Path | None = None
    when: float = 0.0
    problem: str = ""


def place() -> Path:
    """The file that holds the draft of this store."""
    from rsctl.config.settings import load_settings

    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    name = hashlib.sha256(str(load_settings().store).encode()).hexdigest()[:16]
    return Path(state) / "rsctl" / "drafts" / f"{name}.toml"


@changes
def keep(draft: Draft, file: Path | None) -> None:
    """Write a draft; raises UserError if that fails."""
    from rsctl.store.files import replace

    replace(place(), to_toml({"file": str(file or ""), "draft": draft.raw}).encode())


@changes
def forget() -> None:
    """Remove the draft, once it has been saved or submitted."""
    place().unlink(missing_ok=True)


def find() -> Kept:
    """The draft that was left unsaved."""
    from rsctl.config.toml_file import read_toml

    path = place()
    if not path.exists():
        return Kept()
    try:
        found = read_toml(path)
        file = str(found.get("file", ""))
        draft = Draft(found["draft"])
        return Kept(draft, Path(file) if file else None, path.stat().st_mtime)
    except (UserError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        return Kept(problem=f"{path}: can't read the saved draft: {error}")


def age(when: float) -> str:
    """The time since then as text: `5 minutes ago`, or the date."""
    minutes = (time.time() - when) / 60
    if minutes < 120:
        return "just now" if minutes < 2 else f"{minutes:.0f} minutes ago"
    return f"on {time.strftime('%Y-%m-%d at %H:%M', time.localtime(when))}"
