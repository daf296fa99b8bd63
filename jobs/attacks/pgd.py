"""Projected gradient descent (Madry et al. 2018) in balls that shrink towards the nearest adversarial image.

One run says whether an image is found within a radius. For the smallest such radius each image's interval is halved:
a run that finds one at distance d leaves (largest radius that failed, d), one that doesn't leaves (its radius, d).
Every image on the way that fools counts, wherever it lies in the ball. That a run fails proves nothing: the distance is
that of the nearest image found, an upper bound on the smallest there is.
"""

from __future__ import annotations

import torch
from torch import Tensor

from jobs.adversary import pgd
from jobs.attacks import Found, Nearest, Prepared, looking
from jobs.losses import unit


class PGD(Prepared):
    def search(self, images: Tensor, labels: Tensor) -> Found:
        p = self.parameters
        nearest = Nearest(images, labels, norm=self.norm, topk=p["topk"])
        step = looking(self.classify, nearest, p)
        radius = torch.full_like(nearest.found.distance, p["epsilon"])
        failed = torch.zeros_like(radius)
        for _ in range(p["searches"]):
            ball = radius.float()[:, None, None, None]
            for restart in range(p["restarts"]):
                start = self._inside(ball) if restart else None
                last = pgd(images, lambda at: step(at)[1], ball, p["steps"], norm=self.norm, start=start)
                step(last)
            failed = torch.where(nearest.found.distance <= radius, failed, radius)
            # Where nothing was found at all the ball stays at `epsilon`, for another try with other noise.
            radius = ((failed + nearest.found.distance) / 2).clamp(max=p["epsilon"])
        return nearest.found

    def _inside(self, ball: Tensor) -> Tensor:
        """A random point of each ball: any direction, a norm that is uniform up to the radius."""
        direction = self.draw()
        if self.norm == "linf":
            return ball * torch.erf(direction / 2**0.5)
        share: Tensor = torch.special.ndtr(self.draw().flatten(1)[:, 0])[:, None, None, None]
        return ball * share * unit(direction)


prepare = PGD
