"""Stability training (Li, Chen, Wang, Carin 2019)."""

from typing import Annotated

from pydantic import Field

from rsctl.catalog.declare import Defaults, Method, Parameters
from rsctl.catalog.recipes import CIFAR_150, IMAGENET_90, MNIST_90, MNIST_CODE, MNISTS, OURS, digits


class StabilityParameters(Parameters):
    """Stability training."""

    lbd: Annotated[float, Field(ge=0)] = 2.0
    """λ: weight of the stability term."""


METHOD = Method(
    name="stability",
    title="Stability training",
    citation="Li, Chen, Wang, Carin: Certified Adversarial Robustness with Additive Noise, NeurIPS 2019",
    revision=1,
    about="Adds to the cross-entropy on the clean image a term that pulls the prediction under noise towards "
    "the clean one. The network learns its classes from clean images, and to keep its decisions under "
    "noise.",
    use_when="As a baseline of published tables. In public logs on CIFAR-10 its average certified radius is below "
    "that of Gaussian augmentation (0.42 against 0.49 at sigma = 0.25).",
    splitting=True,
    parameters=StabilityParameters,
    passes=lambda parameters, classes: 2,
    printed_for=("cifar10", "cifar100"),
    defaults=(
        Defaults({"lbd": 2.0}, source="Jeong 2020 (Consistency), authors' code: train_stab.py and its logs"),
        Defaults(CIFAR_150, source="Jeong 2023 (CAT-RS), authors' code: EXPERIMENTS.MD"),
        Defaults(
            IMAGENET_90, source="Jeong 2020 (Consistency), authors' code: train_stab.py", dataset="imagenet"
        ),
        Defaults(
            {"lbd": 1.0},
            source="Jeong 2023 (CAT-RS), authors' code: EXPERIMENTS.MD",
            dataset="cifar10",
            sigma=1.0,
        ),
        *(Defaults({**MNIST_90, "lbd": 2.0}, source=MNIST_CODE, dataset=name) for name in MNISTS),
        Defaults(digits(120), source=OURS, dataset="digits"),
    ),
)
