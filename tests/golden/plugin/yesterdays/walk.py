"""An attack along random directions."""

import torch

from jobs.attacks import Nearest, looking


def prepare(classify, parameters, *, norm, draw):
    return Walk(classify, parameters, norm, draw)


class Walk:
    def __init__(self, classify, parameters, norm, draw):
        self.classify, self.parameters, self.norm, self.draw = classify, parameters, norm, draw

    def search(self, images, labels):
        nearest = Nearest(images, labels, norm=self.norm, topk=self.parameters["topk"])
        look = looking(self.classify, nearest, self.parameters)
        for step in range(self.parameters["steps"]):
            look(images + 0.5 * (step + 1) * self.draw())
        assert isinstance(nearest.found.distance, torch.Tensor)
        return nearest.found
