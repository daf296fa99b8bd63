"""Puts a package into a store: each run's folder appears whole, the sweep's list last, so that a killed unpacking is repeated."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rsctl.config.names import check_name
from rsctl.errors import InputError, UserError
from rsctl.owners import group_bits
from rsctl.package.archive import extract
from rsctl.package.compose import compose, files_of, place, put
from rsctl.package.consistency import structure
from rsctl.package.format import Manifest, NotAPackageError
from rsctl.package.merging import KEPT, require_same_sweep, state_of
from rsctl.package.tables import tables_of
from rsctl.plain import plain
from rsctl.store.files import TEMPORARY, explained, make_folder, to_json
from rsctl.store.layout import Store
from rsctl.store.received import FILE, received
from rsctl.store.run_kinds import RunKind
from rsctl.store.tuned import record_tuned, tuned_on

_STALE = 24 * 3600.0
_OLD = "old"
_ONLY_THERE = ("model.pt", "logs", "remote.json")
"""Parts that a later package may lack because they weren't requested."""


@dataclass
class Unpacked:
    """The result of unpacking."""

    sweep: str
    package: str
    """SHA-256 of its manifest."""
    folders: dict[str, str] = field(default_factory=dict)
    """`counts/<id>` or `imports/<id>` → `added`, `updated` or `kept`."""

    def count(self, state: str) -> int:
        return sum(found == state for found in self.folders.values())


def unpack(file: Path, store: Store, *, name: str = "", origin: str = "") -> Unpacked:
    """Put the runs of a package beside those of the store, and its sweep under its own name or another one.

    Parts that the package leaves out are taken from what was received before. Safe to repeat.

    Raises
    ------
    NotAPackageError
        The file is no package, was changed, or holds what no package may hold. Nothing was written.
    RefusedError
        The store has another sweep of this name, or other content for one of the runs. Nothing was written.
    """
    make_folder(store.root)
    with _staging(store) as staging:
        (staging / "parts").mkdir()
        found = extract(file, staging / "parts")
        if found.changed:
            raise NotAPackageError(
                f"{file}: {found.changed[0]}: its bytes don't match the SHA-256 in the manifest: it was damaged or changed. "
                "`rsctl verify` reports what differs."
            )
        sweep = _sweep_name(file, found.manifest, name)
        _bring_held(file, store, sweep, found.manifest, staging / "store")
        composed = compose(found.files, staging / "store", sweep)
        _mark(composed, sweep, found.manifest, origin or file.name)
        if problems := structure(composed, sweep):
            raise NotAPackageError(f"{file}: {problems[0]}")
        _require_results(file, composed, sweep)
        require_same_sweep(store, composed, sweep)
        states = {folder: state_of(store, composed, folder) for folder in _folders(composed)}
        _flush(composed.root)
        for folder, state in states.items():
            if state != KEPT:
                _publish(composed, store, folder, staging)
        if kept := tuned_on(store, sweep):
            record_tuned(composed, sweep, kept)  # what was chosen on these images stays known
        _publish(composed, store, f"sweeps/{sweep}", staging)
        return Unpacked(sweep, found.manifest.sha256, states)


@contextmanager
def _staging(store: Store) -> Iterator[Path]:
    """A folder in the store that disappears again; those of killed processes go a day later."""
    for old in store.root.glob(f"{TEMPORARY}unpack-*"):
        _restore(store, old)
        if time.time() - old.lstat().st_mtime > _STALE:
            shutil.rmtree(old, ignore_errors=True)
    with explained(store.root):
        folder = Path(tempfile.mkdtemp(prefix=f"{TEMPORARY}unpack-", dir=store.root))
    try:
        yield folder
    finally:
        _restore(store, folder)
        shutil.rmtree(folder, ignore_errors=True)


def _sweep_name(file: Path, manifest: Manifest, name: str) -> str:
    try:
        return check_name(name or manifest.sweep)
    except ValueError as error:
        if name:
            raise InputError(f"--name {name}: {error}.") from error
        raise NotAPackageError(f"{file}: the name of its sweep isn't one: {error}.") from error


