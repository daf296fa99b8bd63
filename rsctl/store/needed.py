"""The images that earlier levels of a cascade settle, and that a level sampled as needed leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rsctl.certificates.cascade import deciding_radius
from rsctl.errors import RefusedError
from rsctl.store.layout import Run
from rsctl.store.run_kinds import RunKind
from rsctl.store.tables import read_table
from rsctl.text import counted


def settled_images(run: Run, images: Sequence[int]) -> set[int]:
    """The images, of these, that an earlier level decides with the radius that settles them; none for other runs.

    It depends on the finished counts of the earlier levels alone. Raises RefusedError where one of them lacks an image.
    """
    needed, found = run.count_spec.needed, set[int]()
    if needed is None:
        return found
    for number, tau in enumerate(needed.taus):
        level = run.store.run(RunKind.COUNTS, needed.runs[number])
        if level.count_spec.hash != needed.levels[number]:
            raise RefusedError(
                f"{level.path}: isn't the earlier level that {run.id} needs (its spec hash differs)."
            )
        table = read_table(level).restrict(images)
        if missing := set(images).difference(table.rows.index.tolist()):
            problems = f" {table.problems[0]}" if table.problems else ""
            raise RefusedError(
                f"{run.id} needs the counts of {level.id} first, which lacks {counted(len(missing), 'image')} of this task. "
                f"Submit the sweep again: it samples them, and then this task.{problems}"
            )
        if len(table.rows):
            radius: Any = deciding_radius(table.counts(), tau, needed.share)
            settles = (radius > 0) & (radius >= needed.settled_radius)
            found.update(table.rows.index[settles].tolist())
    return found
