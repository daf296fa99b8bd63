"""Mutual exclusion of processes: by a file system lock or, where there are none, by a file that names the holder."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from rsctl.owners import open_to_group
from rsctl.store.attempts import here, is_alive
from rsctl.store.files import explained, make_folder, publish, read_bytes, replace

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL)
"""Errors of file systems without locks: NFS mounted with nolock, many FUSE mounts."""
_BUSY = (errno.EWOULDBLOCK, errno.EACCES)
_UNSEEN = 600.0
"""Seconds after which a holder on another host, which can't be checked from here, is taken for dead."""
_LOOK_EVERY = 0.1


@contextlib.contextmanager
def exclusive(lock: Path, *, wait: bool) -> Iterator[bool]:
    """Hold a lock file and yield True, or yield False if another process holds it; with `wait`, wait for it."""
    make_folder(lock.parent)
    with explained(lock):
        descriptor = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o666)
        open_to_group(descriptor, lock.parent)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            if error.errno in _NO_LOCKS:
                with _exclusive_by_name(lock, wait=wait) as had:
                    yield had
                return
            if error.errno not in _BUSY:
                raise
            yield False
            return
        yield True
    finally:
        os.close(descriptor)


def is_held(lock: Path) -> bool:
    """Return whether a process holds a lock file now."""
    try:
        descriptor = os.open(lock, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return _holder_lives(lock, _last(lock)) if error.errno in _NO_LOCKS else True
    finally:
        os.close(descriptor)
    return False


def has_locks(folder: Path) -> bool:
    """Return whether the file system of a folder has locks."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in _NO_LOCKS
    finally:
        os.close(descriptor)
    return True


@contextlib.contextmanager
def _exclusive_by_name(lock: Path, *, wait: bool) -> Iterator[bool]:
    while (mine := _take(lock)) is None and wait:
        time.sleep(_LOOK_EVERY)
    try:
        yield mine is not None
    finally:
        if mine:
            replace(mine, b"{}")


def _take(lock: Path) -> Path | None:
    """Become the holder; None if another process is.

    Holders are numbered, and the one with the highest number holds. A dead one is followed by the next, created
    exclusively; it is never removed before there is a higher one, so that two processes that find it dead can't both follow.
    """
    while True:
        last = _last(lock)
        if _holder_lives(lock, last):
            return None
        mine = _holder(lock, last + 1)
        if not publish(mine, json.dumps(here()).encode()):
            continue
        if _last(lock) != last + 1:
            mine.unlink(missing_ok=True)  # others have come and gone since the first look
            continue
        for number in _numbers(lock):
            if number <= last:
                _holder(lock, number).unlink(missing_ok=True)
        return mine


def _holder(lock: Path, number: int) -> Path:
    return lock.with_name(f"{lock.name}.{number}")


def _numbers(lock: Path) -> list[int]:
    beginning = f"{lock.name}."
    endings = [name.removeprefix(beginning) for name in os.listdir(lock.parent) if name.startswith(beginning)]
    return [int(ending) for ending in endings if ending.isdecimal()]


def _last(lock: Path) -> int:
    return max(_numbers(lock), default=0)


def _holder_lives(lock: Path, number: int) -> bool:
    holder = _holder(lock, number)
    try:
        claim, age = json.loads(read_bytes(holder)), time.time() - holder.stat().st_mtime
        alive = is_alive(claim) if claim else False
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return False
    return age < _UNSEEN if alive is None else alive
