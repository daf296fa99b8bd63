"""Labels of one data set, which must be the same in every table: the only check for a file without a digest."""

from __future__ import annotations

from typing import Any

import numpy as np

from rsctl.store.tables import StoredTable
from rsctl.text import counted

SHOWN = 5


class KnownLabels:
    """Labels by position, from the tables read so far."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Any, Any, Any]] = {}
        """Data set → positions in ascending order, their labels, and the tables that gave them first."""
        self._tables: list[str] = []
        self._notes: list[str] = []
        self.doubtful: set[str] = set()
        """Tables with a label that another one contradicts, as `counts/<run>`."""

    @property
    def notes(self) -> list[str]:
        """A sentence for each table that contradicts an earlier one; for the first few of many."""
        more = len(self._notes) - SHOWN
        return self._notes[:SHOWN] + (
            [f"DAMAGED LABELS: {counted(more, 'more run')} affected."] if more > 0 else []
        )

    def add(self, table: StoredTable[Any]) -> None:
        """Compare a table's labels with those of the others on its data."""
        spec, index, label = table.run.table_spec, table.rows.index, table.rows.label
        name = table.run.key
        if name in self._tables or not len(index):
            return
        who = np.full(len(index), len(self._tables))
        self._tables.append(name)
        data = repr((spec.dataset, spec.dataset_parameters, spec.data, spec.split))
        if data not in self._known:
            self._known[data] = index, label, who
            return
        known, labels, whose = self._known[data]
        _, ours, theirs = np.intersect1d(index, known, assume_unique=True, return_indices=True)
        differ = np.flatnonzero(label[ours] != labels[theirs])
        if differ.size:
            mine, its = ours[differ[0]], theirs[differ[0]]
            others = sorted({self._tables[number] for number in whose[theirs[differ]]})
            self.doubtful.update([name, *others])
            self._notes.append(
                f"DAMAGED LABELS: image {index[mine]} of {spec.dataset} {spec.split} has label {label[mine]} in {name} and {labels[its]} in "
                f"{self._tables[whose[its]]}{f' ({differ.size} images differ)' if differ.size > 1 else ''}. One of the two was damaged before "
                "data files had digests: find out which one, move its files away and submit again."
            )
        every, first = np.unique(np.concatenate([known, index]), return_index=True)
        self._known[data] = every, np.concatenate([labels, label])[first], np.concatenate([whose, who])[first]
