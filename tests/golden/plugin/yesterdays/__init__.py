"""A plugin as users wrote them for the first release: one of each kind that can be declared. Its imports and names never change."""

from typing import Annotated

import numpy as np
from pydantic import Field

from rsctl.catalog.declare import (
    Attack,
    DataSet,
    DataShape,
    Defaults,
    Method,
    Model,
    NoParameters,
    Parameters,
    Verifier,
)
from rsctl.certificates import ABSTAIN, Certified, CountTable, Guarantee, find_certificate
from rsctl.errors import InputError, RefusedError


class LogitNormParameters(Parameters):
    """Gaussian augmentation with a penalty on the size of the logits."""

    weight: Annotated[float, Field(ge=0)] = 0.01
    """Weight of the penalty."""


class Width(Parameters):
    """A network with one hidden layer."""

    width: Annotated[int, Field(ge=1)] = 16
    """Hidden units."""


class Steps(Parameters):
    """A search along random directions."""

    steps: Annotated[int, Field(ge=1)] = 4
    """Directions that are tried."""
    topk: Annotated[int, Field(ge=1)] = 1
    """Labels that count as right."""
    loss: str = "margin"
    """Loss that it follows."""


class Half:
    """Half of CERTIFY's radius."""

    name = "half"
    title = "Half of CERTIFY"
    citation = "mine, 2026"
    guarantee = Guarantee("probabilistic", "the smoothed classifier g")
    norm = "l2"
    k = 1

    def certify(self, table: CountTable, alpha: float) -> Certified:
        if table.sigma <= 0:
            raise RefusedError("half: needs noise.")
        whole = find_certificate("cohen").certify(table, alpha)
        assert (whole.radius[whole.predicted == ABSTAIN] == 0).all()
        assert table.counts.shape == table.selection_counts.shape
        assert (table.counts.sum(axis=1) == table.n).all()
        return Certified(whole.predicted, whole.radius / 2, np.asarray(whole.at_cap))


def inspect(root, parameters) -> DataShape:
    if root is None:
        raise InputError("stripes: no data root.")
    return DataShape(channels=1, size=8, classes=2, counts={"train": 64, "test": 16})


METHODS = [
    Method(
        name="logit-norm",
        title="Gaussian augmentation with small logits",
        citation="mine, 2026",
        revision=1,
        parameters=LogitNormParameters,
        defaults=(Defaults({"weight": 0.02, "epochs": 2}, source="my notes, page 3", dataset="stripes"),),
        implementation="yesterdays.logit_norm",
    )
]
MODELS = [
    Model(
        name="perceptron",
        title="Perceptron",
        citation="mine",
        parameters=Width,
        implementation="yesterdays.network",
    )
]
DATASETS = [
    DataSet(
        name="stripes", title="Stripes", citation="mine", channels=1, size=8, classes=2, counts={"train": 64, "test": 16},
        mean=(0.5,), std=(0.25,), parameters=NoParameters, inspect=inspect, implementation="yesterdays.stripes",
    )
]  # fmt: skip
VERIFIERS = [
    Verifier(
        name="nothing", title="Proves little", citation="mine", revision=1, norms=("l2",), rounding="rounded outward",
        implementation="yesterdays.nothing",
    )
]  # fmt: skip
ATTACKS = [
    Attack(
        name="walk", title="Random walk", citation="mine", revision=1, norms=("l2",), parameters=Steps,
        implementation="yesterdays.walk",
    )
]  # fmt: skip
CERTIFICATES = [Half()]
