"""`rsctl data check`: opens every image file of a data set in processes of the data plane, and skips unchanged files."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from rsctl.catalog import known_datasets
from rsctl.catalog.checked import Checked, keys_of
from rsctl.catalog.datasets import ImageFolder
from rsctl.catalog.declare import DataSet
from rsctl.catalog.defects import grouped
from rsctl.catalog.folders import SPLITS, class_names, folder_root, grey_files, inspect_folder
from rsctl.catalog.listing import Listing, alike, both, folders_in, list_split, sentence
from rsctl.catalog.presence import absent, own_folders
from rsctl.errors import InputError, UnavailableError, UserError
from rsctl.modules import module_command
from rsctl.text import counted

KEEP_SECONDS = 20.0
"""Seconds between saves of the progress, from which an interrupted check resumes."""
Advance = Callable[[int, int], None]
"""Called with the number of files done and in total."""


@dataclass
class DataFindings:
    """The result of checking one data set."""

    name: str
    root: Path
    files: int = 0
    opened: int = 0
    """Files opened by this check."""
    problems: list[str] = field(default_factory=list)
    """Problems of the folders."""
    defects: dict[str, str] = field(default_factory=dict)
    """Path of a file below the root → why it can't be decoded, and what to do."""
    left_out: str = ""

    @property
    def sound(self) -> bool:
        return not (self.problems or self.defects)


def check_all(data_root: Path, advance: Advance) -> list[DataFindings]:
    """Check everything below the data root: declared data sets, and folders usable as an `imagefolder`."""
    here = [
        d for d in known_datasets().values() if d.paths and all((data_root / p).exists() for p in d.paths)
    ]
    found = [check_declared(one, data_root, advance) for one in here]
    return found + [
        check_folder(data_root, ImageFolder(path=name), advance) for name in own_folders(data_root)
    ]


def check(data_root: Path, name: str, white: float, orientation: str, advance: Advance) -> DataFindings:
    """Check a declared data set by name, or a folder relative to the current one or else to the data root."""
    declared = known_datasets().get(name)
    if declared is not None and declared.parameters is not ImageFolder:
        return check_declared(declared, data_root, advance)
    path = Path(os.path.expanduser(name))
    place = path.absolute() if path.is_dir() else data_root / path
    if not place.is_dir():
        raise InputError(
            f"{name}: is neither a known data set ({', '.join(known_datasets())}) nor a folder here or below the data root {data_root}."
        )
    parameters = ImageFolder.model_validate(
        {"path": str(place if path.is_dir() else path), "white": white, "orientation": orientation}
    )
    return check_folder(data_root, parameters, advance)


def check_folder(data_root: Path, parameters: ImageFolder, advance: Advance) -> DataFindings:
    """Check an `imagefolder` with all of its classes."""
    root = folder_root(data_root, parameters.path)
    found = DataFindings(f"imagefolder '{parameters.path}'", root)
    listed = _open_all(found, SPLITS, parameters, advance)
    classes = [{alike(file.split("/")[1]) for file, _, _ in listing.files} for listing in listed.values()]
    same = len(classes) == 2 and classes[0] == classes[1] and not found.problems
    try:
        if same:
            class_names(root, parameters)
            grey_files(root, parameters, {split: listing.files for split, listing in listed.items()})
        else:
            inspect_folder(data_root, parameters)
    except UserError as error:
        if str(error) not in found.problems:
            found.problems.append(str(error))
    return found


def check_declared(dataset: DataSet, data_root: Path, advance: Advance) -> DataFindings:
    """Check ImageNet file by file, another data set by loading it."""
    found = DataFindings(dataset.name, data_root / (dataset.paths[0] if dataset.paths else ""))
    if wrong := absent(dataset, data_root):
        found.problems.append(wrong)
    elif dataset.layout is not None:
        found.root = data_root / dataset.name
        _open_all(found, ("train", "val"), None, advance)
    else:
        done = _data_plane(dataset.name, str(data_root))
        found.problems += [done] if done else []
    return found


