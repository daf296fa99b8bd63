"""f through torch's compiler: generated kernels, and on request a CUDA graph, for tiles of one shape.

Nothing is chosen by a stopwatch: kernels that are tuned while they run may sum in another order in the next process,
which would be another function. On a CPU oneDNN's fused convolutions (`jobs.models.fused`) are as fast or faster.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rsctl.errors import RefusedError, UnavailableError

Function = Callable[[Tensor], Tensor]


def compiled(function: Function, mode: str, tile: Tensor) -> tuple[Function, float]:
    """`function` as compiled code for tensors like `tile` (B, C, H, W), and the seconds that took.

    `mode` is "default", or "graphs": then a call replays a CUDA graph. For tensors made in inference mode alone; with
    those of another shape or layout it raises RuntimeError. Raises RefusedError where the mode or the network doesn't
    allow it, UnavailableError where a compiler is missing.
    """
    gpu = tile.device.type == "cuda"
    if mode == "graphs" and not gpu:
        raise RefusedError(
            "certification.compile = 'graphs' records CUDA graphs, and this task has no GPU. "
            "Use 'default' or 'off', or run it where there is one."
        )
    options: dict[str, Any] = {"deterministic": True}
    if mode == "graphs":
        # Without the second one a network that can't be recorded would silently run as it is.
        options |= {"triton.cudagraphs": True, "triton.cudagraph_or_error": True}
    from torch._dynamo.exc import Unsupported  # a second of its own

    started = time.monotonic()
    try:
        compiler_version(tile.device)
        # This process alone: the compiler's own workers would outlive a killed task.
        with torch._inductor.config.patch(compile_threads=1), torch.inference_mode():
            result: Function = torch.compile(function, fullgraph=True, dynamic=False, options=options)
            like = tile.clone()  # made in inference mode, as the tiles that follow are
            for _ in range(3 if mode == "graphs" else 1):  # a graph is recorded by the second call
                result(like)
        if gpu:
            torch.cuda.synchronize()
    except torch.OutOfMemoryError:
        raise
    except Unsupported as error:
        raise RefusedError(
            f"certification.compile = '{mode}': the network can't be compiled in one piece ({_first_line(error)}). Leave compile out."
        ) from error
    except Exception as error:
        needs = "a C compiler and triton" if gpu else "a C++ compiler (g++, or the one that CXX names)"
        raise UnavailableError(
            f"certification.compile = '{mode}': torch's compiler fails here ({_first_line(error)}). It needs {needs}. "
            "Install what is missing, or leave compile out."
        ) from error

    def run(x: Tensor) -> Tensor:
        # Compiled anew, for another shape or another setting, it would be another function.
        with torch.compiler.set_stance("fail_on_recompile"):
            logits = result(x)
        # The next replay of a graph overwrites what the last one returned.
        return logits.clone() if mode == "graphs" else logits

    return run, time.monotonic() - started


def compiler_version(device: torch.device) -> str:
    """Version of the compiler behind generated code, which decides a logit's last bit; raises where there is none."""
    if device.type == "cuda":
        import triton

        return f"triton {triton.__version__}"
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.cpu_vec_isa import pick_vec_isa

    version = subprocess.run(
        [get_cpp_compiler(), "--version"], capture_output=True, text=True, check=True
    ).stdout
    return f"{version.splitlines()[0]}, {pick_vec_isa()}, {torch.get_num_threads()} threads"


def _first_line(error: Exception) -> str:
    """The first line of what went wrong that isn't empty."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)[:200]
