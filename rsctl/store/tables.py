"""All rows of a table: compacted files, then shards, per image the lowest attempt that finished it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from rsctl.certificates import CountTable
from rsctl.errors import RefusedError, UnavailableError
from rsctl.store.checks import check_shard, count_table
from rsctl.store.damage import ADVICE
from rsctl.store.data_files import (
    compacted_file,
    compacted_numbers,
    data_files,
    set_aside,
    shard_file,
    shard_files,
)
from rsctl.store.layout import Run
from rsctl.store.rows import DistanceBounds, ImageRows, Rows
from rsctl.store.run_kinds import RunKind
from rsctl.store.shards import Corrupt, Shard, read_shard

__all__ = [
    "Reader", "StoredTable", "compacted_file", "compacted_numbers", "data_files", "read_findings", "read_table", "reader_of", "set_aside",
    "shard_file", "shard_files",
]  # fmt: skip

_TRIES = 100

R = TypeVar("R", bound=ImageRows)


@dataclass
class StoredTable(Generic[R]):
    """The rows of a table so far."""

    run: Run
    rows: R
    """In ascending order of `index`, each image once."""
    attributes: dict[str, Any] = field(default_factory=dict)
    """Attributes of the first file: checkpoint, data, versions."""
    functions: list[dict[str, object]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """Files that couldn't be used, each with its reason."""
    without_digest: int = 0
    """Files of an earlier version, in which a changed byte can't be noticed."""

    def restrict(self, images: Iterable[int]) -> StoredTable[R]:
        """Only these positions."""
        keep = np.isin(self.rows.index, np.fromiter(images, np.int64))
        return replace(self, rows=self.rows.take(keep))

    @property
    def model_sha256(self) -> str:
        return str(self.attributes.get("model_sha256", ""))

    def counts(self: StoredTable[Rows]) -> CountTable:
        """The table as certificates take it."""
        return count_table(self.run.count_spec, self.rows, int(self.attributes.get("dimension", 0)))


class Reader(Generic[R]):
    """Reads a run's files; a second call reads only those that changed. `kind` is that of its rows."""

    def __init__(self, run: Run, kind: type[R]) -> None:
        self.run, self.kind = run, kind
        self._seen: dict[Path, tuple[tuple[int, int, int], Shard | str]] = {}

    def read(self) -> StoredTable[R]:
        """Merge all files; raises RefusedError if a run holds tables of two checkpoints."""
        found = None
        for _ in range(_TRIES):
            if found := self._parts():
                break
        else:
            raise UnavailableError(
                f"{self.run.path}: its files change faster than they can be read. Try again once its tasks are idle."
            )
        parts, problems = found
        checkpoints = {str(shard.attributes["model_sha256"]) for shard in parts}
        if len(checkpoints) > 1:
            raise RefusedError(
                f"{self.run.path}: its shards belong to {len(checkpoints)} different checkpoints; "
                "a table never mixes them. Move the shards of one checkpoint away and submit again."
            )
        functions: list[dict[str, object]] = []
        merged: list[R] = []
        for shard in parts:
            assert isinstance(shard.rows, self.kind)  # 'check_shard' saw to it
            functions += [function for function in shard.functions if function not in functions]
            position = [functions.index(function) for function in shard.functions]
            rows = shard.rows.take(slice(None))
            rows.fingerprint = np.array(position, np.int32)[rows.fingerprint]
            merged.append(rows)
        if not merged:
            return StoredTable(self.run, self.kind.empty(), problems=problems)
        if len({one.shape for one in merged}) > 1:
            raise RefusedError(
                f"{self.run.path}: its shards differ in their number of classes. Move the wrong ones away and submit again."
            )
        # Files come in the order compacted, then by attempt: the first row of an image is the one that counts.
        everything = merged[0].concatenate(merged)
        _, first = np.unique(everything.index, return_index=True)
        bare = sum(not shard.digest for shard in parts)
        return StoredTable(self.run, everything.take(first), parts[0].attributes, functions, problems, bare)

    def _parts(self) -> tuple[list[Shard], list[str]] | None:
        """Shards with rows, and problems; None if a file disappeared meanwhile: a newer one holds its rows."""
        parts: list[Shard] = []
        problems: list[str] = []
        for path in data_files(self.run):
            shard = self._load(path)
            if shard is None:
                return None
            if isinstance(shard, str):
                problems.append(f"{path}: {shard}. {ADVICE}")
            elif len(shard.rows):
                parts.append(shard)
        return parts, problems

    def _load(self, path: Path) -> Shard | str | None:
        """The shard, the reason why it can't be used, or None where it was compacted meanwhile."""
        try:
            status = os.stat(path)
        except FileNotFoundError:
            self._seen.pop(path, None)
            return "it is a broken link" if path.is_symlink() else None
        except OSError as error:
            return str(error)
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        if path in self._seen and self._seen[path][0] == stamp:
            return self._seen[path][1]
        try:
            result: Shard | str = check_shard(self.run, path, read_shard(path))
        except FileNotFoundError:
            return None
        except (Corrupt, OSError) as error:
            result = str(error)
        self._seen[path] = (stamp, result)
        return result


def read_table(run: Run) -> StoredTable[Rows]:
    """All counts so far, each image once."""
    return Reader(run, Rows).read()


def read_findings(run: Run) -> StoredTable[DistanceBounds]:
    """All results of a verifier or an attack so far, each image once."""
    return Reader(run, DistanceBounds).read()


def reader_of(run: Run) -> Reader[Rows] | Reader[DistanceBounds]:
    """A reader of whatever rows the run has."""
    return Reader(run, Rows) if run.kind is RunKind.COUNTS else Reader(run, DistanceBounds)
