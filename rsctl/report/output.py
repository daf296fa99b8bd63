"""Writing a table or a figure where a person says: over what rsctl wrote there itself, and over nothing else."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from rsctl.errors import InputError, RefusedError
from rsctl.report.radius_logs.layouts import HEADER
from rsctl.store.files import publish, read_bytes, replace

_COMMENT = b"<!-- rsctl %s -->\n"
_SEALS = {"md": _COMMENT, "svg": _COMMENT, "latex": b"%% rsctl %s\n"}
"""Last line of a file that people edit by hand: it tells whether somebody did. The others are known by how they begin."""
_BEGINNINGS = (b"run,source,method,", b'{\n "sweep": ', "\t".join(HEADER).encode())
MAKER = "rsctl"
"""In the metadata of a figure."""
_FIGURES = (b"/Creator (rsctl)", b"Software\x00rsctl")


def check(file: Path, *, force: bool = False) -> None:
    """Whether a table or figure may be written there: worth knowing before it is made.

    Raises RefusedError where something else is there, or a table that was edited since, unless `force`; InputError for
    a folder or a device.
    """
    if file.exists() and not file.is_file():
        raise InputError(
            f"{file}: is {'a folder' if file.is_dir() else 'no regular file'}; give the name of a file."
        )
    if not force and file.exists() and not is_ours(read_bytes(file)):
        raise RefusedError(
            f"{file}: exists, and is not what rsctl wrote there, or was edited since. Give another name, or --force to replace it."
        )


def write(file: Path, form: str, data: bytes, *, force: bool = False) -> None:
    """Write a table or figure into a file of its own; raises as `check` does."""
    if form in _SEALS:
        data += _SEALS[form] % _digest(data)
    if file.exists() or not publish(file, data):
        check(file, force=force)
        replace(file, data)


def is_ours(data: bytes) -> bool:
    """Whether a file holds what `write` wrote, untouched as far as it can tell; an empty one holds nothing to lose."""
    sealed = re.search(rb"(?:<!--|%) rsctl ([0-9a-f]{12})(?: -->)?\n\Z", data)
    if sealed:
        return sealed[1] == _digest(data[: sealed.start()])
    return not data or data.startswith(_BEGINNINGS) or any(mark in data for mark in _FIGURES)


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest()[:12].encode()
