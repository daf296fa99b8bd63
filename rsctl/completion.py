"""Completion of names in the store and the catalog, and of files.

Used by the shell and by the dashboard's prompts. A completion never fails: on an error it returns nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from rsctl.errors import UserError

if TYPE_CHECKING:
    from rsctl.store.layout import Store

Names = Callable[[str], list[str]]
"""Maps typed text to the completions that start with it."""


def files(typed: str) -> list[str]:
    """Complete files and folders; a folder ends in a slash, so that completion can continue below it."""
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
    """Complete one of these names."""

    def complete(incomplete: str) -> list[str]:
        try:
            return [name for name in names() if name.startswith(incomplete)]
        except (UserError, OSError):
            return []

    return complete


def listed(names: Iterable[str]) -> Names:
    """Complete the last of several comma-separated names."""
    known = list(names)

    def complete(typed: str) -> list[str]:
        before, comma, last = typed.rpartition(",")
        lead = before + comma + last[: len(last) - len(last.lstrip())]
        given = {part.strip() for part in before.split(",")}
        return [lead + name for name in known if name.startswith(last.strip()) and name not in given]

    return complete


def one_of(*names: str) -> Names:
    """Complete one of a few fixed words."""
    return among(lambda: names)


def compared(incomplete: str) -> list[str]:
    """Names that `compare` takes first: those, and sweeps, whose cascades are compared with their levels."""
    return subjects(incomplete) + sweeps(incomplete)


def levels(typed: str) -> list[str]:
    """Noise levels of the store's models, several separated by commas: their ids contain them."""
    found = [
        re.search(r"-s([0-9.e+-]+)-[0-9a-f]{8}$", name)
        for name in among(lambda: _names(_store().root / "models"))("")
    ]
    return listed(sorted({one[1] for one in found if one}, key=float))(typed)


def sweeps_and_runs(incomplete: str) -> list[str]:
    """Sweeps and runs, as `cancel` and `retry` take them."""
    return sweeps(incomplete) + runs(incomplete)


def _store() -> Store:
    from rsctl.config.settings import load_settings
    from rsctl.store.layout import Store

    return Store(load_settings().store)


def _run_names() -> list[str]:
    from rsctl.store.run_kinds import RunKind

    return [name for kind in RunKind for name in _names(_store().root / kind)]


def _names(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(folder) if not entry.name.startswith("."))
    except OSError:
        return []


def _of(module: str, function: str, *, plugins: bool = False) -> Names:
    """Complete the names that a function returns, or the names of the objects; its module is imported when that is needed."""

    def names() -> Iterable[str]:
        if plugins:
            from rsctl.config.settings import load_settings

            load_settings()  # makes them known
        found = getattr(import_module(f"rsctl.{module}"), function)()
        return sorted({getattr(one, "name", one) for one in found})

    return among(names)


def _profiles() -> Iterable[str]:
    from rsctl.config.settings import load_settings

    return load_settings().settings.everywhere


def _remotes() -> Iterable[str]:
    from rsctl.config.settings import load_settings

    return load_settings().settings.remotes


sweeps = among(lambda: _store().sweep_names())
runs = among(_run_names)
subjects = among(lambda: [*_run_names(), *_names(_store().root / "imports")])
"""Names that `compare` takes: runs, and imported logs."""
profiles = among(_profiles)
"""Profiles of rsctl.toml, and the two that always exist."""
remotes = among(_remotes)
templates = _of("config.templates", "all_templates")
topics = _of("reference.topics", "topics")
published = _of("report.baselines", "published_tables")
certificates = _of("certificates", "certificates", plugins=True)
methods = _of("catalog", "known_methods", plugins=True)
models = _of("catalog", "known_models", plugins=True)
datasets = _of("catalog", "known_datasets", plugins=True)
explained = _of("reference.entries", "entries", plugins=True)
"""Names and keys that `explain` knows."""
