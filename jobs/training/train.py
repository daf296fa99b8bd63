"""Trains one base classifier: a whole run, top to bottom.

Everything random is a function of (seed, purpose, step), so a training that was killed and resumed takes the
very steps an uninterrupted one takes: bit for bit on a CPU with the same number of threads.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from itertools import tee
from typing import Any

import torch
from accelerate import Accelerator, AutocastKwargs
from torch import Tensor, nn

from jobs import import_checkpoint
from jobs.data import load, require_planned, split_train
from jobs.data.augment import augment
from jobs.device import to_device
from jobs.memory import sized_by
from jobs.models import build_model
from jobs.models.load import load_trained
from jobs.models.normalize import normalisation_of, untouched
from jobs.models.statistics import batch_statistics, least_images
from jobs.precision import configure, device_name
from jobs.predictions import SoftPredictions, known_predictions, publish_predictions
from jobs.random import generator, hash32
from jobs.state import TrainingState
from jobs.training.checkpoint import publish_model, resume, save_checkpoint, say_how_it_ended
from jobs.training.metrics import Metrics
from jobs.training.optimizers import make_optimizer
from jobs.training.schedule import learning_rate
from rsctl.catalog import find, known_datasets, known_methods, known_models
from rsctl.catalog.declare import DataShape
from rsctl.catalog.predictions import PREDICTIONS
from rsctl.catalog.recipe import Recipe
from rsctl.config.identity import completed
from rsctl.config.permutation import permutation
from rsctl.errors import InputError
from rsctl.store.layout import Run
from rsctl.store.task_context import Stopped, TaskContext


def main(work: TaskContext) -> None:
    """Train the model of this run and publish it; returns at once if it is there."""
    run, spec = work.run, work.run.train_spec
    if run.model_file.exists():
        return
    if spec.file:
        import_checkpoint.take(work)
        return
    advice = "Take a smaller one (it is another training), more processes, or devices with more memory; the last checkpoint is kept."
    with sized_by("training.batch_size", spec.recipe.batch_size, advice):
        _train(work)


def _train(work: TaskContext) -> None:
    spec = work.run.train_spec
    configure(spec.precision, int(work.launch["threads"]))
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(), mixed_precision="bf16" if spec.precision == "bf16" else "no"
    )
    device, first = accelerator.device, accelerator.is_main_process

    # Data: positions of the training split, without those held out for tuning.
    dataset = find("data set", spec.dataset, known_datasets())
    images = load(spec.dataset, work.launch["dataset_parameters"], "train", work.data_root)
    require_planned(images, spec.dataset, spec.data)
    kept = split_train(len(images), spec.holdout)[0] if spec.holdout else range(len(images))
    rows = torch.as_tensor(kept)
    images = images.to(device)

    # Model, drawn on the CPU so that its first weights don't depend on the device.
    architecture = completed(find("model", spec.model, known_models()).parameters, spec.model_parameters)

    recipe = spec.recipe
    shown = untouched(images.shape.channels) if recipe.normalisation == "none" else None
    # Weights that are taken over go on seeing images as they did.
    shown = normalisation_of(load_parent(work, "start", images.shape)).values() if spec.start else shown

    def build(purpose: str) -> nn.Sequential:
        torch.manual_seed(hash32(spec.seed, purpose))
        return build_model(spec.model, architecture, dataset=dataset, shape=images.shape, normalisation=shown)

    model = build("weights").to(device).to(memory_format=torch.channels_last)
    if accelerator.num_processes > 1 and device.type == "cuda":
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # which a CPU doesn't have
    declared = find("method", spec.method, {**known_methods(), PREDICTIONS.name: PREDICTIONS})
    method = importlib.import_module(declared.module)
    hyperparameters = completed(declared.parameters, spec.hyperparameters)
    optimizer = make_optimizer(recipe, model)
    step_images = step_size(recipe, hyperparameters)
    batches = Batches(len(rows), step_images, spec.seed, accelerator.num_processes, least_images(model))
    total = recipe.epochs * batches.per_epoch
    state = TrainingState(
        spec.sigma, hyperparameters, recipe.label_smoothing, spec.seed, device, images, total,
        build=build,
        load=lambda role: load_parent(work, role, images.shape).to(device).to(memory_format=torch.channels_last),
        sigma_of=lambda role: parent(work, role).train_spec.sigma,
        sum=lambda tensor: accelerator.reduce(tensor, "sum"),
        predictions=lambda: known_predictions(work.run, images),
        optimizer=optimizer,
        process=accelerator.process_index,
        processes=accelerator.num_processes,
        exponent=spec.exponent, exponent_warmup=recipe.exponent_warmup,
        law=spec.noise,
    )  # fmt: skip

    state.step = step = resume(work, model, state)
    if step == 0 and spec.start:
        model.load_state_dict(state.load("start").state_dict())

    def snapshot_or_stop() -> None:
        """Stop between two steps if requested, all processes together; save a snapshot when due."""
        stopping = agreed_stop(work, accelerator)
        if stopping or (first and work.snapshot_due()):
            metrics.write(step, optimizer.param_groups[0]["lr"])
            if first:
                save_checkpoint(work, model, state, step)
        if stopping:
            raise Stopped(stopping)

    # A loss may run a forward without gradients first: a cached cast of the weights would then have none either.
    arithmetic = AutocastKwargs(cache_enabled=False)
    metrics = Metrics(work, first, step, batches.per_epoch, batches.batch_size)
    if hasattr(method, "prepare"):
        with accelerator.autocast(arithmetic):
            for done in method.prepare(model, state):
                if declared is PREDICTIONS:
                    work.progress(done, len(images), "images", device=device_name(device))
                snapshot_or_stop()
    if declared is PREDICTIONS:
        work.progress(len(images), len(images), "images", force=True, device=device_name(device))
        accelerator.wait_for_everyone()
        if first:
            publish_predictions(work, state.get("soft", SoftPredictions).shares, images)
        accelerator.end_training()
        return
    model.train()
    about = {
        "epochs": recipe.epochs,
        "device": device_name(device),
        "images_per_step": min(step_images, len(rows)),
        "processes": accelerator.num_processes,
        "batch_statistics": batch_statistics(model, accelerator.num_processes),
    }
    print(*(f"{key} {value}" for key, value in about.items()), sep="; ", flush=True)
    # Augmented here in batches, unless the processes that decoded the files have cropped them.
    kind = dataset.augmentation if recipe.augment and not images.crops else "none"

    def mine() -> Iterator[Tensor]:
        """Positions in the training split of this process's part of each step's batch."""
        for batch in batches.since(step, total):
            yield rows[batch[batches.share(len(batch), accelerator.process_index)]]

    positions, ahead = tee(mine())  # files are decoded some steps ahead
    stream = images.stream(
        ahead, hash32(spec.seed, "crops"), first_step=step, augment=recipe.augment, mirror=recipe.mirror, workers=work.launch.get("workers")
    )  # fmt: skip
    for state.rows, (pixels, y) in zip(positions, stream, strict=True):
        pixels, y = to_device(pixels, device), to_device(y, device)
        size = batches.size(step)
        state.step, state.epoch = step, step / batches.per_epoch
        state.mine = batches.share(size, accelerator.process_index)
        state.batch = (size, *pixels.shape[1:])
        x = (crop(pixels, kind, state, recipe).float() / 255).contiguous(memory_format=torch.channels_last)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, step, batches.per_epoch)
        state.x = x
        with accelerator.autocast(arithmetic):
            value, logits = method.loss(model, x, y, state)
        # Weighted so that the sum over processes is the mean over all images of the batch.
        (value * state.share(y)).backward()
        add_up_gradients(model, accelerator)
        if recipe.gradient_clip:
            nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        metrics.add(value.detach(), logits.detach(), y, size)
        work.progress(step, total, "steps", epoch=round(step / batches.per_epoch, 2), **about)
        if metrics.due():
            metrics.write(step, optimizer.param_groups[0]["lr"])
        snapshot_or_stop()
    metrics.write(step, optimizer.param_groups[0]["lr"] if step else 0.0)
    work.progress(step, total, "steps", force=True, epoch=recipe.epochs, **about)
    accelerator.wait_for_everyone()
    if first:
        say_how_it_ended(work, metrics, images.shape.classes)
        publish_model(work, model, images)
    accelerator.end_training()


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
        order, shown = torch.empty(0), -1
        for number in range(step, total):
            epoch, within = divmod(number, self.per_epoch)
            if epoch != shown:
                order, shown = torch.from_numpy(permutation(self.count, self.seed, f"epoch {epoch}")), epoch
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


def parent(work: TaskContext, role: str) -> Run:
    """The run that this one starts from (`start`) or learns from (`teacher`)."""
    return work.run.store.model(work.run.train_spec.parents[role].run)


def load_parent(work: TaskContext, role: str, shape: DataShape) -> nn.Sequential:
    """Model of that run, frozen, in eval mode."""
    expected = work.run.train_spec.parents[role].hash
    model, _ = load_trained(parent(work, role).model_file, expected, shape)
    return model.requires_grad_(False)


def add_up_gradients(model: nn.Module, accelerator: Accelerator) -> None:
    """Sum the gradients over all processes, in one message.

    Not left to DistributedDataParallel: it expects one forward pass per step, and a method may attack the
    model, or look at it several times, before its backward pass.
    """
    if accelerator.num_processes == 1:
        return
    parameters = [p for p in model.parameters() if p.requires_grad]
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    flat = accelerator.reduce(torch.cat([gradient.reshape(-1) for gradient in gradients]), "sum")
    for parameter, part in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
        parameter.grad = part.view_as(parameter)


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


def agreed_stop(work: TaskContext, accelerator: Accelerator) -> str:
    """Reason for all processes to stop now, or empty: one that stopped alone would leave the others waiting for ever."""
    reason = work.stopping()
    if accelerator.num_processes == 1:
        return reason
    asked = accelerator.reduce(torch.tensor(float(bool(reason)), device=accelerator.device), "sum")
    return (reason or "another process of this training received a stop request") if asked.item() else ""
