"""Compaction of a finished run into one file: 10,000 small ones take seconds to read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rsctl.certificates import Certified, find_certificate
from rsctl.store import degenerate
from rsctl.store.checks import check_shard
from rsctl.store.files import publish
from rsctl.store.layout import Run
from rsctl.store.rows import DistanceBounds, Rows
from rsctl.store.run_kinds import RunKind
from rsctl.store.shards import Corrupt, Shard, encode_shard, read_shard
from rsctl.store.tables import StoredTable, compacted_file, compacted_numbers, data_files, reader_of
from rsctl.store.tally import shown_by


def _derived(run: Run, table: StoredTable[Any]) -> tuple[dict[str, Certified], float]:
    """Radii of the certificates that the last submission requested, and their alpha; the radii of a verifier are its rows."""
    if not isinstance(table.rows, Rows):
        return {}, 0.0
    launch = run.launch()
    alpha, counts = float(launch["alpha"]), table.counts()
    return {name: find_certificate(name).certify(counts, alpha) for name in launch["certificates"]}, alpha


def compact(run: Run) -> bool:
    """Publish the rows in one file once every assigned image is finished, and remove the files that it replaces.

    Those are the shards, and what an earlier version compacted without a digest. The file has a number of its own
    (`counts.h5`; `counts.2.h5` after an extension): the first writer wins and nothing is overwritten, so two tasks that finish at
    once do no harm. A file goes only once all its rows lie in a published one. Returns whether this call published one.
    """
    table: StoredTable[Rows] | StoredTable[DistanceBounds] = reader_of(run).read()
    if not len(table.rows) or not run.assigned_images() <= set(table.rows.index.tolist()):
        return False
    fresh = table.restrict(set(table.rows.index.tolist()) - _compacted(run))
    published = False
    if len(fresh.rows):
        file = compacted_file(run, 1 + max(compacted_numbers(run), default=0))
        shard = Shard(fresh.rows, fresh.attributes, fresh.functions)
        published = publish(file, encode_shard(shard, *_derived(run, fresh)))
        if run.kind is not RunKind.ATTACKS:  # the class of an attacked image depends on the attack
            degenerate.write(run.path, shown_by(table.rows), training=False)
    safe = _compacted(run)
    for path, shard in _usable(run):
        if path.parent == run.shards_folder or not shard.digest:
            under_way = {int(image.index) for image in shard.pending}
            if under_way.union(shard.rows.index.tolist()) <= safe:
                path.unlink(missing_ok=True)
    return published


def _compacted(run: Run) -> set[int]:
    """Positions held by published compacted files with a digest."""
    found: set[int] = set()
    for path, shard in _usable(run):
        if path.parent == run.path and shard.digest:
            found |= set(shard.rows.index.tolist())
    return found


def _usable(run: Run) -> Iterator[tuple[Path, Shard]]:
    """The files that belong to this run, one by one."""
    for path in data_files(run):
        try:
            yield path, check_shard(run, path, read_shard(path))
        except (Corrupt, OSError):
            continue
