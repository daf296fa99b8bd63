"""A base classifier as a short list of operations (`jobs.verifiers.operations`); `jobs.verifiers.tracing` makes it."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from jobs.verifiers.operations import Affine, DistanceOp, Input, Op, Relu, Reshape
from rsctl.errors import InputError

SUPPORTED = (
    "convolution, linear, batch normalisation, ReLU, average pooling (to sizes that divide the image), flatten, "
    "dropout, shortcuts added, and by some verifiers ℓ∞-distance layers and MaxMin"
)


@dataclass
class Network:
    """Operations in the order they are computed: the first is the image, the last gives the logits."""

    ops: list[Op]
    dtype: torch.dtype = torch.float32
    never_overflows: bool | None = None
    """True if no image of [0, 1] pixels comes near float32's largest number anywhere; None until `ibp.never_overflows` has checked."""
    users: dict[int, list[int]] = field(init=False)

    def __post_init__(self) -> None:
        self.users = {number: [] for number in range(len(self.ops))}
        for number, op in enumerate(self.ops):
            for source in op.inputs:
                self.users[source].append(number)

    @property
    def device(self) -> torch.device:
        return next(
            (op.bias.device for op in self.ops if isinstance(op, (Affine, DistanceOp))), torch.device("cpu")
        )

    @property
    def relus(self) -> list[int]:
        """Numbers of the ReLU operations; what goes into each is the result of `ops[number].inputs[0]`."""
        return [number for number, op in enumerate(self.ops) if isinstance(op, Relu)]

    def positive(self, number: int) -> bool:
        """True for results that are 0 or more, as is every bound of them: pixels, and outputs of a ReLU."""
        op = self.ops[number]
        return isinstance(op, (Input, Relu)) or (isinstance(op, Reshape) and self.positive(op.inputs[0]))

    @property
    def classes(self) -> int:
        return self.ops[-1].shape[0]

    def to(self, dtype: torch.dtype) -> Network:
        return Network([op.to(dtype) for op in self.ops], dtype, self.never_overflows)

    def results(self, x: Tensor) -> list[Tensor]:
        """Results of every operation for images (N, C, H, W) in [0, 1]; the last are the logits (N, classes)."""
        found = [x.to(self.dtype)]
        for op in self.ops[1:]:
            found.append(op.apply(*(found[source] for source in op.inputs)))
        return found

    def __call__(self, x: Tensor) -> Tensor:
        """Logits (N, classes)."""
        return self.results(x)[-1]


def unsupported(what: str) -> InputError:
    return InputError(f"model: {what}, for which no bound is implemented. Supported: {SUPPORTED}.")
