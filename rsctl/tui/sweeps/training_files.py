"""Training curves from metrics.<attempt>.jsonl, read from where the last poll ended."""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

from rsctl.tui.views import TrainingCurve

POINTS = 400
_KEPT = 12
_NAME = re.compile(r"metrics\.(\d+)\.jsonl")
VALUES = ("loss", "accuracy", "lr")


@dataclass
class _File:
    position: int = 0
    rest: bytes = b""
    records: list[tuple[float, ...]] = field(default_factory=list)


class Training:
    """Reads training curves and caches the files of the models used last."""

    def __init__(self) -> None:
        self._files: OrderedDict[Path, dict[int, _File]] = OrderedDict()

    def of(self, folder: Path, title: str) -> TrainingCurve:
        """Loss, accuracy and learning rate by epoch; where attempts overlap after a restart, the later one counts."""
        files = self._files.setdefault(folder, {})
        self._files.move_to_end(folder)
        if len(self._files) > _KEPT:
            self._files.popitem(last=False)
        try:
            names = [match for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
        except FileNotFoundError:
            names = []
        for match in names:
            _extend(folder / match[0], files.setdefault(int(match[1]), _File()))
        records: list[tuple[float, ...]] = []
        for _, file in sorted(files.items()):
            if file.records:
                first = file.records[0][0]
                records = [record for record in records if record[0] < first] + file.records
        thinned = _thin(records)
        columns = list(zip(*thinned, strict=True)) if thinned else [()] * (1 + len(VALUES))
        return TrainingCurve(title, columns[0], dict(zip(VALUES, columns[1:], strict=True)))


def _extend(path: Path, file: _File) -> None:
    """Read the new records; they begin with a newline, so an incomplete last one waits for its rest."""
    from pydantic import ValidationError

    from rsctl.store.records import MOST_BYTES, open_file
    from rsctl.store.task_fields import EPOCH

    try:
        with open_file(path) as stream:
            stream.seek(file.position)
            added = stream.read(MOST_BYTES)
    except OSError:
        return
    file.position += len(added)
    lines = (file.rest + added).split(b"\n")
    file.rest = b""
    for place, line in enumerate(lines):
        if not line:
            continue
        try:
            record = EPOCH.adapter.validate_json(line)
        except ValidationError:
            if place == len(lines) - 1:
                file.rest = line
            continue
        file.records.append((record["epoch"], *(record[name] for name in VALUES)))


def _thin(records: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
    """At most `POINTS` of them, the last one included."""
    step = max(1, math.ceil(len(records) / POINTS))
    return records[:-1][::step] + records[-1:]
