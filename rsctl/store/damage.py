"""Damaged data files, found without HDF5 and numpy: `rsctl status` lists them, and must respond at once.

Files found intact are recorded in the store's `checked.json` by size, time and inode: the next check costs a `stat` per file.
Readers of a file's numbers compare its digest every time.
"""

from __future__ import annotations

import contextlib
import json
import os

from rsctl.errors import UserError
from rsctl.store.data_files import data_file_names
from rsctl.store.digest import MISSING, Corrupt, own_bytes
from rsctl.store.files import read_json, replace
from rsctl.store.layout import Run, Store

ADVICE = "'rsctl submit' sets it aside and runs its images again."


class Damage:
    """Checks the files of a store, and remembers the intact ones."""

    def __init__(self, store: Store) -> None:
        self._cache = store.root / "checked.json"
        try:
            self._known = read_json(self._cache)
        except UserError:
            self._known = {}
        self._right: dict[str, list[int]] = {}

    def of(self, run: Run) -> list[str]:
        """Problems of the files of a run, a sentence each."""
        found = []
        prefix = f"{run.key}/"
        for name, path in data_file_names(run):
            try:
                status = os.stat(path)
                stamp = [status.st_ino, status.st_size, status.st_mtime_ns]
                if self._known.get(prefix + name) != stamp:
                    digest = own_bytes(path, others=True) is not None
                    if run.has_digests and not digest:
                        raise Corrupt(MISSING)
                self._right[prefix + name] = stamp
            except FileNotFoundError:
                if os.path.islink(path):
                    found.append(f"{path}: it is a broken link. {ADVICE}")
            except (Corrupt, OSError) as error:
                found.append(f"{path}: {error}. {ADVICE}")
        return found

    def keep(self) -> None:
        """Record the intact files for the next check."""
        if not self._right.items() <= self._known.items():
            # Another user's store, or a full disk: the next check takes longer.
            with contextlib.suppress(UserError, OSError):
                replace(self._cache, json.dumps({**self._known, **self._right}).encode())
