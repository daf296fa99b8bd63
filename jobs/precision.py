"""The arithmetic, set once and recorded: a certificate is for the function as executed."""

from __future__ import annotations

import os

import torch
from torch import Tensor

from jobs.memory import keep_freed


def configure(precision: str, threads: int) -> torch.device:
    """Set threads, float32 flags and the use of memory for this process; returns the device: the first visible GPU, else the CPU."""
    keep_freed()
    torch.set_num_threads(threads)
    float32_flags(precision)
    # cuDNN's search for the fastest algorithm may choose another one in the next process.
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    if not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device


def float32_flags(precision: str) -> None:
    """TF32 on or off, for everything that this process runs from now on."""
    tf32 = precision == "tf32"
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32


def at_least_float32(x: Tensor) -> Tensor:
    """A result of lowered precision in float32, before it is summed or exponentiated; float64 stays."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def in_full(like: Tensor) -> torch.autocast:
    """A context in which nothing is lowered, where a difference of large numbers counts, or a kernel takes one type."""
    return torch.autocast(like.device.type, enabled=False)


def device_name(device: torch.device) -> str:
    """Name of the device, recorded with speeds and counts: the GPU's model, or `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
