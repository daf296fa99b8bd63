"""Opens image files as a training does, on all cores. `python -m jobs.data.check` reads one JSON document and prints JSON lines.

The document names `root`, `files` below it and the `parameters` of an `imagefolder` (null for ImageNet), and a line the numbers of
some files that were opened and, by number, why some of them can't be decoded. With a data set's name and the data root as
arguments it loads that set instead, and prints why it can't be loaded, or nothing.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from jobs.data import load
from jobs.data.decode import read_image
from rsctl.catalog.datasets import ImageFolder
from rsctl.errors import InputError

TOGETHER = 64
"""Files that a process opens one after the other."""
ENDS_THE_PROCESS = (
    "crashes the process that opens it: it is damaged, or needs more memory than this machine has. Copy it again from its source, store it "
    "smaller, or remove it."
)
Defects = dict[int, str]


def open_files(root: str, batch: list[tuple[int, str]], parameters: ImageFolder | None) -> Defects:
    """Defects of files in a batch, by number: the reason why each can't be decoded."""
    warnings.simplefilter("ignore")  # of Pillow: what it decodes all the same isn't wrong
    found = {}
    for number, file in batch:
        path = Path(root, file)
        try:
            if not path.is_file():
                raise InputError(f"{path} no longer exists, or isn't a regular file. Restore it.")
            read_image(path, parameters).close()
        except InputError as error:
            text = str(error).replace(" `rsctl data check` lists every such file at once.", "")
            found[number] = text.replace(f"{path} ", "", 1)
    return found


def checked(
    root: str, files: list[str], parameters: ImageFolder | None
) -> Iterator[tuple[list[int], Defects]]:
    """Numbers of files that were opened, and those among them that can't be decoded, as they come."""
    numbered = list(enumerate(files))
    open_batches = [numbered[first : first + TOGETHER] for first in range(0, len(files), TOGETHER)]
    workers = len(os.sched_getaffinity(0))
    while open_batches:
        done: set[int] = set()
        with _pool(workers) as pool:
            running = {
                pool.submit(open_files, root, batch, parameters): number
                for number, batch in enumerate(open_batches)
            }
            try:
                for one in as_completed(running):
                    found, number = one.result(), running[one]
                    done.add(number)
                    yield [file for file, _ in open_batches[number]], found
            except BrokenProcessPool:
                pass
        left = [batch for number, batch in enumerate(open_batches) if number not in done]
        # Batches are begun in order: the one that ended a process is among the first.
        for batch in left[: 2 * workers + 1]:
            yield [file for file, _ in batch], _one_by_one(root, batch, parameters)
        open_batches = left[2 * workers + 1 :]


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork"))


def _one_by_one(root: str, batch: list[tuple[int, str]], parameters: ImageFolder | None) -> Defects:
    """A batch in a process of its own; one that ends it is cut in two until the file is found."""
    try:
        with _pool(1) as pool:
            return pool.submit(open_files, root, batch, parameters).result()
    except BrokenProcessPool:
        if len(batch) == 1:
            return {batch[0][0]: ENDS_THE_PROCESS}
        half = len(batch) // 2
        return _one_by_one(root, batch[:half], parameters) | _one_by_one(root, batch[half:], parameters)


def main(arguments: list[str]) -> int:
    """Entry point."""
    if arguments:
        name, data_root = arguments
        try:
            for split in ("train", "test"):
                load(name, {}, split, Path(data_root))
        except InputError as error:
            print(error)
        return 0
    request: dict[str, Any] = json.load(sys.stdin)
    given = request["parameters"]
    parameters = None if given is None else ImageFolder.model_validate(given)
    for numbers, defects in checked(request["root"], request["files"], parameters):
        print(json.dumps([numbers, defects]), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
