"""Provenance of a run: package versions, git state, command, and the code itself."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from rsctl import __version__
from rsctl.catalog import plugins
from rsctl.errors import InputError, RefusedError
from rsctl.owners import check_owner, open_to_group
from rsctl.store.files import TEMPORARY, explained, make_folder

_PACKAGES = ("torch", "torchvision", "accelerate", "numpy", "scipy", "h5py", "scikit-learn", "pydantic")


ONLY_VERIFIED = {"PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1"}
"""Environment of a task: nothing is imported from its working folder (Python 3.10 ignores this variable: there, that folder is
`/`, where only root writes), and no bytecode is written beside sources, where no hash covers it."""
_HASH = re.compile(r"[0-9a-f]{16}")


@cache
def versions() -> dict[str, str]:
    """Versions of Python, the platform and the packages that affect numbers."""
    found = {"rsctl": __version__, "python": platform.python_version(), "platform": platform.platform()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


@cache
def git_state() -> dict[str, Any]:
    """Commit and dirtiness of the source tree that rsctl runs from; empty where it isn't a checkout."""
    folder = Path(__file__).resolve().parents[2]

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
        return done.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) != folder:
            return {}
        return {
            "sha": git("rev-parse", "HEAD"),
            "dirty": bool(git("status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.SubprocessError):
        return {}


def provenance() -> dict[str, Any]:
    """Versions, git state, command and working folder, for the record of a submission or an attempt."""
    return {"versions": versions(), "git": git_state(), "command": sys.argv, "cwd": os.getcwd()}


def snapshot_code(store_root: Path, *, group: bool = False) -> str:
    """Copy the sources of rsctl, jobs and the plugins to `<store>/code/<hash>`; returns the hash.

    Tasks run from there, so that later edits don't affect queued ones. The same code is stored once.
    """
    files = [(name, path) for package in ("rsctl", "jobs", *plugins()) for name, path in _sources(package)]
    code = _digest(files)
    target = store_root / "code" / code
    if target.is_dir():
        verify_code(store_root, code, plugins(), group=group)
        return code
    making = target.with_name(f"{TEMPORARY}{code}-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with explained(target):
            for name, path in files:
                for folder in reversed(Path(name).parents):
                    make_folder(making / folder, 0o755)
                # Even in a store that a group shares, only its creator may change a snapshot.
                with open(
                    making / name, "xb", opener=lambda file, flags: os.open(file, flags, 0o644)
                ) as copy:
                    open_to_group(copy.fileno(), (making / name).parent, 0o644)
                    copy.write(path.read_bytes())
            try:
                os.rename(making, target)
            except OSError:
                # Another submission created the same folder meanwhile.
                if not target.is_dir():
                    raise
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return code


def verify_code(store_root: Path, code: str, packages: Sequence[str], *, group: bool = False) -> Path:
    """The folder of a snapshot, after its sources were hashed again; `packages` are the plugins beside rsctl's own, and with `group`
    members of the store's group may have made it.

    Other users may be able to write to the store; this check ensures that the code run as you is the code that was hashed. Stored
    bytecode, which no hash covers and Python would prefer, is removed.

    Raises
    ------
    InputError
        The name is not a hash, or the snapshot is gone.
    RefusedError
        Its files don't match the hash, or belong to another user.
    """
    if not _HASH.fullmatch(code):
        raise InputError(f"code '{code}': not the hash of a snapshot in {store_root / 'code'}. Submit again.")
    folder = store_root / "code" / code
    if not folder.is_dir():
        raise InputError(f"its code snapshot {folder} is gone. Submit again")
    for kept in folder.rglob("__pycache__"):
        shutil.rmtree(kept, ignore_errors=True)
    for path in (folder, *folder.rglob("*")):
        check_owner(path, store_root, group=group)
    there = {path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()}
    files: list[tuple[str, Path]] = []
    for package in ("rsctl", "jobs", *packages):
        single = folder / f"{package}.py"
        files += [(single.name, single)] if single.is_file() else _package_sources(package, folder / package)
    same = {path for _, path in files} == there and not any(path.is_symlink() for path in there)
    if not same or _digest(files) != code:
        raise RefusedError(
            f"{folder}: its files don't match the hash in its name: they were changed. Move the folder away and submit again."
        )
    return folder


def _digest(files: Sequence[tuple[str, Path]]) -> str:
    digest = hashlib.sha256()
    for name, path in files:
        digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _sources(package: str) -> list[tuple[str, Path]]:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.origin:
        raise InputError(f"the package '{package}' can't be found. Install it beside rsctl.")
    origin = Path(spec.origin)
    if origin.name != "__init__.py":
        return [(origin.name, origin)]
    return _package_sources(package, origin.parent)


def _package_sources(package: str, root: Path) -> list[tuple[str, Path]]:
    return [
        (f"{package}/{path.relative_to(root).as_posix()}", path)
        for path in sorted(root.rglob("*"))
        if path.suffix in (".py", ".tcss", ".json", ".toml") and "__pycache__" not in path.parts
    ]
