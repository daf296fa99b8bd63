"""The data files of a run by name, without opening them; free of numpy, for `rsctl status`."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from rsctl.errors import RefusedError
from rsctl.store.files import explained, names_in
from rsctl.store.layout import Run

_SHARD = re.compile(r"(\d{4,})\.(\d+)\.h5")
_COMPACTED = re.compile(r"(?:counts|findings)(?:\.(\d+))?\.h5")


def data_files(run: Run) -> list[Path]:
    """Compacted files first, then shards by attempt and task."""
    compacted = [(int(m[1] or 1), run.path / m[0]) for m in _matches(run.path, _COMPACTED)]
    shards = [(int(m[2]), int(m[1]), run.shards_folder / m[0]) for m in _matches(run.shards_folder, _SHARD)]
    return [path for _, path in sorted(compacted)] + [path for _, _, path in sorted(shards)]


def data_file_names(run: Run) -> list[tuple[str, str]]:
    """Names and paths of the same files, in no order: cheap enough for every run of a large store."""
    found = []
    for folder, pattern in ((f"{run.path}/", _COMPACTED), (f"{run.path}/shards/", _SHARD)):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            found += [(name, folder + name) for name in os.listdir(folder) if pattern.fullmatch(name)]
    return found


def compacted_numbers(run: Run) -> list[int]:
    """Numbers of the compacted files, ascending."""
    return sorted(int(match[1] or 1) for match in _matches(run.path, _COMPACTED))


def compacted_file(run: Run, number: int) -> Path:
    return run.path / (f"{run.kind.data_file}.h5" if number == 1 else f"{run.kind.data_file}.{number}.h5")


def shard_files(run: Run, task: int) -> list[Path]:
    """The shards of one task by attempt, ascending."""
    found = [
        (int(m[2]), run.shards_folder / m[0])
        for m in _matches(run.shards_folder, _SHARD)
        if int(m[1]) == task
    ]
    return [path for _, path in sorted(found)]


def shard_file(run: Run, task: int, attempt: int) -> Path:
    return run.shards_folder / f"{task:04d}.{attempt}.h5"


def _matches(folder: Path, pattern: re.Pattern[str]) -> list[re.Match[str]]:
    return [match for name in names_in(folder) if (match := pattern.fullmatch(name))]


def set_aside(path: Path, reason: str) -> str:
    """Rename a file that can't be used, so that its images run again; returns a sentence. It is never deleted."""
    for number in range(1, 1000):
        aside = path.with_name(f"{path.name}.unusable-{number}")
        try:
            os.link(path, aside, follow_symlinks=False)
        except FileExistsError:
            continue
        except FileNotFoundError:
            return f"{path}: {reason}; another process has set it aside."
        except OSError:  # no hard links on this file system, or a folder
            if os.path.lexists(aside):
                continue
            with explained(path):
                os.rename(path, aside)
        path.unlink(missing_ok=True)
        return f"{path}: {reason}. Set aside as {aside.name}; its images run again."
    raise RefusedError(
        f"{path}: {reason}, and files of this name were set aside 999 times before. Remove the old ones from that folder."
    )
