"""A verifier that proves the radius 0 of what is classified rightly."""

import math

import torch

from jobs.models.load import Executed
from jobs.verifiers import Verdicts


def prepare(model, parameters, *, shape, norm, radii, precision):
    return Nothing(Executed(model, precision))


class Nothing:
    batch = 4

    def __init__(self, executed):
        self.executed = executed

    def verify(self, images, labels):
        with torch.no_grad():
            predicted = self.executed(images).argmax(dim=1)
        radius = torch.full((len(images),), 1e-6, dtype=torch.float64)
        return Verdicts(predicted, radius * (predicted == labels), torch.full_like(radius, math.inf))
