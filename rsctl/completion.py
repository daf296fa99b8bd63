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


def sweeps(incomplete: str) -> list[str]:
    """Sweeps of the store."""
    return among(lambda: _store().sweep_names())(incomplete)


def runs(incomplete: str) -> list[str]:
    """Runs of the store."""
    return among(_run_names)(incomplete)


def sweeps_and_runs(incomplete: str) -> list[str]:
    """Sweeps and runs, as `cancel` and `retry` take them."""
    return sweeps(incomplete) + runs(incomplete)


def subjects(incomplete: str) -> list[str]:
    """Names that `compare` takes: runs, and imported logs."""
    return among(lambda: [*_run_names(), *_names(_store().root / "imports")])(incomplete)


def levels(typed: str) -> list[str]:
    """Noise levels of the store's models, several separated by commas: their ids contain them."""
    found = [
        re.search(r"-s([0-9.e+-]+)-[0-9a-f]{8}$", name)
        for name in among(lambda: _names(_store().root / "models"))("")
    ]
    return listed(sorted({one[1] for one in found if one}, key=float))(typed)


def templates(incomplete: str) -> list[str]:
    """Sweep files that come with rsctl."""
    from rsctl.config.templates import all_templates

    return among(lambda: [one.name for one in all_templates()])(incomplete)


def certificates(incomplete: str) -> list[str]:
    """Certificates, those of plugins too."""
    return _of_catalog("certificates")(incomplete)


def methods(incomplete: str) -> list[str]:
    """Training methods."""
    return _of_catalog("methods")(incomplete)


def models(incomplete: str) -> list[str]:
    """Architectures."""
    return _of_catalog("models")(incomplete)


def datasets(incomplete: str) -> list[str]:
    """Data sets."""
    return _of_catalog("datasets")(incomplete)


def explained(incomplete: str) -> list[str]:
    """Names and keys that `explain` knows."""

    def names() -> Iterable[str]:
        from rsctl.config.settings import load_settings
        from rsctl.reference.entries import entries

        load_settings()  # makes the plugins known
        return sorted({one.name for one in entries()})

    return among(names)(incomplete)


def topics(incomplete: str) -> list[str]:
    """Topics of `help`."""

    def names() -> Iterable[str]:
        from rsctl.reference import topics

        return topics.topics()

    return among(names)(incomplete)


def profiles(incomplete: str) -> list[str]:
    """Profiles of rsctl.toml, and the two that always exist."""

    def names() -> Iterable[str]:
        from rsctl.config.settings import load_settings

        return load_settings().settings.everywhere

    return among(names)(incomplete)


def remotes(incomplete: str) -> list[str]:
    """Remotes of rsctl.toml."""

    def names() -> Iterable[str]:
        from rsctl.config.settings import load_settings

        return load_settings().settings.remotes

    return among(names)(incomplete)


def published(incomplete: str) -> list[str]:
    """Published tables."""

    def names() -> Iterable[str]:
        from rsctl.report.baselines import published_tables

        return published_tables()

    return among(names)(incomplete)


def one_of(*names: str) -> Names:
    """Complete one of a few fixed words."""
    return among(lambda: names)


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


def _of_catalog(kind: str) -> Names:
    def names() -> Iterable[str]:
        from rsctl import catalog
        from rsctl.certificates import certificates
        from rsctl.config.settings import load_settings

        load_settings()  # makes the plugins known
        known: dict[str, Callable[[], Iterable[str]]] = {
            "certificates": certificates,
            "methods": catalog.known_methods,
            "models": catalog.known_models,
            "datasets": catalog.known_datasets,
        }
        return sorted(known[kind]())

    return among(names)
