"""A store that a group shares: what is not open to the group, and opening it."""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from rsctl.errors import UnavailableError
from rsctl.owners import group_name, owner_of, user_name
from rsctl.store.layout import Store
from rsctl.text import counted

_OWN = ("code", "queue", "submissions")
"""Folders whose subfolders only their owner may write to, even in a group's store: they lead to what is run as that user."""
_COPIES = "published.pt"
"""A copy of a checkpoint has the permissions of the file that it was copied from."""


def owner_of_sweep(store: Store, name: str) -> str:
    """The name of the user who first submitted a sweep, whoever resumed it; empty if this user did."""
    return owner_of(store.sweep_folder(name))


def kept_from_group(root: Path) -> list[str]:
    """A sentence if the store's folder doesn't pass the group on to what is created in it."""
    if not root.is_dir() or not ~root.stat().st_mode & (stat.S_ISGID | stat.S_IWGRP):
        return []
    return [f"{root} isn't group-writable with the setgid bit: chmod g+ws {root}"]


def closed_to_group(root: Path) -> list[str]:
    """A sentence for each user with files in a store that the rest of the store's group can't use."""
    found: dict[int, list[Path]] = defaultdict(list)
    for path, owner, *_ in _closed(root):
        found[owner].append(path)
    group = group_name(root.stat().st_gid) if found else ""
    return [
        f"{counted(len(paths), 'file or folder', 'files and folders')} of {'yours' if user == os.geteuid() else f'user {user_name(user)}'} "
        f"can't be used by the group {group}, {paths[0]} for one: "
        + ("'rsctl doctor --share' opens them" if user == os.geteuid() else "only their owner can open them, by 'rsctl doctor --share'")
        for user, paths in sorted(found.items())
    ]  # fmt: skip


def share(root: Path) -> int:
    """Give this user's files in a store to the store's group, and let the group read and write them; returns how many changed.

    Raises
    ------
    UnavailableError
        This user isn't a member of that group, or the file system refuses.
    """
    user, changed = os.geteuid(), 0
    try:
        group = root.stat().st_gid
        for path, owner, mode, needed in list(_closed(root)):
            if owner == user or user == 0:
                os.chown(path, -1, group, follow_symlinks=False)
                if needed:
                    path.chmod(stat.S_IMODE(mode) | needed)
                changed += 1
    except OSError as error:
        raise UnavailableError(
            f"can't open {error.filename or root} to the group {group_name(group)}: {error.strerror}. Are you a member of it? "
            f"'id' lists your groups; the owner of the store can choose another one: chgrp GROUP {root}"
        ) from error
    return changed


def _closed(root: Path) -> Iterator[tuple[Path, int, int, int]]:
    """Files and folders with another group than the store's or without its permissions: path, owner, mode and the bits to add;
    a folder precedes its content."""
    group = root.stat().st_gid
    waiting = [root]
    while waiting:
        path = waiting.pop()
        try:
            found = path.lstat()
            if stat.S_ISDIR(found.st_mode):
                waiting += [path / name for name in os.listdir(path)]
        except OSError:
            continue
        needed = _needed(path.relative_to(root), found.st_mode)
        if found.st_gid != group or needed & ~found.st_mode:
            yield path, found.st_uid, found.st_mode, needed


def _needed(path: Path, mode: int) -> int:
    """The permissions that the group needs of a file, given relative to the store."""
    folder = stat.S_ISDIR(mode)
    if not folder and (not stat.S_ISREG(mode) or path.name == _COPIES):
        return 0
    needed = stat.S_IRGRP | (stat.S_ISGID | stat.S_IXGRP if folder else 0)
    own = (
        path.parts[:1] and path.parts[0] in _OWN and (len(path.parts) > 2 or (folder and len(path.parts) > 1))
    )
    return needed if own else needed | stat.S_IWGRP
