"""Trains one base classifier: a whole run, top to bottom.

Everything random is a function of (seed, purpose, step), so a training that was killed and resumed takes the
very steps an uninterrupted one takes: bit for bit on a CPU with the same number of threads.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import math
import time
from collections.abc import Iterator
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from jobs.data import Images, augment, load, split_train
from jobs.models import build_model
from jobs.precision import configure, device_name
from jobs.random import generator, hash32
from jobs.schedule import learning_rate
from jobs.state import TrainingState
from rsctl.catalog import find, known_datasets, known_methods, known_models
from rsctl.catalog.recipe import Recipe
from rsctl.errors import InputError
from rsctl.spec.identity import completed
from rsctl.spec.permutation import permutation
from rsctl.store.files import append, explained, publish, replace
from rsctl.store.work import Stopped, Work

METRICS_EVERY = 1.0
"""Seconds between two records of the training curve."""


def main(work: Work) -> None:
    """Train the model of this run and publish it; returns at once if it is there."""
    run, spec = work.run, work.run.train_spec
    if run.model_file.exists():
        return
    configure(spec.precision, int(work.launch["threads"]))
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(), mixed_precision="bf16" if spec.precision == "bf16" else "no"
    )
    device, first = accelerator.device, accelerator.is_main_process

    # Data: positions of the training split, without those held out for tuning.
    dataset = find("data set", spec.dataset, known_datasets())
    images = load(spec.dataset, work.launch["dataset_parameters"], "train", work.data_root)
    if spec.data and images.shape.fingerprint != spec.data:
        raise InputError(
            f"{spec.dataset}: the files differ from those this run was planned for. Restore them, or submit again to plan anew."
        )
    rows = split_train(len(images), spec.holdout)[0] if spec.holdout else range(len(images))
    rows = torch.as_tensor(rows)
    images = images.to(device)

    # Model, drawn on the CPU so that its first weights don't depend on the device.
    torch.manual_seed(hash32(spec.seed, "weights"))
    architecture = completed(find("model", spec.model, known_models()).parameters, spec.model_parameters)
    model = build_model(spec.model, architecture, dataset=dataset, shape=images.shape)
    recipe = spec.recipe
    declared = find("method", spec.method, known_methods())
    method = importlib.import_module(declared.module)
    optimizer = make_optimizer(recipe, model)
    model, optimizer = accelerator.prepare(model.to(device, memory_format=torch.channels_last), optimizer)
    state = TrainingState(
        spec.sigma,
        completed(declared.parameters, spec.hyperparameters),
        recipe.label_smoothing,
        spec.seed,
        device,
    )
    batches = Batches(len(rows), recipe.batch_size, spec.seed, accelerator.num_processes)
    total = recipe.epochs * batches.per_epoch

    step = resume(work, accelerator.unwrap_model(model), optimizer, device)
    metrics = Metrics(work, first, step, batches.per_epoch)
    model.train()
    # In-memory sets are augmented here in batches; files were cropped by the processes that decoded them.
    kind = dataset.augmentation if recipe.augment and images.pixels is not None else "none"
    stream = images.stream(
        (rows[batch[batches.share(len(batch), accelerator.process_index)]] for batch in batches.since(step, total)),
        hash32(spec.seed, "crops"), first_step=step, augment=recipe.augment, workers=work.launch.get("workers"),
    )  # fmt: skip
    for pixels, y in stream:
        pixels, y = pixels.to(device), y.to(device)
        size = batches.size(step)
        state.step, state.epoch = step, step / batches.per_epoch
        state.mine = batches.share(size, accelerator.process_index)
        state.batch = (size, *pixels.shape[1:])
        x = (crop(pixels, kind, state).float() / 255).contiguous(memory_format=torch.channels_last)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, step, batches.per_epoch)
        with accelerator.autocast():
            value, logits = method.loss(model, x, y, state)
        # Processes average their gradients; weighting makes it the mean over all images of the batch.
        accelerator.backward(value * (len(y) * accelerator.num_processes / size))
        if recipe.gradient_clip:
            accelerator.clip_grad_norm_(model.parameters(), recipe.gradient_clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        metrics.add(value.detach(), logits.detach(), y, size)
        work.progress(
            step,
            total,
            "steps",
            epoch=round(step / batches.per_epoch, 2),
            epochs=recipe.epochs,
            device=device_name(device),
        )
        if metrics.due():
            metrics.write(step, optimizer.param_groups[0]["lr"])
        stopping = agreed_stop(work, accelerator)
        if stopping or (first and work.snapshot_due()):
            metrics.write(step, optimizer.param_groups[0]["lr"])
            if first:
                save_checkpoint(work, accelerator.unwrap_model(model), optimizer, step)
        if stopping:
            raise Stopped(stopping)
    metrics.write(step, optimizer.param_groups[0]["lr"] if step else 0.0)
    work.progress(
        step,
        total,
        "steps",
        force=True,
        epoch=recipe.epochs,
        epochs=recipe.epochs,
        device=device_name(device),
    )
    accelerator.wait_for_everyone()
    if first:
        publish_model(work, accelerator.unwrap_model(model), images)
    accelerator.end_training()


class Batches:
    """The order of images: a permutation per epoch, a function of the seed and the epoch alone."""

    def __init__(self, count: int, batch_size: int, seed: int, processes: int) -> None:
        if min(batch_size, count) < processes:
            raise InputError(
                f"training.batch_size: {batch_size} images (of {count}) can't be shared by {processes} processes; give each at least one."
            )
        self.count, self.batch_size, self.seed, self.processes = (
            count,
            min(batch_size, count),
            seed,
            processes,
        )
        # A last batch too small to give every process an image is left out.
        self.per_epoch = count // self.batch_size + (count % self.batch_size >= processes)

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


def make_optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    if recipe.optimizer == "adam":
        betas = (recipe.momentum, 0.999)
        return torch.optim.Adam(
            model.parameters(), lr=recipe.lr, betas=betas, weight_decay=recipe.weight_decay
        )
    return torch.optim.SGD(
        model.parameters(),
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
    )


def crop(pixels: Tensor, kind: str, state: TrainingState) -> Tensor:
    """Augment this process's part of the batch with draws made for the whole batch."""
    if kind == "none":
        return pixels
    draws = generator(state.device, state.seed, "crops", state.step)
    return augment(pixels, kind, draws, whole=state.batch[0], mine=state.mine)


