"""A published `model.pt` as the function f that is certified."""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from jobs.models import build_model
from jobs.models.compiled import compiled, compiler_version
from jobs.models.fused import available, fused
from jobs.models.library import releases_in
from jobs.precision import device_name, float32_flags
from jobs.tensors import load_tensors
from rsctl.catalog import find, known_datasets, known_models
from rsctl.catalog.declare import DataShape
from rsctl.config.identity import completed
from rsctl.config.runs import TrainSpec
from rsctl.errors import InputError, RefusedError, UserError

REVISION = 3
"""Revision of how f is executed and counted. Raise it when the same checkpoint would count differently."""


def load_trained(file: Path, model_hash: str, shape: DataShape) -> tuple[nn.Sequential, str]:
    """The model of a training run in eval mode on the CPU, and the SHA-256 (hex) of its file.

    Raises InputError if the file can't be read, RefusedError if it isn't the model that `model_hash` names or
    its classes aren't those of the data set.
    """
    try:
        data = file.read_bytes()
    except FileNotFoundError as error:
        raise InputError(
            f"{file}: doesn't exist. The training that writes this model must finish first."
        ) from error
    try:
        stored = load_tensors(data)
        spec = TrainSpec.model_validate(stored["spec"])
    except UserError:
        raise
    except Exception as error:
        raise InputError(
            f"{file}: can't be read as a model ({error}). Move it away and submit again to train anew."
        ) from error
    if "state_dict" not in stored:
        raise InputError(f"{file}: holds smoothed predictions, not a network.")
    if spec.hash != model_hash:
        raise RefusedError(f"{file}: isn't the model that this run was planned for. Nothing was sampled.")
    if stored["classes"] != shape.classes:
        raise RefusedError(
            f"{file}: has {stored['classes']} classes, the data set {shape.classes}. Nothing was sampled."
        )
    dataset = find("data set", spec.dataset, known_datasets())
    architecture = completed(find("model", spec.model, known_models()).parameters, spec.model_parameters)
    model = build_model(
        spec.model, architecture, dataset=dataset, shape=shape, normalisation=stored.get("normalisation")
    )
    model.load_state_dict(stored["state_dict"])
    return model.eval(), hashlib.sha256(data).hexdigest()


class Executed(nn.Module):
    """f as executed: float32 images in, float32 logits out; the cast to a lower precision is inside.

    Batch normalisation is folded into the convolutions where the network can be traced, and memory is laid
    out channels-last: both change speed, and the last bits; both are recorded with the counts. With `example`,
    images (B, C, H, W), it is for inference on a CPU alone, and convolutions are fused with what follows them
    (`jobs.models.fused`) where that is possible: recorded likewise.
    """

    def __init__(self, model: nn.Sequential, precision: str, *, example: Tensor | None = None) -> None:
        super().__init__()
        self.precision, self.lowered = precision, precision == "bf16"
        # The first layer is the normalisation: it stays in float32, so that only f's own arithmetic is lowered.
        self.normalise, network = model[0], model[1].eval()
        # Tracing below loses the library's own class.
        self.libraries = releases_in(network)
        self.folded = any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())
        if self.folded:
            try:
                network = fuse(network)
            except Exception:  # whatever a forward pass that branches on values raises
                self.folded = False
        self.network = network.to(memory_format=torch.channels_last)
        if self.lowered:
            self.network = self.network.to(torch.bfloat16)
        dtype = torch.bfloat16 if self.lowered else torch.float32
        faster = None
        if example is not None and example.device.type == "cpu" and available(dtype):
            faster = fused(self.network, torch.zeros_like(example, dtype=dtype))
        self.fused = faster is not None
        self.network = faster or self.network
        self.compile_mode = "off"
        self._run: Callable[[Tensor], Tensor] = self._as_it_is

    def compile_for(self, mode: str, tile: Tensor) -> float:
        """Switch to compiled code, for tiles like this one alone (`jobs.models.compiled`); returns the seconds it took."""
        float32_flags(self.precision)
        self._run, seconds = compiled(self._as_it_is, mode, tile)
        self.compile_mode = mode
        return seconds

    def described(self, device: torch.device, tile: int, block: int) -> dict[str, Any]:
        """Everything besides the checkpoint that decides a logit's last bit; kept with the counts."""
        gpu = device.type == "cuda"
        return {
            "revision": REVISION,
            "precision": self.precision,
            "tile": tile,
            "block": block,
            "device": device_name(device),
            "instruction_set": torch.backends.cpu.get_cpu_capability(),
            "machine": platform.machine(),
            "torch": torch.__version__,
            "cuda": str(torch.version.cuda) if gpu else "",
            "cudnn": str(torch.backends.cudnn.version()) if gpu else "",
            "tf32": self.precision == "tf32",
            "folded": self.folded,
            "fused": self.fused,
            "compiled": self.compile_mode,
            "compiler": "" if self.compile_mode == "off" else compiler_version(device),
            "memory_format": "channels_last",
            **({"libraries": self.libraries} if self.libraries else {}),
        }

    def forward(self, x: Tensor) -> Tensor:
        # The flags are the process's, and another network in it may have another precision.
        float32_flags(self.precision)
        return self._run(x)

    def _as_it_is(self, x: Tensor) -> Tensor:
        x = self.normalise(x)
        logits: Tensor = self.network(x.to(torch.bfloat16) if self.lowered else x)
        return logits.float() if self.lowered else logits


def to_sample(
    model: nn.Sequential, precision: str, compile_mode: str, tile: int, shape: DataShape, device: torch.device
) -> Executed:
    """The function to sample: fused where this CPU can, or compiled for (tile, C, H, W).

    Raises what `jobs.models.compiled.compiled` raises.
    """
    # Laid out as the sampler lays out its tiles.
    rows = torch.zeros((tile, shape.channels, shape.size, shape.size), device=device)
    rows = rows.to(memory_format=torch.channels_last)
    executed = Executed(model, precision, example=rows[:1] if compile_mode == "off" else None).to(device)
    if compile_mode != "off":
        print(f"compiled in {executed.compile_for(compile_mode, rows):.0f} s", file=sys.stderr, flush=True)
    return executed
