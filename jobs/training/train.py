"""Trains one base classifier: a whole run, top to bottom.

Everything random is a function of (seed, purpose, step), so a training that was killed and resumed takes the
very steps an uninterrupted one takes: bit for bit on a CPU with the same number of threads.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from itertools import tee
from typing import Any

import torch
from torch import Tensor, nn

from jobs.data import split_train
from jobs.data.augment import augment
from jobs.device import to_device
from jobs.memory import sized_by
from jobs.models.statistics import batch_statistics, least_images
from jobs.precision import device_name
from jobs.random import generator, hash32
from jobs.state import TrainingState
from jobs.training.checkpoint import publish_model, report_end
from jobs.training.metrics import Metrics
from jobs.training.schedule import learning_rate
from jobs.training.session import Session
from rsctl.catalog import find, known_methods
from rsctl.catalog.recipe import Recipe
from rsctl.config.permutation import permutation
from rsctl.errors import InputError
from rsctl.store.task_context import TaskContext

Loss = Callable[[nn.Module, Tensor, Tensor, TrainingState], tuple[Tensor, Tensor]]


def main(work: TaskContext) -> None:
    """Train the model of this run and publish it; returns at once if it is there."""
    if work.run.model_file.exists():
        return
    advice = "Take a smaller one (it is another training), more processes, or devices with more memory; the last checkpoint is kept."
    with sized_by("training.batch_size", work.run.train_spec.recipe.batch_size, advice):
        _train(work)


def _train(work: TaskContext) -> None:
    spec, recipe = work.run.train_spec, work.run.train_spec.recipe
    declared = find("method", spec.method, known_methods())
    method = importlib.import_module(declared.module)
    session = Session(work, declared.parameters)
    model, images, state, processes = (
        session.model,
        session.images,
        session.state,
        session.accelerator.num_processes,
    )

    # Positions of the training split, without those held out for tuning.
    kept = split_train(len(images), spec.holdout)[0] if spec.holdout else range(len(images))
    rows = torch.as_tensor(kept)
    step_images = step_size(recipe, state.parameters)
    batches = Batches(len(rows), step_images, spec.seed, processes, least_images(model))
    total = state.total_steps = recipe.epochs * batches.per_epoch

    step = session.resume()
    if step == 0 and spec.start:
        model.load_state_dict(state.load("start").state_dict())
    metrics = Metrics(work, session.is_first, step, batches.per_epoch, batches.batch_size)
    if hasattr(method, "prepare"):
        with session.autocast():
            for _ in method.prepare(model, state):
                session.save_or_stop(step, metrics)
    model.train()
    about = {
        "epochs": recipe.epochs,
        "device": device_name(session.device),
        "images_per_step": min(step_images, len(rows)),
        "processes": processes,
        "batch_statistics": batch_statistics(model, processes),
    }
    print(*(f"{key} {value}" for key, value in about.items()), sep="; ", flush=True)
    for x, y, size in _batches_of(session, batches, rows, step):
        rate = learning_rate(recipe, step, batches.per_epoch)
        value, logits = _update(session, method.loss, x, y, rate)
        step += 1
        metrics.add(value, logits, y, size)
        work.progress(step, total, "steps", epoch=round(step / batches.per_epoch, 2), **about)
        if metrics.due():
            metrics.write(step, rate)
        session.save_or_stop(step, metrics)
    metrics.write(step, session.optimizer.param_groups[0]["lr"] if step else 0.0)
    work.progress(step, total, "steps", force=True, epoch=recipe.epochs, **about)
    session.accelerator.wait_for_everyone()
    if session.is_first:
        report_end(work, metrics, images.shape.classes)
        publish_model(work, model, images)
    session.accelerator.end_training()


def _batches_of(
    session: Session, batches: Batches, rows: Tensor, step: int
) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Images, labels and size of the whole batch of each step from `step` on; sets the state to that step.

    `rows` are the positions in the training split that are trained on; of each batch this process gets its share.
    """
    state, images, recipe, processes = session.state, session.images, session.spec.recipe, session.accelerator
    # Augmented here in batches, unless the processes that decoded the files have cropped them.
    kind = session.dataset.augmentation if recipe.augment and not images.crops else "none"

    def mine() -> Iterator[Tensor]:
        for batch in batches.since(step, state.total_steps):
            yield rows[batch[batches.share(len(batch), processes.process_index)]]

    positions, ahead = tee(mine())  # files are decoded some steps ahead
    stream = images.stream(
        ahead, hash32(session.spec.seed, "crops"), first_step=step,
        augment=recipe.augment, mirror=recipe.mirror, workers=session.work.launch.get("workers"),
    )  # fmt: skip
    for number, (chosen, (pixels, y)) in enumerate(zip(positions, stream, strict=True), step):
        pixels, y = to_device(pixels, session.device), to_device(y, session.device)
        size = batches.size(number)
        state.rows, state.step, state.epoch = chosen, number, number / batches.per_epoch
        state.mine = batches.share(size, processes.process_index)
        state.batch = (size, *pixels.shape[1:])
        cropped = crop(pixels, kind, state, recipe)
        state.x = (cropped.float() / 255).contiguous(memory_format=torch.channels_last)
        yield state.x, y, size


