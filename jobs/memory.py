"""What this process does with memory that it has given back."""

from __future__ import annotations

import ctypes

TRIM_THRESHOLD, MMAP_MAX = -1, -4
"""Numbers of glibc's <malloc.h>."""
MOST = 2**31 - 1


def keep_freed() -> None:
    """Use freed memory again instead of returning it to the system, where the C library is glibc; others do as they do.

    A layer's result is some ten megabytes, and a system that takes it back clears it page by page for the next layer:
    that was a tenth of a training step of ResNet-20 on a CPU.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(MMAP_MAX, 0)
        mallopt(TRIM_THRESHOLD, MOST)
