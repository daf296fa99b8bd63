"""Reading the store's JSON records. They may be truncated, edited, huge or another user's, so each kind declares its fields.

A file that isn't a record of its kind raises `UnreadableRecord`, with file, field and allowed values. Readers of many records
skip such files (`read_or_skip`); `skipped_records` lists them, and a submission moves those of its runs aside.
"""

from __future__ import annotations

import errno
import os
import reprlib
import secrets
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, cast

from pydantic import TypeAdapter, ValidationError

from rsctl.errors import InputError

MOST_BYTES = 256 << 20
MOST_VALUES = 8_000_000
"""Most values of a record; the plan of 100,000 runs has 3 million."""
ASIDE = ".unusable-"
_TORN = ("json_invalid", "union_tag_invalid")
_NAMED = 20
"""Most unreadable records that are listed by name."""


class UnreadableRecord(InputError):
    """The file is not a valid record; `why` is the reason without the file's name."""

    def __init__(self, path: Path, why: str) -> None:
        self.why = why
        again = "import its log" if "imports" in path.parts[-3:] else "submit"
        super().__init__(
            f"{path}: {why}: it was edited or damaged. Restore it, or {again} again to set it aside."
        )


@dataclass(frozen=True)
class Kind:
    """A kind of record."""

    fields: Any
    """Its fields, as a type that pydantic checks in strict mode."""
    sealed: tuple[str, ...] = ()
    """Fields that numbers depend on: the record holds their digest (older records don't)."""

    @cached_property
    def adapter(self) -> TypeAdapter[Any]:
        return TypeAdapter(self.fields)


ANY = Kind(dict[str, Any])


def read_json(path: Path, kind: Kind = ANY) -> dict[str, Any]:
    """The record in this file; InputError where the file doesn't exist, Unreadable where it isn't a record of this kind."""
    try:
        data = read_bytes(path, first=MOST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{path}: no such file.") from error
    except OSError as error:
        raise UnreadableRecord(path, f"can't be read: {error.strerror or error}") from error
    if len(data) > MOST_BYTES:
        raise UnreadableRecord(path, f"has more than {MOST_BYTES >> 20} MB")
    if sum(data.count(mark) for mark in b",[{") > MOST_VALUES:
        raise UnreadableRecord(path, f"has more than {MOST_VALUES:,} values")
    try:
        found: dict[str, Any] = kind.adapter.validate_json(data)
    except ValidationError as error:
        raise UnreadableRecord(path, first_problem(error)) from error
    if kind.sealed and found.get("digest", digest := digest_of(found, kind.sealed)) != digest:
        raise UnreadableRecord(path, f"{', '.join(kind.sealed)} don't match their digest")
    return found


def seal(values: dict[str, Any], kind: Kind) -> dict[str, Any]:
    """The values of a record with the digest of those that numbers depend on."""
    return {**values, "digest": digest_of(values, kind.sealed)}


def digest_of(values: dict[str, Any], fields: tuple[str, ...]) -> str:
    from rsctl.config.identity import content_hash

    return content_hash({name: values[name] for name in fields if name in values})[:16]


def read_or_skip(path: Path, kind: Kind) -> dict[str, Any] | None:
    """The record, or None where it doesn't exist or can't be read; `skipped_records` reports the latter."""
    try:
        found = read_json(path, kind)
    except UnreadableRecord as problem:
        _skip(path, problem)
        return None
    except InputError:
        if os.path.lexists(path):
            _skip(path, UnreadableRecord(path, "is a broken link"))
        return None
    return found


_skipped: dict[Path, tuple[tuple[int, ...], str]] = {}


def _skip(path: Path, problem: UnreadableRecord) -> None:
    _skipped[path] = (_stamp(path), str(problem))


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        status = os.lstat(path)
    except OSError:
        return ()
    return (status.st_mtime_ns, status.st_size, status.st_ino)


def skipped_records(within: Sequence[Path] = ()) -> list[str]:
    """A sentence for each record that could not be read and is unchanged since; within these folders, or all."""
    for path, (stamp, _) in list(_skipped.items()):
        if not stamp or _stamp(path) != stamp:
            _skipped.pop(path, None)
    sentences = sorted(
        sentence
        for path, (_, sentence) in list(_skipped.items())
        if not within or any(path.is_relative_to(folder) for folder in within)
    )
    more = len(sentences) - _NAMED
    return sentences[:_NAMED] + ([f"and {more} more records that can't be read"] if more > 0 else [])


def read_records(
    path: Path,
    kind: Kind = ANY,
    *,
    first: int | None = None,
    last: int | None = None,
    newest_first: bool = False,
) -> Iterator[dict[str, Any]]:
    """The records of a file with one per line; other lines are skipped, for a killed writer leaves a partial one.

    With `first` or `last`, only the records within that many bytes of its beginning or end. Raises Unreadable where the file
    itself can't be read.
    """
    try:
        lines = read_bytes(path, first=MOST_BYTES if first is None else first, last=last).split(b"\n")
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise UnreadableRecord(path, f"can't be read: {error.strerror or error}") from error
    for line in reversed(lines) if newest_first else lines:
        if line:
            try:
                record = kind.adapter.validate_json(line)
            except ValidationError as error:
                if error.errors(include_url=False)[0]["type"] not in _TORN:
                    _skip(path, UnreadableRecord(path, first_problem(error)))
                continue
            yield record


def read_bytes(path: Path, *, first: int | None = None, last: int | None = None) -> bytes:
    """The file, or that much of its beginning or end; retried where a network file system reports a stale handle."""
    for attempt in range(3):
        try:
            descriptor, size = _open(path)
            try:
                start = 0 if last is None else max(0, size - last)
                end = size if first is None else min(size, start + first)
                parts = []
                while start < end and (part := os.pread(descriptor, end - start, start)):
                    parts.append(part)
                    start += len(part)
                return parts[0] if len(parts) == 1 else b"".join(parts)
            finally:
                os.close(descriptor)
        except OSError as error:
            if error.errno != errno.ESTALE or attempt == 2:
                raise
            time.sleep(0.05)
    raise AssertionError("unreachable")


def open_file(path: Path) -> BinaryIO:
    """A file, opened to be read without a buffer; raises as `read_bytes` does."""
    return cast("BinaryIO", open(_open(path)[0], "rb", buffering=0))


def _open(path: Path) -> tuple[int, int]:
    """Descriptor and size of a regular file; anything else raises OSError, and a pipe never blocks."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        what = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise OSError(errno.EINVAL, f"it is {what}", str(path))
    return descriptor, status.st_size


def first_problem(error: ValidationError) -> str:
    """The first of pydantic's findings: the field, the allowed values, and its value."""
    found = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in found["loc"])
    if found["type"] == "json_invalid":
        return f"can't be read as JSON: {found['msg'].removeprefix('Invalid JSON: ')}"
    if found["type"] == "missing":
        return f"has no '{field}'"
    text = f"{found['msg'][0].lower()}{found['msg'][1:]}, but it is {reprlib.repr(found['input'])}"
    return f"'{field}': {text}" if field else text


def wrong(path: Path, kind: Kind) -> str:
    """Reason why the file is not a record of its kind; empty where it is one, or doesn't exist."""
    try:
        read_json(path, kind)
    except UnreadableRecord as problem:
        return problem.why
    except InputError:
        return "is a broken link" if os.path.lexists(path) else ""
    return ""


def move_aside(path: Path) -> Path:
    """Rename an unreadable record, so that a new one can be written. It is never deleted."""
    aside = path.with_name(f"{path.name}{ASIDE}{secrets.token_hex(3)}")
    os.rename(path, aside)
    return aside
