"""A teacher's smoothed predictions on the training split: the share of each class among its answers under noise.

A run of its own computes it (`jobs.training.teacher_predictions`), and pupils read it. What a pupil computes where it can't
read it is the same, bit for bit: noise is a function of (seed, image, block).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from jobs.data import Images
from jobs.noise import smoothing_noise
from jobs.random import generator
from jobs.state import TrainingState
from jobs.tensors import load_tensors
from rsctl.errors import InputError, UserError
from rsctl.store.layout import Run

TOGETHER = 1000
"""Noises of one image in one forward pass of the teacher."""
EVERY = 64
"""Images between two moments at which the work can be saved."""


class SoftPredictions(nn.Module):
    """Class shares of every training image, and how many images are done."""

    shares: Tensor
    done: Tensor

    def __init__(self, images: int, classes: int, device: torch.device) -> None:
        super().__init__()
        self.register_buffer("shares", torch.zeros(images, classes, device=device))
        self.register_buffer("done", torch.zeros((), dtype=torch.int64, device=device))


def gather(state: TrainingState, draws: int, known: Tensor | None = None) -> Iterator[int]:
    """Put the table into the state as "soft", `known` or computed; processes share the images.

    Yields the number of images done, whenever the task may be saved or stopped.
    """
    images, classes = state.images, state.images.shape.classes
    soft = state.keep("soft", SoftPredictions(len(images), classes, state.device))
    if known is not None:
        soft.shares.copy_(known)
        soft.done.fill_(len(images))
    if int(soft.done) == len(images):
        return
    teacher = state.load("teacher")
    while int(soft.done) < len(images):
        first = int(soft.done)
        rows = range(first, min(first + EVERY, len(images)))
        found = torch.zeros(len(rows), classes, device=state.device)
        for row in rows[state.process :: state.processes]:
            found[row - first] = smoothed_prediction(teacher, row, draws, state)
        soft.shares[first : first + len(rows)] = state.sum(found)
        soft.done += len(rows)
        yield int(soft.done)


@torch.no_grad()
def smoothed_prediction(teacher: nn.Module, row: int, draws: int, state: TrainingState) -> Tensor:
    """Share of each class among the teacher's answers to this image under noise, float32 (classes,)."""
    pixels, _ = state.images.batch(torch.tensor([row]), state.device)
    x, counts = pixels.float() / 255, torch.zeros(state.images.shape.classes, device=state.device)
    sigma = state.sigma_of("teacher")
    for block, done in enumerate(range(0, draws, TOGETHER)):
        key = generator(state.device, state.seed, "teacher-noise", row, offset=block)
        shape = (min(TOGETHER, draws - done), *x.shape[1:])
        noisy = x + smoothing_noise(shape, sigma, state.exponent, key, state.law)
        answers = teacher(noisy.contiguous(memory_format=torch.channels_last)).argmax(dim=1)
        counts += functional.one_hot(answers, len(counts)).sum(dim=0)
    return counts / draws


def known_predictions(run: Run, images: Images) -> Tensor | None:
    """Class shares, float32 (images of the training split, classes), that this run's spec points to; None where they are gone.

    Raises InputError where the file is another's.
    """
    source = run.store.model(run.train_spec.predictions or ".")
    if not run.train_spec.predictions or not source.model_file.exists():
        print("computing the teacher's smoothed predictions here: no finished run provides them", flush=True)
        return None
    try:
        stored = load_tensors(source.model_file)
        same = stored["spec_hash"] == source.spec.hash and stored["data"] == images.fingerprint
        shares: Tensor = stored["shares"]
    except UserError:
        raise
    except Exception as error:
        raise InputError(
            f"{source.model_file}: can't be read ({error}). Move it away and submit again to compute it again."
        ) from error
    if not same or shares.shape != (len(images), images.shape.classes):
        raise InputError(
            f"{source.model_file}: was computed for other images or with another teacher. Move it away."
        )
    return shares
