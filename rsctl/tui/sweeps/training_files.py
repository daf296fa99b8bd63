"""Training curves from metrics.<attempt>.jsonl, read from where the last poll ended."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

from rsctl.tui.views import TrainingCurve

if TYPE_CHECKING:
    from rsctl.store.metrics import MetricsFile

POINTS = 400
_KEPT = 12
VALUES = ("loss", "accuracy", "lr")


class Training:
    """Reads training curves and caches the files of the models used last."""

    def __init__(self) -> None:
        self._files: OrderedDict[Path, dict[int, MetricsFile]] = OrderedDict()

    def of(self, folder: Path, title: str) -> TrainingCurve:
        """Loss, accuracy and learning rate by epoch; where attempts overlap after a restart, the later one counts."""
        from rsctl.store.metrics import extend_all, joined, thinned

        files = self._files.setdefault(folder, {})
        self._files.move_to_end(folder)
        if len(self._files) > _KEPT:
            self._files.popitem(last=False)
        extend_all(folder, files)
        records = thinned(joined(files), POINTS)
        values = {name: tuple(record[name] for record in records) for name in VALUES}
        return TrainingCurve(title, tuple(record["epoch"] for record in records), values)
