"""DDN (Rony et al. 2019): the direction follows the gradient, the norm the success of the last step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from jobs.adversary import ddn
from jobs.attacks import Classify, Found, Nearest, looking


def prepare(
    classify: Classify, parameters: Mapping[str, Any], *, norm: str, draw: Callable[[], Tensor]
) -> DDN:
    return DDN(classify, parameters, norm)


@dataclass(frozen=True)
class DDN:
    classify: Classify
    parameters: Mapping[str, Any]
    norm: str

    def search(self, images: Tensor, labels: Tensor) -> Found:
        p = self.parameters
        nearest = Nearest(images, labels, norm=self.norm, topk=p["topk"])
        step = looking(self.classify, nearest, p)
        ddn(images, step, p["start"], p["steps"], gamma=p["gamma"], levels=p["levels"])
        return nearest.found
