"""The common start of the tasks that go through the training split: processes, images, network, state and last checkpoint."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from accelerate import Accelerator, AutocastKwargs
from torch import nn

from jobs.data import load, require_planned
from jobs.models import build_model
from jobs.models.load import load_trained
from jobs.models.normalize import normalisation_of, untouched
from jobs.precision import configure
from jobs.predictions import known_predictions
from jobs.random import hash32
from jobs.state import TrainingState
from jobs.training.checkpoint import resume, save_checkpoint
from jobs.training.metrics import Metrics
from jobs.training.optimizers import make_optimizer
from rsctl.catalog import find, known_datasets, known_models
from rsctl.catalog.declare import Parameters
from rsctl.config.identity import completed
from rsctl.store.layout import Run
from rsctl.store.task_context import Stopped, TaskContext


class Session:
    """One process of a task, with its network, optimiser and state."""

    def __init__(self, work: TaskContext, parameters: type[Parameters]) -> None:
        spec = work.run.train_spec
        configure(spec.precision, int(work.launch["threads"]))
        self.work, self.spec = work, spec
        self.accelerator = Accelerator(
            cpu=not torch.cuda.is_available(), mixed_precision="bf16" if spec.precision == "bf16" else "no"
        )
        self.device, self.is_first = self.accelerator.device, self.accelerator.is_main_process
        self.dataset = find("data set", spec.dataset, known_datasets())
        images = load(spec.dataset, work.launch["dataset_parameters"], "train", work.data_root)
        require_planned(images, spec.dataset, spec.data)
        self.images = images.to(self.device)
        self.architecture = completed(
            find("model", spec.model, known_models()).parameters, spec.model_parameters
        )
        channels = images.shape.channels
        self.normalisation = untouched(channels) if spec.recipe.normalisation == "none" else None
        if spec.start:  # weights that are taken over go on seeing images as they did
            self.normalisation = normalisation_of(self.load("start")).values()
        self.model = self._placed(self.build("weights"))
        if self.accelerator.num_processes > 1 and self.device.type == "cuda":
            self.model = nn.SyncBatchNorm.convert_sync_batchnorm(self.model)  # which a CPU doesn't have
        self.optimizer = make_optimizer(spec.recipe, self.model)
        self.state = TrainingState(
            spec.sigma, completed(parameters, spec.hyperparameters), spec.recipe.label_smoothing, spec.seed, self.device, self.images,
            total_steps=0,
            build=self.build,
            load=lambda role: self._placed(self.load(role)),
            sigma_of=lambda role: self.parent(role).train_spec.sigma,
            sum=lambda tensor: self.accelerator.reduce(tensor, "sum"),
            predictions=lambda: known_predictions(work.run, self.images),
            optimizer=self.optimizer,
            process=self.accelerator.process_index,
            processes=self.accelerator.num_processes,
            exponent=spec.exponent, exponent_warmup=spec.recipe.exponent_warmup,
            law=spec.noise,
        )  # fmt: skip

    def build(self, purpose: str) -> nn.Sequential:
        """A new network, drawn on the CPU so that its first weights don't depend on the device."""
        torch.manual_seed(hash32(self.spec.seed, purpose))
        return build_model(
            self.spec.model,
            self.architecture,
            dataset=self.dataset,
            shape=self.images.shape,
            normalisation=self.normalisation,
        )

    def parent(self, role: str) -> Run:
        """The run that this one starts from (`start`) or learns from (`teacher`)."""
        return self.work.run.store.model(self.spec.parents[role].run)

    def load(self, role: str) -> nn.Sequential:
        """Model of that run, frozen, in eval mode."""
        model, _ = load_trained(self.parent(role).model_file, self.spec.parents[role].hash, self.images.shape)
        return model.requires_grad_(False)

    def _placed(self, model: nn.Sequential) -> nn.Sequential:
        return model.to(self.device).to(memory_format=torch.channels_last)

    def resume(self) -> int:
        """Load the last checkpoint, if any; returns the step to resume at."""
        self.state.step = resume(self.work, self.model, self.state)
        return self.state.step

    def autocast(self) -> AbstractContextManager[None]:
        """The precision of forward passes. A loss may run one without gradients first: a cached cast of the weights would then have
        none either."""
        context: AbstractContextManager[None] = self.accelerator.autocast(AutocastKwargs(cache_enabled=False))
        return context

    def save_or_stop(self, step: int, metrics: Metrics | None = None) -> None:
        """Stop between two steps if requested, all processes together; save a checkpoint when due."""
        stopping = self._agreed_stop()
        if stopping or (self.is_first and self.work.snapshot_due()):
            if metrics:
                metrics.write(step, self.optimizer.param_groups[0]["lr"])
            if self.is_first:
                save_checkpoint(self.work, self.model, self.state, step)
        if stopping:
            raise Stopped(stopping)

    def _agreed_stop(self) -> str:
        """Reason for all processes to stop now, or empty: one that stopped alone would leave the others waiting for ever."""
        reason = self.work.stopping()
        if self.accelerator.num_processes == 1:
            return reason
        requested = self.accelerator.reduce(torch.tensor(float(bool(reason)), device=self.device), "sum")
        return (
            (reason or "another process of this training received a stop request") if requested.item() else ""
        )

    def add_up_gradients(self) -> None:
        """Sum the gradients over all processes, in one message.

        Not left to DistributedDataParallel: it expects one forward pass per step, and a method may attack the
        model, or run it several times, before its backward pass.
        """
        if self.accelerator.num_processes == 1:
            return
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = self.accelerator.reduce(torch.cat([gradient.reshape(-1) for gradient in gradients]), "sum")
        for parameter, part in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
            parameter.grad = part.view_as(parameter)
