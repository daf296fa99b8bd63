"""Reading and writing the file of a package: a gzip-compressed tar of regular files with plain headers.

Nothing else is accepted, and no name in the file ever becomes a path: members are written to numbered files.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from rsctl.errors import InputError
from rsctl.package.format import (
    ALWAYS,
    MANIFEST,
    MANIFEST_RECORD,
    MOST_BYTES,
    MOST_MANIFEST,
    MOST_RATIO,
    NAMES,
    Manifest,
    Member,
    NotAPackageError,
    values_of,
)
from rsctl.package.parts import Content
from rsctl.plain import plain, printable
from rsctl.store.files import to_json
from rsctl.store.records import first_problem, open_file

_BLOCK, _RECORD, _CHUNK = tarfile.BLOCKSIZE, tarfile.RECORDSIZE, 1 << 20


@dataclass
class Extracted:
    """The members of a package as numbered files of a folder."""

    manifest: Manifest
    files: dict[str, Path] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    """Members whose bytes don't match the SHA-256 in the manifest."""


def member_of(name: str, content: Content, *, included: bool = True) -> Member:
    """The entry of a member in the manifest."""
    if len(name.encode()) > 250 or not NAMES.fullmatch(name):
        raise InputError(
            f"{name}: can't be a member of a package: its name is too long, or has characters that names of runs don't have."
        )
    if isinstance(content, bytes):
        return Member(name, len(content), hashlib.sha256(content).hexdigest(), included)
    digest, size = hashlib.sha256(), 0
    with open_file(content) as file:
        while part := file.read(_CHUNK):
            digest.update(part)
            size += len(part)
    return Member(name, size, digest.hexdigest(), included)


def manifest_bytes(manifest: Manifest) -> bytes:
    return to_json(values_of(manifest))


