"""Packs a sweep into one file."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from rsctl import __version__
from rsctl.errors import InputError
from rsctl.package.archive import manifest_bytes, member_of, write_archive
from rsctl.package.card import card
from rsctl.package.compose import compose
from rsctl.package.format import CARD, Manifest, Member
from rsctl.package.parts import Content, collect, require_clean
from rsctl.package.tables import certified_file, tables_of
from rsctl.plain import harmless
from rsctl.store.files import TEMPORARY, explained
from rsctl.store.layout import Store
from rsctl.store.plan_fields import entries_and_levels


@dataclass(frozen=True)
class Package:
    """A package that is ready to be written."""

    manifest: Manifest
    content: dict[str, Content]
    notes: list[str]
    """Sentences about what is missing."""

    def write(self, stream: BinaryIO) -> None:
        write_archive(stream, self.manifest, self.content)


def prepare(
    store: Store,
    sweep: str,
    *,
    weights: bool = False,
    logs: bool = False,
    licence: str = "",
    without: Collection[str] = (),
) -> Package:
    """The package of a sweep, finished or not. Parts whose SHA-256 is in `without` are listed, but left out of the file.

    Raises
    ------
    InputError
        There is no such sweep, or one of its records can't be read.
    RefusedError
        A value of a run's identity is a path of this machine.
    """
    packed = collect(store, sweep, weights=weights, logs=logs)
    require_clean(packed, store)
    with tempfile.TemporaryDirectory(prefix="rsctl-pack-") as folder:
        composed = compose(
            {name: part for name, part in packed.content.items() if not name.endswith("model.pt")},
            Path(folder),
            sweep,
        )
        for run in packed.runs:
            if run.kind.is_table:
                data = certified_file(composed.run(run.kind, run.id), entries_and_levels(packed.plan))
                if data is not None:
                    packed.content[f"runs/{run.kind}/{run.id}/certified.h5"] = data
        tables, results = tables_of(composed, sweep)
        included = any(name.endswith("model.pt") for name in packed.content)
        about = card(
            packed.sweep, composed, results, licence=harmless(licence), weights=included, notes=packed.notes
        )
    content: dict[str, Content] = {CARD: about.encode(), **tables, **packed.content}
    members = tuple(member_of(name, part) for name, part in content.items())
    if without:
        members = tuple(replace(member, included=member.sha256 not in without) for member in members)
    manifest = Manifest(sweep, __version__, harmless(licence), members, "")
    manifest = replace(manifest, sha256=hashlib.sha256(manifest_bytes(manifest)).hexdigest())
    return Package(manifest, content, packed.notes)


def members(store: Store, sweep: str, *, weights: bool = False, logs: bool = False) -> list[Member]:
    """The members that the package of a sweep has now: name, size and SHA-256 of each."""
    return list(prepare(store, sweep, weights=weights, logs=logs).manifest.members)


def pack(
    store: Store, sweep: str, file: Path, *, weights: bool = False, logs: bool = False, licence: str = "", without: Collection[str] = (),
    force: bool = False,
) -> Package:  # fmt: skip
    """Write the package of a sweep to a file, whole or not at all; see `prepare`.

    Raises InputError where the file exists, unless `force`.
    """
    if file.exists() and not force:
        raise InputError(f"{file}: exists. Give another name with -o, or --force to replace it.")
    package = prepare(store, sweep, weights=weights, logs=logs, licence=licence, without=without)
    write_whole(file, package)
    return package


def write_whole(file: Path, package: Package) -> None:
    """Write a package under a temporary name, then rename it."""
    if not file.parent.is_dir():
        raise InputError(
            f"{file}: the folder {file.parent} doesn't exist. Make it, or give another name with -o."
        )
    temporary = file.with_name(f"{TEMPORARY}{file.name}-{os.getpid()}")
    try:
        with explained(file):
            with open(temporary, "xb") as stream:
                package.write(stream)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