def _require_results(file: Path, composed: Store, sweep: str) -> None:
    """Refuse made-up specs and rows that nothing can be computed from: the commands that show results would fail, too."""
    try:
        tables_of(composed, sweep)
    except UserError:
        return  # a certificate or a data set of a plugin that isn't here; tables name it
    except Exception as error:
        raise NotAPackageError(
            f"{file}: its results can't be computed ({plain(repr(error), 300)})."
        ) from error


def _bring_held(file: Path, store: Store, sweep: str, manifest: Manifest, composed: Path) -> None:
    """Copy the members that the package leaves out from what was received before; raises InputError where one isn't there."""
    left_out = [member for member in manifest.members if not member.included]
    held = _held_files(store) if left_out else {}
    for member in left_out:
        there, target = held.get(member.sha256), composed / files_of(member.name, sweep)
        if there is None or not there.exists():
            raise InputError(
                f"{file}: leaves out {member.name}, which this store hasn't received. Pack it again with every part."
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        if there.is_dir():
            shutil.copytree(there, target)
        else:
            shutil.copyfile(there, target)


def _held_files(store: Store) -> dict[str, Path]:
    """Files made from each part that was received so far, by its SHA-256."""
    found: dict[str, Path] = {}
    for kind in (*RunKind, "imports", "sweeps"):
        for folder in (store.root / kind).glob("*"):
            for part in (received(folder) or {}).get("parts", ()):
                found[part["sha256"]] = store.root / files_of(part["name"], folder.name)
    return found


def _mark(composed: Store, sweep: str, manifest: Manifest, origin: str) -> None:
    """Write `received.json` into every folder, with the members that it was made from."""
    parts: dict[str, list[dict[str, str]]] = {}
    for member in manifest.members:
        folder = "/".join(Path(files_of(member.name, sweep)).parts[:2])
        parts.setdefault(folder, []).append({"name": member.name, "sha256": member.sha256})
    about = {
        "package": manifest.sha256,
        "origin": plain(origin, 200),
        "version": manifest.rsctl,
        "time": time.time(),
    }
    for folder, found in parts.items():
        put(composed.root / folder / FILE, to_json({**about, "parts": found}))


def _folders(composed: Store) -> list[str]:
    """The folders of runs and imports, models first."""
    kinds = (*RunKind, "imports")
    return [f"{kind}/{path.name}" for kind in kinds for path in sorted((composed.root / kind).glob("*"))]


def _publish(composed: Store, store: Store, folder: str, staging: Path) -> None:
    """Move a composed folder to its place. Weights and logs that only the old one has go along."""
    new, old, aside = composed.root / folder, store.root / folder, staging / _OLD / folder
    make_folder(old.parent)
    with explained(old):
        if old.exists():
            for name in _ONLY_THERE:
                if (old / name).is_dir() and not (new / name).exists():
                    shutil.copytree(old / name, new / name)
                elif (old / name).exists() and not (new / name).exists():
                    place(old / name, new / name)
            make_folder(aside.parent)
            os.rename(old, aside)
        _open_to_group(new, old.parent)
        os.rename(new, old)


def _open_to_group(new: Path, folder: Path) -> None:
    """Give the group what it has of the folder that everything below `new` comes into."""
    for path in (new, *new.rglob("*")):
        found = path.stat()
        more = group_bits(folder, 0o777 if path.is_dir() else 0o666) & ~found.st_mode
        if more and found.st_uid == os.geteuid():
            path.chmod(stat.S_IMODE(found.st_mode) | more)


def _restore(store: Store, staging: Path) -> None:
    """Put back a folder that was moved aside by a process that ended before the new one was in its place."""
    for aside in (staging / _OLD).glob("*/*"):
        there = store.root / aside.relative_to(staging / _OLD)
        if not there.exists():
            os.rename(aside, there)


def _flush(folder: Path) -> None:
    """Write the files below a folder to disk before anything refers to them."""
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
