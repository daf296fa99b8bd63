"""Ownership checks: another user's file is not run or loaded unless a group shares the store."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import stat
import tempfile
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from pathlib import Path

from rsctl.errors import RefusedError

ROOT = 0
"""root can change everything anyway, so its files are trusted like the user's own."""


def user_name(user: int) -> str:
    """Return the name of a user, or the number if it has none."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def owner_of(path: Path) -> str:
    """Return the name of the user that a file or folder belongs to; empty for this user's own, and for a missing one."""
    if is_mine(path):
        return ""
    return user_name(os.lstat(path).st_uid)


def require_named(what: str, owners: Iterable[str], named: Collection[str] | None) -> None:
    """Refuse to change what belongs to other users, unless they are named; None where their names were confirmed.

    Raises
    ------
    RefusedError
        One of these owners, as `owner_of` returns them, is another user and not named.
    """
    others = sorted({owner for owner in owners if owner} - set(named or ()))
    if others and named is not None:
        raise RefusedError(
            f"{what}: belongs to {'user' if len(others) == 1 else 'users'} {', '.join(others)}. Nothing was changed. To change it "
            f"all the same, name {'the owner' if len(others) == 1 else 'the owners'}: {' '.join(f'--of {one}' for one in others)}."
        )


def denied(path: Path) -> str:
    """The reason why this user may not read or write a path: whose it, or the folder before it, is and who has access."""
    blocked = Path("/")
    for blocked in (*reversed(path.absolute().parents), path.absolute()):
        if not os.path.lexists(blocked):
            blocked = blocked.parent  # can't be created
            break
        if not os.access(blocked, os.R_OK | (os.X_OK if blocked.is_dir() else 0)):
            break
    try:
        found = blocked.stat()
    except OSError:
        return "permission is denied"
    group = group_name(found.st_gid)
    if found.st_gid in (os.getegid(), *os.getgroups()):
        why = f"and isn't open enough to its group {group}. In a store that a group shares, its owner opens it: 'rsctl doctor --share'"
    else:
        why = f"and to the group {group}, of which you aren't a member ('id' lists your groups)"
    return f"permission is denied: {blocked} belongs to user {user_name(found.st_uid)} {why}"


def group_name(group: int) -> str:
    try:
        return grp.getgrgid(group).gr_name
    except KeyError:
        return str(group)


def is_mine(path: Path) -> bool:
    """Return whether a file and its link target belong to this user or to root; true for a missing file."""
    return all(_ours(found, path) for found in _stats(path))


def check_owner(path: Path, root: Path, *, group: bool) -> None:
    """Refuse a file of somebody else, unless the store below `root` is a group's (`group`) and this file is the group's, too.

    Raises
    ------
    RefusedError
        The file belongs to another user, or strangers to the group can write where it lies.
    """
    for found in _stats(path):
        if _ours(found, path):
            continue
        whose = f"{path} belongs to user {user_name(found.st_uid)}, and would be run or loaded as yours"
        owners = root.stat().st_gid
        if not group:
            raise RefusedError(
                f'{whose}. Where a group shares the store, set store_mode = "group" in the profile (rsctl.toml); else use a store of '
                "your own, or move that file away."
            )
        if found.st_gid != owners:
            raise RefusedError(
                f"{whose}; its group is {group_name(found.st_gid)}, not the store's, {group_name(owners)}. "
                f"Its owner can give it to the group: chgrp -R {group_name(owners)} {path}"
            )
        if opened := next(world_writable(_up_to(path, root)), None):
            raise RefusedError(f"{whose}; everybody can write to {opened}. Do chmod o-w {opened}")


_shared = False


def share_with_group(shared: bool) -> None:
    """Set whether what this process creates is open to the group of a setgid folder that it lies in, whatever the umask."""
    global _shared
    _shared = shared


def group_bits(folder: Path, mode: int) -> int:
    """Return the permissions that a new file or folder of this mode gives the group: those of its folder, if that has the
    setgid bit and a group shares the store, else none beyond what the umask leaves."""
    if not _shared:
        return 0
    found = folder.stat().st_mode
    return found & mode & stat.S_IRWXG if found & stat.S_ISGID else 0


def open_to_group(descriptor: int, folder: Path, mode: int = 0o666) -> None:
    """Give the group of an open file of this user in this folder its permissions; see `group_bits`."""
    found = os.fstat(descriptor)
    if (more := group_bits(folder, mode) & ~found.st_mode) and found.st_uid == os.geteuid():
        os.fchmod(descriptor, stat.S_IMODE(found.st_mode) | more)


@contextlib.contextmanager
def readable_by_group(shared: bool) -> Iterator[None]:
    """Let the group read what other programs create meanwhile, if it shares the store: SLURM's scripts and logs have the umask of
    the process that submits them."""
    before = os.umask(0o077)
    os.umask(before & ~0o050 if shared else before)
    try:
        yield
    finally:
        os.umask(before)


def world_writable(paths: Iterable[Path]) -> Iterator[Path]:
    """Return the files and folders among these that are world-writable."""
    for path in paths:
        try:
            found = path.stat()
        except OSError:
            continue
        if found.st_mode & stat.S_IWOTH:
            yield path


def _up_to(path: Path, root: Path) -> Iterator[Path]:
    """Return the file and its parent folders, up to the store's."""
    for folder in (path, *path.parents):
        yield folder
        if folder == root:
            return


def _stats(path: Path) -> Iterator[os.stat_result]:
    """Stat the file and, if it is a link, its target."""
    with contextlib.suppress(OSError):
        yield (found := os.lstat(path))
        if stat.S_ISLNK(found.st_mode):
            yield os.stat(path)


def _ours(found: os.stat_result, path: Path) -> bool:
    if found.st_uid in (os.geteuid(), ROOT):
        return True
    try:
        return found.st_uid == _shown_as(path.parent, found.st_dev)
    except OSError:
        return False


@cache
def _shown_as(folder: Path, _device: int) -> int:
    """Return the owner that a new file of this user gets there: some network mounts show all files as another user's."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.fstat(file.fileno()).st_uid
