"""Files that a command takes along: stored on the other side by their content, and checked there by SHA-256 before each use."""

from __future__ import annotations

import hashlib
import io
import os
import shlex
import stat
import sys
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from rsctl.errors import InputError, UnavailableError
from rsctl.remote.connection import Connection

_SUMS = "sums"
_WORTH_A_NOTE = 4 << 20
"""Bytes from which on a transfer is announced."""
_MOST_FILES = 20_000

_INTACT = """\
intact() { [ "$(sha256sum < "$1/sums" | cut -c1-64)" = "$2" ] && (cd "$1" && sha256sum -c --status sums); }
"""
_CHECK = """\
[ -d "$1" ] && intact "$1" "$1" && printf 'have %s\\n' "$1" || printf 'need %s\\n' "$1"
"""
_RECEIVE = """\
find . -maxdepth 1 -name '.tmp-*' -mtime +1 -exec rm -rf {} +
making=$(mktemp -d .tmp-XXXXXX) || exit 1
trap "rm -rf $making" EXIT
trap 'exit 1' HUP INT TERM PIPE
tar -xf - -C "$making" || exit 1
intact "$making" "$1" || { printf '%s\\n' "what arrived doesn't match its SHA-256" >&2; exit 1; }
[ ! -d "$1" ] || mv -T "$1" "$making/replaced" || exit 1
chmod 755 "$making"
mv -T "$making" "$1" || intact "$1" "$1"
"""


@dataclass(frozen=True)
class Bundle:
    """Files under relative names, that are stored together in a folder named by their content."""

    files: Mapping[str, Path | bytes]

    @cached_property
    def sums(self) -> bytes:
        """The list that sha256sum reads."""
        return b"".join(_sum_line(f"content/{name}", self.files[name]) for name in sorted(self.files))

    @cached_property
    def id(self) -> str:
        return hashlib.sha256(self.sums).hexdigest()

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(
            len(source) if isinstance(source, bytes) else source.stat().st_size
            for source in self.files.values()
        )

    def path(self, base: str, name: str = "") -> str:
        """The absolute path there of a file or folder in the bundle."""
        return f"{base}/files/{self.id}/content/{name}".rstrip("/")

    def write(self, stream: BinaryIO) -> None:
        """Write a tar archive of the files and their sums."""
        with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            _add(archive, _SUMS, self.sums)
            for name, source in self.files.items():
                _add(archive, f"content/{name}", source)


def bundle_of(path: Path) -> Bundle:
    """A file, or a folder with all regular files below it, under its own name; raises InputError for what is neither."""
    path = Path(os.path.abspath(path))
    if not path.is_dir():
        return Bundle({path.name: path})
    found = sorted(file for file in path.rglob("*") if file.is_file())
    if not found or len(found) > _MOST_FILES:
        raise InputError(
            f"{path}: is a folder of {len(found):,} files; from 1 to {_MOST_FILES:,} can be taken along. Copy it there yourself, and "
            "give the command its path on that machine."
        )
    return Bundle({f"{path.name}/{file.relative_to(path).as_posix()}": file for file in found})


def send(connection: Connection, bundles: Sequence[Bundle]) -> None:
    """Bring each bundle to the other side, unless it is there and intact.

    Raises
    ------
    UnavailableError
        It doesn't arrive intact.
    """
    for bundle in _missing(connection, list({bundle.id: bundle for bundle in bundles}.values())):
        if bundle.size > _WORTH_A_NOTE:
            names = ", ".join(sorted({name.partition("/")[0] for name in bundle.files}))
            print(f"{connection.name}: sending {names} ({bundle.size / 1e6:,.0f} MB)", file=sys.stderr)
        script = f"cd {shlex.quote(connection.base)}/files || exit 1\n{_INTACT}set -- {bundle.id}\n{_RECEIVE}"
        connection.output(script, feed=bundle.write)
    if left := _missing(connection, bundles):
        raise UnavailableError(
            f"{connection.name}: {', '.join(left[0].files)} is not in {connection.base}/files after it was sent. Is the disk there full?"
        )


def _missing(connection: Connection, bundles: Sequence[Bundle]) -> list[Bundle]:
    if not bundles:
        return []
    checks = "".join(f"set -- {bundle.id}\n{_CHECK}" for bundle in bundles)
    answer = connection.output(f"cd {shlex.quote(connection.base)}/files || exit 1\n{_INTACT}{checks}").split(
        "\n"
    )
    return [bundle for bundle in bundles if f"have {bundle.id}" not in answer]


def _sum_line(name: str, source: Path | bytes) -> bytes:
    digest = hashlib.sha256(source) if isinstance(source, bytes) else _file_digest(source)
    raw = os.fsencode(name)
    # As sha256sum writes names that hold line breaks.
    escaped = raw.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    return (b"\\" if escaped != raw else b"") + digest.hexdigest().encode() + b"  " + escaped + b"\n"


def _file_digest(path: Path) -> hashlib._Hash:
    digest = hashlib.sha256()
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"{path}: is not a regular file, so it can't be taken along.")
        with open(path, "rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror}.") from error
    return digest


def _add(archive: tarfile.TarFile, name: str, source: Path | bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.mode = 0o644
    if isinstance(source, bytes):
        entry.size = len(source)
        archive.addfile(entry, io.BytesIO(source))
        return
    with open(source, "rb") as file:
        entry.size = os.fstat(file.fileno()).st_size
        archive.addfile(entry, file)
