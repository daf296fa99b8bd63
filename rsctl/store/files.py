"""Atomic writes: after a kill at any time, a file is whole or absent."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import stat
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

from rsctl.errors import UnavailableError, UserError
from rsctl.owners import denied, group_bits, open_to_group
from rsctl.store.records import read_bytes, read_json, read_records

__all__ = [
    "TEMPORARY",
    "append",
    "as_line",
    "explained",
    "make_folder",
    "names_in",
    "publish",
    "publish_all",
    "read_bytes",
    "read_json",
    "read_records",
    "remove_temporaries",
    "replace",
    "to_json",
]

TEMPORARY = ".tmp-"
_STALE_AFTER = 3600.0


def replace(path: Path, data: bytes) -> None:
    """Write a file under a temporary name, flush it to disk and rename it over `path`."""
    temporary = _write_temporary(path, data)
    with explained(path):
        os.replace(temporary, path)
        _sync_folder(path.parent)


def publish(path: Path, data: bytes, mode: int = 0o666) -> bool:
    """Create `path` whole, or leave an existing one: the first writer wins. Returns whether this call created it."""
    temporary = _write_temporary(path, data, mode)
    try:
        with explained(path):
            os.link(temporary, path)
            _sync_folder(path.parent)
        return True
    except FileExistsError:
        return False
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def publish_all(folder: Path, files: Mapping[str, bytes]) -> int:
    """Create these files of one folder in order, up to the first that exists; returns how many it created.

    Like `publish` for each, with parallel flushes: a thousand files take one second, not ten.
    """
    with ThreadPoolExecutor(16) as pool:
        written = [pool.submit(_write_temporary, folder / name, data) for name, data in files.items()]
    created = 0
    try:
        with explained(folder):
            for name, temporary in zip(files, [one.result() for one in written], strict=True):
                try:
                    os.link(temporary, folder / name)
                except FileExistsError:
                    break
                created += 1
            _sync_folder(folder)
    finally:
        for one in written:
            with contextlib.suppress(OSError, UserError):
                os.unlink(one.result())
    return created


def _write_temporary(path: Path, data: bytes, mode: int = 0o666) -> Path:
    temporary = path.parent / f"{TEMPORARY}{path.name}-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        with explained(path):
            make_folder(path.parent)
            with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
                open_to_group(file.fileno(), path.parent, mode)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    return temporary


def make_folder(folder: Path, mode: int = 0o777) -> None:
    """Make a folder and its parents; a file in its place raises UnavailableError, as other disk problems do."""
    with explained(folder):
        try:
            _make(folder, mode)
        except FileExistsError as error:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from error


def _make(folder: Path, mode: int) -> None:
    if folder.is_dir():
        return
    if not folder.parent.is_dir() and folder.parent != folder:
        _make(folder.parent, 0o777)
    more = group_bits(folder.parent, mode)
    making = (
        folder.with_name(f"{TEMPORARY}{folder.name}-{os.getpid()}-{secrets.token_hex(4)}") if more else folder
    )
    try:
        making.mkdir(mode)
        if more:
            # Under its name only once it is open: files that others create in it meanwhile take its permissions.
            making.chmod(stat.S_IMODE(making.stat().st_mode) | more)
            os.rename(making, folder)
    except OSError as error:
        if making != folder:
            with contextlib.suppress(OSError):
                making.rmdir()
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise
        if not folder.is_dir():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(folder)) from error


def names_in(folder: Path) -> list[str]:
    """Names of everything in a folder, sorted; none where it doesn't exist."""
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems can't sync a folder; the rename itself is still atomic there.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def open_log(path: Path) -> BinaryIO:
    """Open a file for appending; refuses a symbolic link, which another user may have placed there."""
    make_folder(path.parent)
    with explained(path):
        return open(path, "ab", opener=_open_own)


def _open_own(name: str, flags: int) -> int:
    descriptor = os.open(name, flags | os.O_NOFOLLOW, 0o666)
    open_to_group(descriptor, Path(name).parent)
    return descriptor


def as_line(record: dict[str, Any]) -> bytes:
    """One JSON record; it begins with a newline, so that a torn record damages only itself."""
    return b"\n" + json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def append(path: Path, record: dict[str, Any]) -> None:
    """Append one JSON record."""
    data = as_line(record)
    with explained(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
        try:
            os.write(descriptor, data)
        finally:
            os.close(descriptor)


def to_json(value: Any) -> bytes:
    """A record as stored; bytes of a name that are not UTF-8 become question marks, for no reader accepts them."""
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "replace")


def remove_temporaries(folder: Path) -> None:
    """Remove temporary files that killed writers left more than an hour ago."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            if entry.name.startswith(TEMPORARY):
                with contextlib.suppress(OSError):
                    if time.time() - entry.stat().st_mtime > _STALE_AFTER:
                        os.unlink(entry.path)


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn disk errors into UnavailableError with a reason; other errors pass."""
    try:
        yield
    except OSError as error:
        reason = {
            errno.ENOSPC: "the disk is full",
            errno.EDQUOT: "your disk quota is used up",
            errno.EFBIG: "the file would be larger than this process may write",
            errno.EIO: "the disk reports an error",
            errno.EROFS: "the file system is read-only",
            errno.EACCES: denied(path) if error.errno == errno.EACCES else "",
            errno.EPERM: "the operation is not permitted (does this file system support hard links?)",
            errno.ENOSYS: "this file system doesn't support the operation (hard links?)",
            errno.ENOTSUP: "this file system doesn't support the operation (hard links?)",
            errno.ELOOP: "it is a symbolic link, which a store may not contain; remove it",
            errno.ENOTDIR: "a part of the path is a file",
        }.get(error.errno or 0)
        if reason is None:
            raise
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise UnavailableError(
            f"can't write {path}: {reason}. {'Make room, or choose' if full else 'Choose'} another location (the store is set in "
            "rsctl.toml or RSCTL_STORE), and run the command again: finished work is kept."
        ) from error
