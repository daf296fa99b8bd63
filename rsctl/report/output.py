"""Writing a table or a figure to a given file, which may only replace an unedited file of rsctl's."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from rsctl.errors import InputError, RefusedError
from rsctl.store.files import publish, read_bytes, replace

LOG_HEADER = ("idx", "label", "predict", "radius", "correct", "time")
"""Columns of a log in Cohen's format."""
_COMMENT = b"<!-- rsctl %s -->\n"
_SEALS = {"md": _COMMENT, "svg": _COMMENT, "html": _COMMENT, "latex": b"%% rsctl %s\n"}
"""Last line of files that people edit by hand, to detect edits. Other files are recognised by their beginning."""
_BEGINNINGS = (b"run,source,method,", b'{\n "sweep": ', "\t".join(LOG_HEADER).encode())
MAKER = "rsctl"
"""Creator in the metadata of a figure."""
_FIGURES = (b"/Creator (rsctl)", b"Software\x00rsctl")


def check(file: Path, *, force: bool = False) -> None:
    """Check, before it is made, that a table or figure may be written to this file.

    Raises RefusedError for another existing file, or a table that was edited since, unless `force`; InputError for
    a folder or a device.
    """
    if file.exists() and not file.is_file():
        raise InputError(
            f"{file}: is {'a folder' if file.is_dir() else 'not a regular file'}; give the name of a file."
        )
    if not force and file.exists() and not is_ours(read_bytes(file)):
        raise RefusedError(
            f"{file}: exists, and was not written by rsctl, or edited since. Give another name, or --force to replace it."
        )


def write(file: Path, form: str, data: bytes, *, force: bool = False) -> None:
    """Write a table or figure into a file of its own; raises as `check` does."""
    if form in _SEALS:
        data += _SEALS[form] % _digest(data)
    if file.exists() or not publish(file, data):
        check(file, force=force)
        replace(file, data)


def is_ours(data: bytes) -> bool:
    """Return whether a file was written by `write` and, as far as can be detected, not edited; True for an empty one."""
    sealed = re.search(rb"(?:<!--|%) rsctl ([0-9a-f]{12})(?: -->)?\n\Z", data)
    if sealed:
        return sealed[1] == _digest(data[: sealed.start()])
    return not data or data.startswith(_BEGINNINGS) or any(mark in data for mark in _FIGURES)


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest()[:12].encode()