def agreed_stop(work: Work, accelerator: Accelerator) -> str:
    """Why all processes stop now, or empty: one that stopped alone would leave the others waiting for ever."""
    reason = work.stopping()
    if accelerator.num_processes == 1:
        return reason
    asked = accelerator.reduce(torch.tensor(float(bool(reason)), device=accelerator.device), "sum")
    return (reason or "another process of this training was told to stop") if asked.item() else ""


class Metrics:
    """The training curve: means over the images since the last record. Synchronises with the device only there."""

    def __init__(self, work: Work, writes: bool, step: int, per_epoch: int) -> None:
        self.file = work.run.path / f"metrics.{work.claim.number}.jsonl"
        self.writes, self.per_epoch = writes, per_epoch
        if writes:
            with explained(self.file):
                self.file.touch()
        self._start()

    def _start(self) -> None:
        self.loss: Tensor | float = 0.0
        self.correct: Tensor | float = 0.0
        self.images = self.seen = 0
        self.since = time.monotonic()

    def add(self, value: Tensor, logits: Tensor, y: Tensor, size: int) -> None:
        """One step: `size` counts the images of all processes, the sums those of this one."""
        self.loss = self.loss + value * len(y)
        self.correct = self.correct + (logits.argmax(dim=1) == y).sum()
        self.images += len(y)
        self.seen += size

    def due(self) -> bool:
        return time.monotonic() - self.since > METRICS_EVERY

    def write(self, step: int, rate: float) -> None:
        """Record what gathered; raises InputError if the loss is no longer a number."""
        if not self.images:
            return
        loss, correct = float(self.loss) / self.images, float(self.correct) / self.images
        if not math.isfinite(loss):
            raise InputError(
                f"training diverged: the loss is {loss} at step {step}. Lower training.lr, add warmup_epochs or gradient_clip. "
                "The last good checkpoint is kept."
            )
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
        self._start()


def save_checkpoint(work: Work, model: nn.Module, optimizer: Any, step: int) -> None:
    """Everything a resumed training needs, replaced whole."""
    if work.superseded():
        return
    started = time.monotonic()
    state = {
        "spec_hash": work.run.spec.hash,
        "step": step,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "rng": torch.get_rng_state(),
        "rng_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    replace(work.run.checkpoint_file, _bytes(state))
    work.snapshot_written(time.monotonic() - started)


def resume(work: Work, model: nn.Module, optimizer: Any, device: torch.device) -> int:
    """Load the last checkpoint, if there is one; returns the step to go on with."""
    file = work.run.checkpoint_file
    if not file.exists():
        return 0
    try:
        state = torch.load(file, map_location=device, weights_only=True)
        same = state["spec_hash"] == work.run.spec.hash
    except Exception as error:
        raise InputError(f"{file}: can't be read ({error}). Move it away to train from the start.") from error
    if not same:
        raise InputError(f"{file}: belongs to another run. Move it away to train from the start.")
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["rng"].cpu())
    if torch.cuda.is_available() and state["rng_cuda"]:
        torch.cuda.set_rng_state_all([rng.cpu() for rng in state["rng_cuda"]])
    print(f"resumed at step {state['step']}", flush=True)
    return int(state["step"])


def publish_model(work: Work, model: nn.Module, images: Images) -> None:
    """Publish `model.pt`: the first copy wins, and no later one replaces it."""
    spec = work.run.train_spec
    weights = {
        name: value.detach().to("cpu", torch.float32 if value.is_floating_point() else value.dtype)
        for name, value in model.state_dict().items()
    }
    if not all(value.isfinite().all() for value in weights.values() if value.is_floating_point()):
        raise InputError(
            "training diverged: a weight is not a number. Lower training.lr. The last good checkpoint is kept."
        )
    data = _bytes(
        {
            "format": 1,
            "spec": spec.model_dump(mode="json"),
            "spec_hash": spec.hash,
            "classes": images.shape.classes,
            "data": images.fingerprint,
            "state_dict": weights,
        }
    )
    won = publish(work.run.model_file, data)
    print(
        f"model.pt {hashlib.sha256(data).hexdigest()}{'' if won else ' (another copy was first; that one stands)'}",
        flush=True,
    )
    if won:
        work.run.checkpoint_file.unlink(missing_ok=True)


def _bytes(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()