def _open_all(
    found: DataFindings, splits: tuple[str, ...], parameters: ImageFolder | None, advance: Advance
) -> dict[str, Listing]:
    """Open every new or changed file of the class folders; returns the class folders of each split."""
    listed: dict[str, Listing] = {}
    for split in splits:
        if not (found.root / split).is_dir():
            continue
        names = [name for name in folders_in(found.root / split) if not name.startswith(".")]
        listed[split] = list_split(found.root, split, tuple(names), problems=found.problems)
    found.left_out = sentence(both(listed.values()))
    files = [file for listing in listed.values() for file, _, _ in listing.files]
    white, orientation = (parameters.white, parameters.orientation) if parameters else (0.0, "stored")
    known = Checked.of(found.root, white, orientation)
    keys = [key for listing in listed.values() for key in keys_of(listing)]
    new = [number for number, key in enumerate(keys) if known.defect(key) is None]
    found.files, found.opened = len(files), len(new)
    if new:
        request = {
            "root": str(found.root),
            "files": [files[number] for number in new],
            "parameters": None if parameters is None else parameters.model_dump(),
        }
        kept, done = time.monotonic(), len(files) - len(new)
        try:
            for numbers, defects in _opened(request):
                for number in numbers:
                    key, why = keys[new[number]], defects.get(str(number), "")
                    if why:
                        known.defects[key.hex()] = why
                    else:
                        known.readable.add(key)
                done += len(numbers)
                advance(done, len(files))
                if time.monotonic() - kept > KEEP_SECONDS:
                    known.keep(keys)
                    kept = time.monotonic()
        finally:
            known.keep(keys)
    pairs = ((file, known.defect(key)) for file, key in zip(files, keys, strict=True))
    found.defects = {file: why for file, why in pairs if why}
    return listed


def _opened(request: dict[str, Any]) -> Iterator[tuple[list[int], dict[str, str]]]:
    """Yield the data plane's results for some files as they arrive."""
    with tempfile.TemporaryFile("w+") as question, tempfile.TemporaryFile("w+") as errors:
        json.dump(request, question)
        question.seek(0)
        process = subprocess.Popen(
            module_command("jobs.data.check"), stdin=question, stdout=subprocess.PIPE, stderr=errors, text=True
        )  # fmt: skip
        assert process.stdout is not None
        try:
            for line in process.stdout:
                yield json.loads(line)
            if process.wait():
                raise UnavailableError(f"the files can't be opened here: {_last_line(errors)}")
        finally:
            process.terminate()
            process.wait()


def _last_line(errors: IO[str]) -> str:
    errors.seek(0)
    return (errors.read().strip().splitlines() or ["the process was ended"])[-1]


def _data_plane(*arguments: str) -> str:
    """Return the data plane's result for a data set that is loaded as a whole."""
    done = subprocess.run(
        module_command("jobs.data.check", *arguments), capture_output=True, text=True, stdin=subprocess.DEVNULL
    )  # fmt: skip
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["the process was ended"])[-1]
        raise UnavailableError(f"{arguments[0]} can't be loaded here: {last}")
    return done.stdout.strip()


def text_of(found: DataFindings) -> str:
    """Format a check for the terminal: problems grouped by kind, one line per file."""
    known = found.files - found.opened
    lines = [
        f"{found.name}: "
        + (f"{counted(found.files, 'image file')}" if found.files else "" if found.problems else "loads")
        + (f", {known:,} unchanged since they were last opened" if known else "")
        + (f"; {counted(len(found.defects), 'file')} can't be used" if found.defects else "")
    ]
    lines += [f"  PROBLEM  {problem}" for problem in found.problems]
    lines += [
        f"  PROBLEM  {line}" if line[0] != " " else f"           {line}"
        for line in grouped(found.root, found.defects)
    ]
    if found.left_out:
        lines.append(f"  note: {found.left_out}")
    if found.sound and found.files:
        lines[0] += "; all of them can be read"
    return "\n".join(lines)
