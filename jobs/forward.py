"""FLOPs and memory of networks: `python -m jobs.forward` reads a JSON list of networks and prints a list of figures (or null).

Tensors are fake, with shapes and types but no values and no memory. A network that branches on values runs for real.
"""

from __future__ import annotations

import json
import sys
import weakref
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from jobs.models import build_model
from rsctl.catalog import find, known_datasets
from rsctl.catalog.declare import DataShape
from rsctl.errors import UserError

FAKE, REAL = (64, 128), (2, 4)
"""Images of two passes, whose difference is the share of an image; many, so that activations outweigh gradients of weights."""
PRECISIONS = ("fp32", "bf16")


class Live(TorchDispatchMode):
    """Counts the bytes of living tensors that were created within it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.held: int = 0
        self.most: int = 0
        self.counted: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and (storage := tensor.untyped_storage()) not in self.counted:
                self.counted[storage] = size = storage.nbytes()
                self.held += size
                weakref.finalize(storage, self._freed, size)
        self.most = max(self.most, self.held)
        return result

    def _freed(self, size: int) -> None:
        self.held -= size


def measured(asked: dict[str, Any]) -> dict[str, float] | None:
    """FLOPs and bytes per image and the bytes of the weights; None for a network that can't be built from its name alone."""
    shape = DataShape(asked["channels"], asked["size"], asked["classes"], {})
    try:
        dataset = find("data set", asked["dataset"], known_datasets())
        model = build_model(asked["model"], asked["parameters"], dataset=dataset, shape=shape)
    except (UserError, RuntimeError, ValueError, TypeError):
        return None
    try:
        return _figures(model, shape, FakeTensorMode(allow_non_fake_inputs=True), FAKE)
    except Exception:  # whatever a plugin's network raises where tensors have no values
        pass
    try:
        return _figures(model, shape, nullcontext(), REAL)
    except (UserError, RuntimeError, ValueError, TypeError):
        return None


def _figures(
    model: nn.Module, shape: DataShape, mode: AbstractContextManager[Any], counts: tuple[int, int]
) -> dict[str, float]:
    fake = mode.from_tensor if isinstance(mode, FakeTensorMode) else torch.clone
    found: dict[str, float] = {}
    with mode:
        weights = {name: fake(one).detach() for name, one in (model.state_dict()).items()}
        for name, weight in model.named_parameters():
            weights[name].requires_grad_(weight.requires_grad)

        def passed(images: int, precision: str, *, training: bool) -> int:
            """Return the peak of bytes in a forward pass, with the backward pass if `training`."""
            model.train(training)
            lowered = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")
            with Live() as live, lowered, torch.set_grad_enabled(training):
                x = torch.zeros(images, shape.channels, shape.size, shape.size)
                x = x.contiguous(memory_format=torch.channels_last)
                logits = torch.func.functional_call(model, weights, (x,))
                if training:
                    logits.float().sum().backward()
            for one in weights.values():
                one.grad = None
            return int(live.most)

        for name, training in (("training", True), ("sampling", False)):
            for precision in PRECISIONS:
                few, many = (passed(images, precision, training=training) for images in counts)
                found[f"{name}_{precision}"] = max(0.0, (many - few) / (counts[1] - counts[0]))
        with FlopCounterMode(display=False) as counter:
            passed(counts[0], "fp32", training=False)
    found["flops"] = counter.get_total_flops() / counts[0]
    found["weights"] = float(sum(one.nbytes for one in model.state_dict().values()))
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps([measured(one) for one in json.load(sys.stdin)]))