def _update(session: Session, loss: Loss, x: Tensor, y: Tensor, rate: float) -> tuple[Tensor, Tensor]:
    """One optimiser step; returns the loss and the logits of this process's images."""
    model, optimizer, recipe = session.model, session.optimizer, session.spec.recipe
    for group in optimizer.param_groups:
        group["lr"] = rate
    with session.autocast():
        value, logits = loss(model, x, y, session.state)
    # Weighted so that the sum over processes is the mean over all images of the batch.
    (value * session.state.share(y)).backward()
    session.add_up_gradients()
    if recipe.gradient_clip:
        nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_clip)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return value.detach(), logits.detach()


class Batches:
    """The order of images: a permutation per epoch, a function of the seed and the epoch alone."""

    def __init__(self, count: int, batch_size: int, seed: int, processes: int, least: int = 1) -> None:
        if min(batch_size, count) < least * processes:
            raise InputError(
                f"training.batch_size: {batch_size} images (of {count}) can't be split among {processes} "
                f"process{'es' if processes > 1 else ''}; this network needs at least {least} in each."
            )
        self.count, self.batch_size, self.seed, self.processes = (
            count,
            min(batch_size, count),
            seed,
            processes,
        )
        # A last batch too small to give every process enough images is left out.
        self.per_epoch = count // self.batch_size + (count % self.batch_size >= least * processes)

    def since(self, step: int, total: int) -> Iterator[Tensor]:
        """Row numbers of each step's whole batch, from `step` on; int64 (B,)."""
        order, current = torch.empty(0), -1
        for number in range(step, total):
            epoch, within = divmod(number, self.per_epoch)
            if epoch != current:
                order, current = torch.from_numpy(permutation(self.count, self.seed, f"epoch {epoch}")), epoch
            yield order[within * self.batch_size : (within + 1) * self.batch_size]

    def size(self, step: int) -> int:
        """Images of that step, over all processes."""
        return min(self.batch_size, self.count - step % self.per_epoch * self.batch_size)

    def share(self, size: int, process: int) -> slice:
        """The part of a batch that one process computes."""
        return slice(size * process // self.processes, size * (process + 1) // self.processes)


def step_size(recipe: Recipe, hyperparameters: dict[str, Any]) -> int:
    """Images per optimiser step: the batch, or an m-th of it where the m noises go with m smaller steps."""
    return recipe.batch_size // (
        int(hyperparameters.get("noises", 1)) if recipe.noise_steps == "smaller" else 1
    )


def crop(pixels: Tensor, kind: str, state: TrainingState, recipe: Recipe) -> Tensor:
    """Augment this process's part of the batch with draws made for the whole batch."""
    if kind == "none":
        return pixels
    draws = generator(state.device, state.seed, "crops", state.step)
    return augment(
        pixels,
        kind,
        draws,
        whole=state.batch[0],
        mine=state.mine,
        mirror=recipe.mirror,
        padding=recipe.crop_padding,
    )
