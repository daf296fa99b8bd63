"""malloc tuning and out-of-memory errors."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from rsctl.errors import UnavailableError

TRIM_THRESHOLD, MMAP_MAX = -1, -4
"""Numbers of glibc's <malloc.h>."""
MOST = 2**31 - 1
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "ALLOC_FAILED")
"""Texts of out-of-memory RuntimeErrors: CUDA's, those of torch's allocator for CPUs, cuBLAS's and cuDNN's."""


def keep_freed() -> None:
    """Use freed memory again instead of returning it to the system, where the C library is glibc; others do as they do.

    A layer's result is some ten megabytes, and a system that takes it back clears it page by page for the next layer:
    that was a tenth of a training step of ResNet-20 on a CPU.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(MMAP_MAX, 0)
        mallopt(TRIM_THRESHOLD, MOST)


def ran_out(error: BaseException) -> bool:
    """True for an out-of-memory error."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and any(said in str(error) for said in OUT_OF_MEMORY)
    )


@contextmanager
def sized_by(key: str, value: object, advice: str) -> Iterator[None]:
    """Turn an out-of-memory error within into an UnavailableError that names the key behind the size, its value and a remedy."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        said = next(line.strip() for line in f"{error}\n{type(error).__name__}".splitlines() if line.strip())
        raise UnavailableError(f"{key} = {value}: out of memory ({said[:200]}). {advice}") from error
