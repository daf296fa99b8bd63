"""A task's images and this attempt's shard file: what is in already, what is new, and its writing as the task goes on."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import Any

from jobs.data import Images, load, require_planned
from rsctl import __version__
from rsctl.errors import RefusedError
from rsctl.store.checks import check_shard
from rsctl.store.compaction import compact
from rsctl.store.files import replace
from rsctl.store.provenance import git_state
from rsctl.store.shards import Corrupt, read_shard
from rsctl.store.tables import data_files, set_aside, shard_file
from rsctl.store.task_context import TaskContext


def load_images(work: TaskContext) -> Images:
    """The images of the task, as planned; raises InputError where the files are others than they were."""
    spec = work.run.table_spec
    split = "train" if spec.split == "val" else "test"
    positions = work.run.images(work.task)
    images = load(spec.dataset, work.launch["dataset_parameters"], split, work.data_root, positions=positions)
    require_planned(images, spec.dataset, spec.data)
    return images


class ShardWriter(ABC):
    """This attempt's shard file, and how far the task is; `further` attributes stand in the file beside those of every table."""

    def __init__(self, work: TaskContext, images: Images, model_sha256: str, **further: Any) -> None:
        spec, shape = work.run.table_spec, images.shape
        self.work = work
        self.finished: set[int] = set()
        """Positions of the run that are in, whoever was there first."""
        self.total = self.done = 0
        """The task's images, and those of them that are in."""
        self.path = shard_file(work.run, work.task, work.claim.number)
        self.dimension = shape.dimension
        self.attributes = {
            "spec": spec.model_dump_json(),
            "spec_hash": spec.hash,
            "model_sha256": model_sha256,
            "data_fingerprint": images.fingerprint,
            "dimension": self.dimension,
            **further,
            "version": __version__,
            "git": git_state() or work.launch.get("provenance", {}).get("git", {}),
            "code": work.launch.get("code", ""),
            "attempt": work.claim.number,
        }

    @abstractmethod
    def encoded(self) -> bytes:
        """The whole file with what is known so far."""

    def write(self) -> None:
        """Replace the shard file."""
        started = time.monotonic()
        replace(self.path, self.encoded())
        self.work.snapshot_written(time.monotonic() - started)

    def finished_images(self) -> set[int]:
        """Positions of the run that are in, whoever was there first.

        A file that isn't a shard of this run is set aside. Rows of another checkpoint are refused: a table never mixes
        them.
        """
        found: set[int] = set()
        for path in data_files(self.work.run):
            try:
                shard = check_shard(self.work.run, path, read_shard(path))
            except Corrupt as problem:
                print(set_aside(path, str(problem)), flush=True)
                continue
            except FileNotFoundError:
                # Compacted while we looked: its rows are in a file that wasn't there when the list was made.
                return self.finished_images()
            found_sha, ours = str(shard.attributes["model_sha256"]), str(self.attributes["model_sha256"])
            if found_sha != ours:
                raise RefusedError(
                    f"{path}: is about another checkpoint ({found_sha[:12]}…) than the model that is there now ({ours[:12]}…). "
                    "Restore the model, or move the run's shards away."
                )
            found.update(shard.rows.index.tolist())
        return found

    def begin(self) -> list[int]:
        """Look at what is there; returns the rows of the task's images that are still to do."""
        self.finished = self.finished_images()
        positions = self.work.run.images(self.work.task)
        todo = [row for row, position in enumerate(positions) if position not in self.finished]
        self.total = len(positions)
        self.done = self.total - len(todo)
        self.work.progress(self.done, self.total, "images", force=True)
        return todo

    def reached(self, partly: float = 0, **values: Any) -> str:
        """Say how far the task is, and write the file where it is time; returns why the task has to stop, or nothing.

        `partly`: what has been done of images under way, in images.
        """
        self.work.progress(round(self.done + partly, 4), self.total, "images", **values)
        stopping = self.work.stopping()
        if stopping or self.work.snapshot_due():
            self.write()
        return stopping

    def end(self, **values: Any) -> None:
        """Write the file; compact the run when this task was its last."""
        self.write()
        self.work.progress(self.total, self.total, "images", force=True, **values)
        compact(self.work.run)
