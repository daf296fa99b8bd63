"""Images with labels: in memory, or decoded from their files on demand, behind one interface."""

from __future__ import annotations

import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from jobs.data.decode import centre_crop, read_image, resized_crop_flip
from jobs.device import to_device
from rsctl.catalog.datasets import ImageFolder
from rsctl.catalog.declare import DataShape
from rsctl.errors import InputError


class Images(ABC):
    """Some images of one split. A *row* counts within this object, a *position* within the whole split."""

    labels: Tensor
    """int64 (N,)."""
    positions: Tensor
    """int64 (N,), positions in the split."""
    shape: DataShape
    fingerprint: str
    """Hash (hex) of the whole split's content, whichever positions were loaded."""
    pixels: Tensor | None
    """uint8 (N, C, H, W) where the set is in memory, else None."""
    crops = False
    """True where `stream` takes the random crop and mirror itself."""

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def to(self, device: torch.device | str) -> Images:
        """Keep the images on this device, where they are in memory at all."""

    @abstractmethod
    def batch(self, rows: Tensor, device: torch.device | str | None = None) -> tuple[Tensor, Tensor]:
        """Images as they are evaluated, without augmentation: uint8 (B, C, H, W) and labels int64 (B,) of int64 rows (B,).

        They go to `device`; None leaves them where they are.
        """

    @abstractmethod
    def stream(
        self,
        batches: Iterable[Tensor],
        generator_seed: int,
        *,
        first_step: int = 0,
        augment: bool = True,
        mirror: bool = True,
        workers: int | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches to train on: uint8 (B, C, H, W) and int64 (B,) for each tensor of rows, those of one optimiser step.

        In-memory sets are indexed, and augmented afterwards on the device (`jobs.data.augment`). Files are decoded ahead by
        `workers` processes (None: the cores this process may use, but one), which, where `crops` says so, also take the random
        crop and mirror, while the whole image is at hand. `batches` may therefore be read ahead of what has been yielded.
        The crop of an image is a function of `generator_seed`, of its step (counted on from `first_step`) and of its
        position: a training resumed at a step draws what an uninterrupted one draws. Without `augment` files are decoded as
        `batch` does; without `mirror` they are cropped only.
        """


class ArrayImages(Images):
    """A set in memory."""

    pixels: Tensor

    def __init__(
        self,
        pixels: Tensor,
        labels: Tensor,
        shape: DataShape,
        fingerprint: str,
        positions: Sequence[int] | None = None,
    ) -> None:
        """`pixels` and `labels` hold exactly the images at `positions` (None: the whole split)."""
        self.pixels, self.labels, self.shape, self.fingerprint = pixels, labels, shape, fingerprint
        self.positions = as_positions(positions, len(labels))

    def to(self, device: torch.device | str) -> ArrayImages:
        device = torch.device(device)
        if device.type == "cuda" and self.pixels.nbytes > torch.cuda.mem_get_info(device)[0] / 2:
            return self  # they stay beside the device, whose memory the network needs
        to_device = ArrayImages(self.pixels.to(device), self.labels.to(device), self.shape, self.fingerprint)
        to_device.positions = self.positions
        return to_device

    def batch(self, rows: Tensor, device: torch.device | str | None = None) -> tuple[Tensor, Tensor]:
        rows = to_device(rows, self.pixels.device)
        pixels, labels = self.pixels[rows], self.labels[rows]
        return (pixels, labels) if device is None else (pixels.to(device), labels.to(device))

    def stream(
        self, batches: Iterable[Tensor], generator_seed: int, **_: Any
    ) -> Iterator[tuple[Tensor, Tensor]]:
        return (self.batch(rows) for rows in batches)


class FileImages(Images):
    """A set too large for memory. Of a `folder`, the batches are those that it would have if its images were held."""

    pixels = None

    def __init__(
        self,
        root: Path,
        files: Sequence[str],
        labels: Sequence[int],
        shape: DataShape,
        fingerprint: str,
        resize: int,
        positions: Sequence[int] | None = None,
        folder: ImageFolder | None = None,
    ) -> None:
        """`files` below `root`, exactly those at `positions`; `resize` is the shorter side before the centre crop."""
        # One block of bytes: a million Python strings would be copied into every worker, page by page.
        self.files = np.array([os.fsencode(file) for file in files])
        self.root, self.resize, self.folder, self.crops = root, resize, folder, folder is None
        self.labels = torch.tensor(labels, dtype=torch.int64)
        self.shape, self.fingerprint = shape, fingerprint
        self.positions = as_positions(positions, len(files))

    def to(self, device: torch.device | str) -> FileImages:
        return self

    def decode(self, row: int, seed: str | None = None, mirror: bool = True) -> Tensor:
        """uint8 (3, size, size): centre-cropped, or with a seed, where `crops` says so, randomly cropped and, if `mirror`, mirrored."""
        with read_image(self.root / os.fsdecode(self.files[row]), self.folder) as image:
            if seed is None or not self.crops:
                pixels = centre_crop(image, self.resize, self.shape.size)
            else:
                pixels = resized_crop_flip(image, self.shape.size, seed, mirror)
        return torch.from_numpy(pixels).permute(2, 0, 1)

    def batch(self, rows: Tensor, device: torch.device | str | None = None) -> tuple[Tensor, Tensor]:
        pixels = torch.stack([self.decode(row) for row in rows.tolist()])
        labels = self.labels[rows.cpu()]
        return (pixels, labels) if device is None else (to_device(pixels, device), to_device(labels, device))

    def stream(
        self,
        batches: Iterable[Tensor],
        generator_seed: int,
        *,
        first_step: int = 0,
        augment: bool = True,
        mirror: bool = True,
        workers: int | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        keyed = ([(step, row) for row in rows.tolist()] for step, rows in enumerate(batches, first_step))
        loader: DataLoader[tuple[Tensor, int] | InputError] = DataLoader(
            _Decoder(self, generator_seed if augment else None, mirror),
            batch_sampler=keyed,
            num_workers=max(1, len(os.sched_getaffinity(0)) - 1) if workers is None else workers,
            collate_fn=_collate,
            worker_init_fn=_outlive_signals,
            generator=torch.Generator(),  # else it takes a draw from the default generator
        )
        for item in loader:
            if isinstance(item, InputError):
                raise item
            yield item


class _Decoder(Dataset[tuple[Tensor, int] | InputError]):
    def __init__(self, images: FileImages, seed: int | None, mirror: bool) -> None:
        self.images, self.seed, self.mirror = images, seed, mirror

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int] | InputError:
        step, row = key
        seed = None if self.seed is None else f"{self.seed} {step} {int(self.images.positions[row])}"
        try:
            return self.images.decode(row, seed, self.mirror), int(self.images.labels[row])
        except InputError as error:
            return error  # raised in the parent: DataLoader would put a traceback into its message


def _collate(items: list[tuple[Tensor, int] | InputError]) -> tuple[Tensor, Tensor] | InputError:
    decoded = []
    for item in items:
        if isinstance(item, InputError):
            return item
        decoded.append(item)
    return torch.stack([pixels for pixels, _ in decoded]), torch.tensor([label for _, label in decoded])


GRACE_SECONDS = 60


def _outlive_signals(_: int) -> None:
    """A scheduler signals all processes of a job at once: workers go on until the trainer has saved its state."""
    for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(GRACE_SECONDS))


def as_positions(positions: Sequence[int] | None, count: int) -> Tensor:
    """int64 (N,); None means all `count` of the split."""
    return torch.arange(count) if positions is None else torch.as_tensor(positions, dtype=torch.int64)
