"""What verifying and attacking have in common: images in batches of one shape, rows into shards, resume at the batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from jobs.data import Images, load
from jobs.models.load import load_trained
from jobs.precision import configure
from rsctl import __version__
from rsctl.catalog.declare import Attack, Parameters, Verifier
from rsctl.errors import InputError, RefusedError
from rsctl.spec.identity import completed
from rsctl.store.compaction import compact
from rsctl.store.files import replace
from rsctl.store.provenance import git_state
from rsctl.store.rows import Findings
from rsctl.store.shards import Corrupt, Shard, encode_shard, read_shard
from rsctl.store.tables import check_shard, data_files, set_aside, shard_file
from rsctl.store.work import Stopped, Work


@dataclass
class Batch:
    """Images that are looked at together, always as many: what is left over is filled up with copies of the first."""

    positions: list[int]
    """(N,) in the data split, without the copies."""
    images: Tensor
    """(B, channels, size, size) float32 in [0, 1]."""
    labels: Tensor
    """(B,) int64."""


@dataclass
class Outcome:
    """What was found out about a batch; arrays as in `rsctl.store.rows.Findings`, with the copies."""

    predicted: Tensor
    radius: Tensor
    broken: Tensor
    adversarial: Tensor | None = None


def open_run(
    work: Work, declared: Verifier | Attack, revision: int
) -> tuple[Images, nn.Sequential, str, torch.device]:
    """Images, model, the SHA-256 of its file and the device; raises RefusedError where the code has another revision."""
    spec = work.run.table_spec
    if declared.revision != revision:
        raise RefusedError(
            f"{work.run.path}: was planned with revision {revision} of {declared.name}, and the code has {declared.revision}. "
            "Submit the sweep again: it becomes a run of its own."
        )
    device = configure(spec.precision, int(work.launch["threads"]))
    images = load_images(work)
    file = work.run.store.run("models", spec.model_run).model_file
    return images, *load_trained(file, spec.model_hash, images.shape), device


def load_images(work: Work) -> Images:
    """The images of the task, as planned; raises InputError where the files are others than they were."""
    spec = work.run.table_spec
    split = "train" if spec.split == "val" else "test"
    positions = work.run.images(work.task)
    images = load(spec.dataset, work.launch["dataset_parameters"], split, work.data_root, positions=positions)
    if spec.data and images.shape.fingerprint != spec.data:
        raise InputError(
            f"{spec.dataset}: the files differ from those this run was planned for. Restore them, or submit again to plan anew."
        )
    return images


def parameters_of_run(work: Work, declared: type[Parameters], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Complete parameters: those that define the result as the run has them, the others as it was last submitted."""
    return {**work.launch["parameters"], **completed(declared, stored)}


def run(
    work: Work,
    images: Images,
    model_sha256: str,
    function: dict[str, Any],
    batch: int,
    device: torch.device,
    look: Callable[[Batch], Outcome],
) -> None:
    """Look at every image of the task that isn't in yet, `batch` at a time; compact the run when it was the last.

    The composition of a batch depends on what was there before, its shape doesn't: `look` has to give an image the
    same result whatever its neighbours.
    """
    shard = _ShardWriter(work, images, model_sha256, function)
    finished = shard.finished_images()
    positions = work.run.images(work.task)
    todo = [row for row, position in enumerate(positions) if position not in finished]
    total, done = len(positions), len(positions) - len(todo)
    work.progress(done, total, "images", force=True)
    for one in _batches(images, todo, batch, device):
        started = time.monotonic()
        shard.add(one, look(one), time.monotonic() - started)
        done += len(one.positions)
        work.progress(done, total, "images", device=function.get("device", "cpu"))
        stopping = work.stopping()
        if stopping or work.snapshot_due():
            shard.write()
        if stopping and done < total:
            raise Stopped(stopping)
    shard.write()
    work.progress(total, total, "images", force=True, device=function.get("device", "cpu"))
    compact(work.run)


def _batches(images: Images, rows: list[int], size: int, device: torch.device) -> Iterator[Batch]:
    for first in range(0, len(rows), size):
        own = rows[first : first + size]
        filled = own + own[:1] * (size - len(own))
        pixels, labels = images.batch(torch.tensor(filled), device)
        yield Batch([int(images.positions[row]) for row in own], pixels.float() / 255, labels)


class _ShardWriter:
    """This attempt's shard file."""

    def __init__(self, work: Work, images: Images, model_sha256: str, function: dict[str, Any]) -> None:
        self.work, self.function = work, function
        spec, shape = work.run.table_spec, images.shape
        self.path = shard_file(work.run, work.task, work.claim.number)
        self.parts: list[Findings] = []
        self.attributes = {
            "spec": spec.model_dump_json(),
            "spec_hash": spec.hash,
            "model_sha256": model_sha256,
            "data_fingerprint": images.fingerprint,
            "dimension": shape.channels * shape.size * shape.size,
            "version": __version__,
            "git": git_state() or work.launch.get("provenance", {}).get("git", {}),
            "code": work.launch.get("code", ""),
            "attempt": work.claim.number,
        }

    def finished_images(self) -> set[int]:
        """Positions that are in, whoever looked at them; refuses to go on with another checkpoint."""
        found: set[int] = set()
        for path in data_files(self.work.run):
            try:
                shard = check_shard(self.work.run, read_shard(path))
            except Corrupt as problem:
                print(set_aside(path, str(problem)), flush=True)
                continue
            except FileNotFoundError:
                return self.finished_images()  # compacted while we looked
            if shard.attributes["model_sha256"] != self.attributes["model_sha256"]:
                raise RefusedError(
                    f"{path}: is about another checkpoint ({str(shard.attributes['model_sha256'])[:12]}…) than the model "
                    f"that is there now ({str(self.attributes['model_sha256'])[:12]}…). Restore the model, or move the run's shards away."
                )
            found.update(shard.rows.index.tolist())
        return found

    def add(self, batch: Batch, outcome: Outcome, seconds: float) -> None:
        """Keep the rows of a batch; raises RuntimeError where a proof and a counterexample contradict each other."""
        count = len(batch.positions)
        columns = (batch.labels, outcome.predicted, outcome.radius, outcome.broken)
        label, predicted, radius, broken = (column[:count].cpu().numpy() for column in columns)
        adversarial = None
        if self.work.launch.get("keep_images", True) and outcome.adversarial is not None:
            adversarial = outcome.adversarial[:count].cpu().numpy().astype(np.float32)
        for place in np.flatnonzero(radius > broken):
            raise RuntimeError(
                f"image {batch.positions[place]} is proved within {radius[place]:g} and broken at {broken[place]:g}: "
                "a proof is wrong. Nothing of this batch was kept; please report it"
            )
        self.parts.append(
            Findings(
                index=np.array(batch.positions, np.int64),
                label=label.astype(np.int32),
                seconds=np.full(count, seconds / count),
                fingerprint=np.zeros(count, np.int32),
                predicted=predicted.astype(np.int32),
                radius=radius.astype(np.float64),
                broken=broken.astype(np.float64),
                adversarial=adversarial,
            )
        )

    def write(self) -> None:
        """Replace the shard file."""
        started = time.monotonic()
        rows = Findings.concatenate(self.parts) if self.parts else Findings.empty()
        replace(self.path, encode_shard(Shard(rows, self.attributes, [self.function])))
        self.work.snapshot_written(time.monotonic() - started)
