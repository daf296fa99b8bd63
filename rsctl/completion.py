"""Completion of names in the store and the catalog, and of files.

Used by the shell and by the dashboard's prompts. A completion never fails: on an error it returns nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
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


@among
def sweeps() -> list[str]:
    """Sweeps of the store."""
    return _store().sweep_names()


@among
def runs() -> list[str]:
    """Runs of the store."""
    from rsctl.store.run_kinds import RunKind

    return [name for kind in RunKind for name in _names(_store().root / kind)]


def sweeps_and_runs(incomplete: str) -> list[str]:
    """Sweeps and runs, as `cancel` and `retry` take them."""
    return sweeps(incomplete) + runs(incomplete)


@among
def subjects() -> list[str]:
    """Names that `compare` takes: runs, and imported logs."""
    return [*runs(""), *_names(_store().root / "imports")]


def levels(typed: str) -> list[str]:
    """Noise levels of the store's models, several separated by commas: their ids contain them."""
    names = among(lambda: _names(_store().root / "models"))("")
    found = [re.search(r"-s([0-9.e+-]+)-[0-9a-f]{8}$", name) for name in names]
    return listed(sorted({one[1] for one in found if one}, key=float))(typed)


@among
def templates() -> list[str]:
    """Sweep files that come with rsctl."""
    from rsctl.config.templates import all_templates

    return [one.name for one in all_templates()]


@among
def certificates() -> Iterable[str]:
    """Certificates, those of plugins too."""
    from rsctl.certificates import certificates

    _load_plugins()
    return sorted(certificates())


def _of_catalog(kind: str) -> Names:
    """The declarations of the catalog of one kind."""

    def names() -> Iterable[str]:
        from rsctl import catalog

        _load_plugins()
        return sorted(getattr(catalog, f"known_{kind}")())

    return among(names)


methods, models, datasets = map(_of_catalog, ("methods", "models", "datasets"))


@among
def explained() -> Iterable[str]:
    """Names and keys that `explain` knows."""
    from rsctl.reference.entries import entries

    _load_plugins()
    return sorted({one.name for one in entries()})


@among
def topics() -> Iterable[str]:
    """Topics of `help`."""
    from rsctl.reference import topics

    return topics.topics()


@among
def profiles() -> Iterable[str]:
    """Profiles of rsctl.toml, and the two that always exist."""
    from rsctl.config.settings import load_settings

    return load_settings().settings.everywhere


@among
def published() -> Iterable[str]:
    """Published tables."""
    from rsctl.report.baselines import published_tables

    return published_tables()


def one_of(*names: str) -> Names:
    """Complete one of a few fixed words."""
    return among(lambda: names)


def _load_plugins() -> None:
    from rsctl.config.settings import load_settings

    load_settings()


def _store() -> Store:
    from rsctl.config.settings import load_settings
    from rsctl.store.layout import Store

    return Store(load_settings().store)


def _names(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(folder) if not entry.name.startswith("."))
    except OSError:
        return []
