"""One training step without its loop: a method's loss, backward and optimiser step on noises that are there already."""

from __future__ import annotations

import importlib
import time
from typing import Any

import torch
from accelerate import Accelerator, AutocastKwargs
from torch import Tensor, nn

from jobs.data.images import ArrayImages
from jobs.models import build_model
from jobs.state import TrainingState
from rsctl.catalog import find, known_datasets, known_methods
from rsctl.catalog.declare import DataShape


class Drawn(TrainingState):
    """A step whose noises were drawn beforehand: what they cost belongs to the loop."""

    def noise(self, draw: int = 0) -> Tensor:
        drawn = self.__dict__.setdefault("drawn", {})
        if draw not in drawn:
            drawn[draw] = super().noise(draw)
        return drawn[draw]


class BareStep:
    """A method's step for images of one shape."""

    def __init__(
        self,
        method: str,
        hyperparameters: dict[str, Any],
        model: str,
        shape: DataShape,
        batch: int,
        precision: str,
    ) -> None:
        self.accelerator = Accelerator(
            cpu=not torch.cuda.is_available(), mixed_precision="bf16" if precision == "bf16" else "no"
        )
        device = self.accelerator.device
        dataset = known_datasets()["cifar10" if shape.channels == 3 else "digits"]
        declared = find("method", method, known_methods())
        self.module = importlib.import_module(declared.module)

        def build(_: str) -> nn.Module:
            network = build_model(model, {}, dataset=dataset, shape=shape)
            return network.to(device, memory_format=torch.channels_last)

        self.model = build("").train()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4)
        sides = (shape.channels, shape.size, shape.size)
        pixels, labels = torch.randint(256, (batch, *sides)).byte(), torch.randint(shape.classes, (batch,))
        images = ArrayImages(pixels, labels, shape, "random")
        self.x = (pixels.float() / 255).to(device).contiguous(memory_format=torch.channels_last)
        self.y = labels.to(device)
        self.state = Drawn(
            0.25, declared.parameters(**hyperparameters).model_dump(), 0.0, 0, device, images, 1 << 40,
            build=build, load=lambda _: build("").eval().requires_grad_(False), sigma_of=lambda _: 0.25,
            sum=lambda tensor: tensor,
            optimizer=self.optimizer,
        )  # fmt: skip
        self.state.batch, self.state.rows = (batch, *sides), torch.arange(batch)
        self.state.epoch = 1000.0  # past every warm-up
        if hasattr(self.module, "prepare"):
            with self.accelerator.autocast(AutocastKwargs(cache_enabled=False)):
                for _ in self.module.prepare(self.model, self.state):
                    pass

    def __call__(self) -> float:
        """CPU seconds of one step on a CPU; on a GPU seconds, with the device waited for."""
        clock = time.perf_counter if self.state.device.type == "cuda" else time.process_time
        started = clock()
        self.state.step += 1
        with self.accelerator.autocast(AutocastKwargs(cache_enabled=False)):
            value, _ = self.module.loss(self.model, self.x, self.y, self.state)
        value.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.state.device.type == "cuda":
            torch.cuda.synchronize()
        return clock() - started
