"""DDN (Rony et al. 2019): the direction follows the gradient, the norm the success of the last step."""

from __future__ import annotations

from torch import Tensor

from jobs.adversary import ddn
from jobs.attacks import Found, Nearest, Prepared, looking


class DDN(Prepared):
    def search(self, images: Tensor, labels: Tensor) -> Found:
        p = self.parameters
        nearest = Nearest(images, labels, norm=self.norm, topk=p["topk"])
        step = looking(self.classify, nearest, p)
        ddn(images, step, p["start"], p["steps"], gamma=p["gamma"], levels=p["levels"])
        return nearest.found


prepare = DDN