def write_archive(stream: BinaryIO, manifest: Manifest, content: Mapping[str, Content]) -> None:
    """Write a package; the same members give the same bytes. Raises InputError where a file changed meanwhile."""
    with (
        gzip.GzipFile("", "wb", 6, stream, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        _add(tar, MANIFEST, manifest_bytes(manifest))
        for member in manifest.members:
            if member.included and _add(tar, member.name, content[member.name]) != member.sha256:
                raise InputError(f"{member.name}: changed while it was packed. Pack again.")


def _add(tar: tarfile.TarFile, name: str, content: Content) -> str:
    """Add a member without owner and time; returns its SHA-256."""
    header = tarfile.TarInfo(name)
    header.mode = 0o644
    with io.BytesIO(content) if isinstance(content, bytes) else open_file(content) as file:
        header.size = len(content) if isinstance(content, bytes) else os.fstat(file.fileno()).st_size
        digest = hashlib.sha256()
        tar.addfile(header, _Hashed(file, digest))
    return digest.hexdigest()


class _Hashed:
    """A file whose SHA-256 is computed while it is read."""

    def __init__(self, file: BinaryIO, digest: hashlib._Hash) -> None:
        self._file, self._digest = file, digest

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._digest.update(data)
        return data


def read_manifest(file: Path) -> Manifest:
    """The manifest of a package; raises NotAPackageError."""
    with _Stream(file) as stream:
        return _manifest(file, stream)


def extract(file: Path, folder: Path) -> Extracted:
    """Write every member to a numbered file below `folder`.

    Raises
    ------
    NotAPackageError
        The file isn't a tar with exactly the members that its manifest lists, in its order, or they are too large.
    """
    with _Stream(file) as stream:
        manifest = _manifest(file, stream)
        found = Extracted(manifest)
        allowed = max(ALWAYS, MOST_RATIO * stream.size)
        for number, member in enumerate(one for one in manifest.members if one.included):
            header = stream.header()
            if header is None:
                raise NotAPackageError(f"{file}: ends before its member {member.name}: it is truncated.")
            _require_file(file, header, member.name)
            allowed -= header.size
            if header.size > MOST_BYTES[member.suffix] or allowed < 0:
                raise NotAPackageError(
                    f"{file}: {member.name} has {header.size:,} bytes, more than a package of this size can hold."
                )
            target, digest = folder / f"{number:06d}{member.suffix}", hashlib.sha256()
            with open(target, "xb") as copy:
                for part in stream.body(header.size):
                    digest.update(part)
                    copy.write(part)
            if digest.hexdigest() != member.sha256 or header.size != member.size:
                found.changed.append(member.name)
            found.files[member.name] = target
        stream.require_end()
    return found


def _manifest(file: Path, stream: _Stream) -> Manifest:
    header = stream.header()
    if header is None or header.name != MANIFEST:
        raise NotAPackageError(
            f"{file}: is not a package: its first member isn't {MANIFEST}, as `rsctl pack` writes it."
        )
    _require_file(file, header, MANIFEST)
    if header.size > MOST_MANIFEST:
        raise NotAPackageError(f"{file}: its manifest has {header.size:,} bytes.")
    data = b"".join(stream.body(header.size))
    try:
        values = MANIFEST_RECORD.adapter.validate_json(data)
        texts = [values["sweep"], values["rsctl"], values["licence"]]
        if any(printable(text) != text for text in texts[:2]) or any(
            printable(line) != line for line in texts[2].split("\n")
        ):
            raise ValueError("it holds control characters")
        members = tuple(
            Member(one["name"], one["size"], one["sha256"], one["included"]) for one in values["members"]
        )
    except ValidationError as error:
        raise NotAPackageError(f"{file}: its manifest {plain(first_problem(error), 300)}.") from error
    except (ValueError, RecursionError) as error:
        raise NotAPackageError(f"{file}: its manifest is wrong: {plain(str(error), 300)}.") from error
    names = [member.name for member in members]
    if wrong := next((name for name in names if not NAMES.fullmatch(name)), None):
        raise NotAPackageError(f"{file}: a package has no member named {plain(wrong, 100)!r}.")
    if len(set(names)) < len(names):
        raise NotAPackageError(f"{file}: its manifest lists a member twice.")
    return Manifest(
        values["sweep"], values["rsctl"], values["licence"], members, hashlib.sha256(data).hexdigest()
    )


def _require_file(file: Path, header: tarfile.TarInfo, name: str) -> None:
    if header.name != name:
        raise NotAPackageError(
            f"{file}: holds {plain(header.name, 100)!r} where its manifest has {name!r}: it was changed, or packed by another program."
        )
    if header.type != tarfile.REGTYPE or header.size < 0:
        raise NotAPackageError(
            f"{file}: {name} is not a regular file but a link, a folder, a device or an extension."
        )


class _Stream:
    """The tar inside a gzip-compressed file, read once from its beginning."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = open_file(path)
        except OSError as error:
            raise InputError(f"{path}: can't be read: {error.strerror or error}.") from error
        self.size = os.fstat(self._file.fileno()).st_size
        self._unpacked = gzip.GzipFile(fileobj=self._file)

    def __enter__(self) -> _Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _read(self, size: int) -> bytes:
        try:
            return self._unpacked.read(size)
        except (OSError, EOFError, zlib.error) as error:
            raise NotAPackageError(
                f"{self.path}: is not a package, or was damaged: {plain(str(error), 200)}."
            ) from error

    def header(self) -> tarfile.TarInfo | None:
        """The next header; None at the end."""
        block = self._read(_BLOCK)
        if not block.strip(b"\0"):
            return None
        try:
            return tarfile.TarInfo.frombuf(block, "ascii", "strict")
        except (tarfile.TarError, ValueError) as error:
            raise NotAPackageError(
                f"{self.path}: is not a package: a tar header is invalid ({plain(str(error), 100)})."
            ) from error

    def body(self, size: int) -> Iterator[bytes]:
        """The content of a member, and the padding behind it."""
        left = size
        while left:
            part = self._read(min(left, _CHUNK))
            if not part:
                raise NotAPackageError(f"{self.path}: ends inside a member: it is truncated.")
            left -= len(part)
            yield part
        if size % _BLOCK and self._read(_BLOCK - size % _BLOCK).strip(b"\0"):
            raise NotAPackageError(f"{self.path}: holds more than its manifest lists.")

    def require_end(self) -> None:
        """Refuse anything but zeros behind the last member."""
        rest = self._read(2 * _RECORD)
        if rest.strip(b"\0") or len(rest) == 2 * _RECORD:
            raise NotAPackageError(f"{self.path}: holds more than its manifest lists.")
