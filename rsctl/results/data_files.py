"""Notes on the files behind a table: unusable ones, and those without a digest."""

from __future__ import annotations

from rsctl.errors import RefusedError
from rsctl.store.labels import KnownLabels
from rsctl.store.tables import R, Reader, StoredTable
from rsctl.text import counted


class Files:
    """Reads the tables of a sweep, and collects the problems of their files."""

    def __init__(self) -> None:
        self._problems: list[str] = []
        self._labels = KnownLabels()
        self._bare: dict[str, int] = {}

    def read(self, reader: Reader[R]) -> StoredTable[R]:
        """The finished images of a run; nothing where its files contradict each other, so that the other runs are still shown."""
        try:
            table = reader.read()
        except RefusedError as error:
            table = StoredTable(reader.run, reader.kind.empty(), problems=[str(error)])
        self._labels.add(table)
        self._bare[f"{reader.run.kind}/{reader.run.id}"] = table.without_digest
        self._problems += [problem for problem in table.problems if problem not in self._problems]
        return table

    @property
    def notes(self) -> list[str]:
        """The worst first."""
        bare = sum(self._bare.values())
        told = self._labels.notes + self._problems
        if not bare:
            return told
        return [
            *told,
            f"{counted(bare, 'data file')} of an earlier version {'has' if bare == 1 else 'have'} no digest: damage to their numbers "
            "can't be detected. Submit the sweep again: each finished run is checked and rewritten with one.",
        ]
