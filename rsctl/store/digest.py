"""Digest of a data file's bytes, stored in the file itself: both are published at once, so a kill can't separate them.

The first 512 bytes are a line of text, which HDF5 skips as the user block of the file; any reader of HDF5 opens it as before. The
line holds the number of the bytes that follow and their SHA-256. It guards against damage, not against forgery: whoever can write
a file can write its digest.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

SIZE = 512
SIGNATURE = b"\x89HDF\r\n\x1a\n"
_BEGINNING = b"rsctl data file, "

MISSING = "it has no digest, but every file of this run was written with one: it was replaced or edited"


class Corrupt(Exception):
    """The file isn't one of rsctl's, or was changed after it was written; the message gives the reason."""


def sealed(content: bytes) -> bytes:
    """The bytes of the file that holds this HDF5 content."""
    return _line(content) + content


def has_digest(beginning: bytes, size: int) -> bool:
    """Return whether a file of so many bytes with this beginning (512 bytes) states its digest; False for plain HDF5.

    Raises
    ------
    Corrupt
        The file is neither, or its length isn't the stated one.
    """
    if beginning.startswith(SIGNATURE):
        return False
    if not beginning.startswith(_BEGINNING):
        raise Corrupt(
            "it is not a data file: it begins neither with rsctl's first line nor with HDF5's signature"
        )
    length = beginning[len(_BEGINNING) :].split(b" ", 1)[0]
    if length != str(size - SIZE).encode():
        raise Corrupt("its length changed after it was written")
    return True


def check_digest(data: bytes) -> None:
    """Raises Corrupt unless the whole file is, byte by byte, as it was written."""
    if data[:SIZE] != _line(memoryview(data)[SIZE:]):
        raise Corrupt("it was damaged or changed after it was written: its bytes don't match their SHA-256")


def own_bytes(path: Path | str, *, others: bool = False) -> bytes | None:
    """The whole file, if its digest is right and this user or root wrote it; None for plain HDF5 and for other users' files.

    With `others`, also of a file of another user, whose content then mustn't be opened as HDF5 in this process.
    Raises Corrupt, or OSError where it can't be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb", buffering=0) as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Corrupt("it is not a regular file")
        beginning = file.read(SIZE)
        if not has_digest(beginning, status.st_size):
            return None
        if status.st_uid not in (os.geteuid(), 0) and not others:
            return None
        data = beginning + file.readall()
    check_digest(data)
    return data


def _line(content: bytes | memoryview) -> bytes:
    digest = hashlib.sha256(content).hexdigest()
    text = b"%b%d bytes of HDF5 after these 512, with SHA-256 %b" % (
        _BEGINNING,
        len(content),
        digest.encode(),
    )
    return text.ljust(SIZE - 1) + b"\n"
