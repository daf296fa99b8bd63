"""The training curve, its end, and the error of a training that diverged."""

from __future__ import annotations

import math
import time
from collections import deque

import torch
from torch import Tensor

from rsctl.errors import InputError
from rsctl.store.degenerate import Tally
from rsctl.store.files import append, open_log
from rsctl.store.tally import tally
from rsctl.store.task_context import TaskContext

METRICS_EVERY = 1.0
"""Seconds between two records of the training curve."""
LAST = 500
"""Images by which the end of a training is judged, or those of its last step where it has more."""


class Metrics:
    """The training curve: means over the images since the last record. Synchronises with the device only there."""

    def __init__(self, work: TaskContext, writes: bool, step: int, per_epoch: int, step_images: int) -> None:
        self.file = work.run.path / f"metrics.{work.claim.number}.jsonl"
        self.writes, self.per_epoch = writes, per_epoch
        if writes:
            open_log(self.file).close()
        self.last: deque[tuple[Tensor, Tensor]] = deque(maxlen=math.ceil(LAST / step_images))
        self._start(step)

    def _start(self, step: int) -> None:
        self.before = step
        self.values: list[Tensor] = []
        self.correct: list[Tensor] = []
        self.images: list[int] = []
        self.seen = 0
        self.since = time.monotonic()

    def add(self, value: Tensor, logits: Tensor, y: Tensor, size: int) -> None:
        """One step: `size` counts the images of all processes, the sums those of this one."""
        # Kept as they are until the next record: the device isn't waited for, and computes little more.
        self.values.append(value)
        predicted = logits.argmax(dim=1)
        self.last.append((predicted, y))
        self.correct.append((predicted == y).sum())
        self.images.append(len(y))
        self.seen += size

    def due(self) -> bool:
        return time.monotonic() - self.since > METRICS_EVERY

    def write(self, step: int, rate: float) -> None:
        """Record what gathered; raises InputError if the loss is no longer a number."""
        if not self.images:
            return
        values, images = torch.stack(self.values).double().cpu(), torch.tensor(self.images).double()
        bad = (~values.isfinite()).nonzero().flatten().tolist()
        if bad:
            raise diverged(f"the loss is {float(values[bad[0]])} at step {self.before + bad[0] + 1}")
        loss = float((values * images).sum() / images.sum())
        correct = float(torch.stack(self.correct).sum() / images.sum())
        if self.writes:
            seconds = time.monotonic() - self.since
            append(
                self.file,
                {
                    "step": step,
                    "epoch": round(step / self.per_epoch, 4),
                    "loss": round(loss, 6),
                    "accuracy": round(correct, 6),
                    "lr": rate,
                    "images_per_second": round(self.seen / seconds, 1),
                    "time": round(time.time(), 3),
                },
            )
        self._start(step)

    def ended(self, classes: int) -> Tally:
        """Tally of the classes predicted for this process's last images."""
        predicted, labels = (torch.cat(found).cpu() for found in zip(*self.last, strict=True))
        return tally(labels.numpy(), predicted.numpy(), classes)


def diverged(what: str) -> InputError:
    return InputError(
        f"training diverged: {what}. Lower training.lr, add training.warmup_epochs or gradient_clip. "
        "The last good checkpoint is kept."
    )
