"""Training curves of a model: `metrics.<attempt>.jsonl`, one record per line, read from where the last poll ended."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rsctl.store.records import MOST_BYTES, open_file
from rsctl.store.task_fields import EPOCH

_NAME = re.compile(r"metrics\.(\d+)\.jsonl")


@dataclass
class MetricsFile:
    """The records of one attempt so far."""

    position: int = 0
    rest: bytes = b""
    records: list[dict[str, Any]] = field(default_factory=list)

    def extend(self, path: Path) -> None:
        """Read the new records; they begin with a newline, so an incomplete last one waits for its rest."""
        try:
            with open_file(path) as stream:
                stream.seek(self.position)
                added = stream.read(MOST_BYTES)
        except OSError:
            return
        self.position += len(added)
        lines = (self.rest + added).split(b"\n")
        self.rest = b""
        for place, line in enumerate(lines):
            if not line:
                continue
            try:
                self.records.append(EPOCH.adapter.validate_json(line))
            except ValidationError:
                if place == len(lines) - 1:
                    self.rest = line


def extend_all(folder: Path, files: dict[int, MetricsFile]) -> None:
    """Read what the attempts at this training recorded since the last call; a folder that doesn't exist has none."""
    try:
        names = [match for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    except (FileNotFoundError, NotADirectoryError):
        return
    for match in names:
        files.setdefault(int(match[1]), MetricsFile()).extend(folder / match[0])


def joined(files: dict[int, MetricsFile]) -> list[dict[str, Any]]:
    """One curve of all attempts by epoch; where they overlap after a restart, the later one counts."""
    records: list[dict[str, Any]] = []
    for _, file in sorted(files.items()):
        if file.records:
            first = file.records[0]["epoch"]
            records = [record for record in records if record["epoch"] < first] + file.records
    return records


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The whole training curve of a model's folder; empty before its first record."""
    files: dict[int, MetricsFile] = {}
    extend_all(folder, files)
    return joined(files)


def thinned(records: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """At most about `most` of them, the last one included."""
    step = max(1, -(-len(records) // most))
    return records[:-1][::step] + records[-1:]
