"""The loop that verifications and attacks share: images in batches of one shape, rows into shards, resumed at the batch."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from jobs.data import Images
from jobs.memory import sized_by
from jobs.models.load import load_trained
from jobs.precision import configure, device_name
from jobs.shard import ShardWriter, load_images
from jobs.verifiers import Verdicts
from rsctl.catalog.declare import Attack, Parameters, Verifier
from rsctl.config.identity import completed
from rsctl.config.runs import AttackSpec, VerifySpec
from rsctl.errors import RefusedError, UserError
from rsctl.store.rows import DistanceBounds
from rsctl.store.shards import Shard, encode_shard
from rsctl.store.task_context import Stopped, TaskContext

REPORT_EVERY = 5.0
"""Seconds between two progress reports while a batch is under way."""


@dataclass
class Batch:
    """Images processed together, always the same number: the last batch is filled up with copies of its first image."""

    positions: list[int]
    """(B,) in the data split."""
    count: int
    """N of them are wanted; the others are the copies."""
    images: Tensor
    """(B, channels, size, size) float32 in [0, 1]."""
    labels: Tensor
    """(B,) int64."""


def open_run(
    work: TaskContext, declared: Verifier | Attack, spec: VerifySpec | AttackSpec
) -> tuple[Images, nn.Sequential, str, torch.device]:
    """Images, model, the SHA-256 of its file and the device; raises RefusedError where the code has another revision."""
    if declared.revision != spec.revision:
        raise RefusedError(
            f"{work.run.path}: was planned with revision {spec.revision} of {declared.name}, but the code has revision {declared.revision}. "
            "Submit the sweep again to create a new run."
        )
    device = configure(spec.precision, int(work.launch["threads"]))
    images = load_images(work)
    file = work.run.store.model(spec.model_run).model_file
    return images, *load_trained(file, spec.model_hash, images.shape), device


def parameters_of_run(
    work: TaskContext, declared: type[Parameters], stored: Mapping[str, Any]
) -> dict[str, Any]:
    """Complete parameters: those that define the result as the run has them, the others as it was last submitted."""
    return {**work.launch["parameters"], **completed(declared, stored)}


def run(
    work: TaskContext,
    images: Images,
    model_sha256: str,
    function: dict[str, Any],
    batch: int,
    device: torch.device,
    process: Callable[[Batch], Verdicts],
) -> None:
    """Process every image of the task without a result, `batch` at a time; compact the run when its last task ends.

    The composition of a batch depends on what was there before, its shape doesn't: `process` has to give an image the
    same result whatever its neighbours.
    """
    on = device_name(device)
    machine = {
        "device": on,
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
    }
    shard = _FindingsWriter(work, images, model_sha256, {**function, **machine})
    advice = (
        "Take a smaller one, where the verifier or attack has this parameter, or a device with more memory."
    )
    for one in _batches(images, shard.begin(), batch, device):
        started = time.monotonic()
        with sized_by("batch", batch, advice), _reporting(shard, one.count, on):
            outcome = process(one)
        shard.add(one, outcome, time.monotonic() - started)
        stopping = shard.reached(device=on)
        if stopping and shard.done < shard.total:
            raise Stopped(stopping)
    shard.end(device=on)


@contextlib.contextmanager
def _reporting(shard: ShardWriter, at_once: int, device: str) -> Iterator[None]:
    """Report every few seconds how long the current batch has taken: a solver may need minutes for one image."""
    started, over = time.monotonic(), threading.Event()

    def report() -> None:
        # A disk that fails is told by the loop, which writes there too.
        with contextlib.suppress(UserError, OSError):
            while not over.wait(REPORT_EVERY):
                so_far = round(time.monotonic() - started, 1)
                shard.work.progress(
                    shard.done,
                    shard.total,
                    "images",
                    force=True,
                    device=device,
                    at_once=at_once,
                    so_far=so_far,
                )

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _batches(images: Images, rows: list[int], size: int, device: torch.device) -> Iterator[Batch]:
    for first in range(0, len(rows), size):
        own = rows[first : first + size]
        filled = own + own[:1] * (size - len(own))
        pixels, labels = images.batch(torch.tensor(filled), device)
        yield Batch([int(images.positions[row]) for row in filled], len(own), pixels.float() / 255, labels)


class _FindingsWriter(ShardWriter):
    def __init__(
        self, work: TaskContext, images: Images, model_sha256: str, function: dict[str, Any]
    ) -> None:
        super().__init__(work, images, model_sha256)
        self.function = function
        self.parts: list[DistanceBounds] = []

    def add(self, batch: Batch, outcome: Verdicts, seconds: float) -> None:
        """Keep the rows of a batch; raises RuntimeError where a proof and a counterexample contradict each other."""
        count = batch.count
        columns = (batch.labels, outcome.predicted, outcome.radius, outcome.broken)
        label, predicted, radius, broken = (column[:count].cpu().numpy() for column in columns)
        adversarial = None
        if self.work.launch.get("keep_images", True) and outcome.counterexample is not None:
            adversarial = outcome.counterexample[:count].cpu().numpy().astype(np.float32)
        for place in np.flatnonzero(radius > broken):
            raise RuntimeError(
                f"image {batch.positions[place]} has a proved radius of {radius[place]:g} and a counterexample at {broken[place]:g}: "
                "a proof is wrong. Nothing of this batch was kept; please report it"
            )
        self.parts.append(
            DistanceBounds(
                index=np.array(batch.positions[:count], np.int64),
                label=label.astype(np.int32),
                seconds=np.full(count, seconds / count),
                fingerprint=np.zeros(count, np.int32),
                predicted=predicted.astype(np.int32),
                lower=radius.astype(np.float64),
                upper=broken.astype(np.float64),
                adversarial=adversarial,
            )
        )
        self.done += count

    def encoded(self) -> bytes:
        rows = DistanceBounds.concatenate(self.parts) if self.parts else DistanceBounds.empty()
        return encode_shard(Shard(rows, self.attributes, [self.function]))
