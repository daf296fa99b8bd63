"""Consistency regularisation (Jeong, Shin 2020)."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rsctl.catalog.declare import Defaults, Method, Parameters
from rsctl.catalog.recipes import (
    CIFAR_150,
    IMAGENET_90,
    MNIST_90,
    MNIST_CODE,
    MNISTS,
    OURS,
    SMALLER_STEPS,
    digits,
)

CODE = "Jeong, Shin 2020, authors' code: EXPERIMENTS.MD, train_consistency.py and logs"
RERUN = "Horváth et al. 2022, authors' code: training.md"


class ConsistencyParameters(Parameters):
    """Consistency regularisation."""

    noises: Annotated[int, Field(ge=2)] = 2
    """m: noises per image."""
    lbd: Annotated[float, Field(ge=0)] = 10.0
    """λ: weight of the divergence from the mean prediction."""
    eta: Annotated[float, Field(ge=0)] = 0.5
    """η: weight of the mean prediction's entropy."""
    steps: Annotated[int, Field(ge=0)] = Field(0, json_schema_extra={"neutral": 0})
    """T: steps of SmoothAdv's PGD attack, for consistency at adversarial images; 0: none."""
    epsilon: Annotated[float, Field(gt=0)] = Field(1.0, json_schema_extra={"neutral": 1.0})
    """ε: ℓ2 radius of that attack, for images in [0, 1]."""
    warmup: Annotated[int, Field(ge=1)] = Field(10, json_schema_extra={"neutral": 10})
    """Epochs over which ε grows to its value."""
    last_cut: Literal["ball", "box"] = Field("ball", json_schema_extra={"neutral": "ball"})
    """Set that images of that attack are cut to last after each step: the `ball`, as in Salman's code, or the `box` [0, 1],
    as in the authors' own."""

    @model_validator(mode="after")
    def _consistent(self) -> "ConsistencyParameters":
        if self.last_cut != "ball" and not self.steps:
            raise ValueError(
                f"last_cut = '{self.last_cut}' is of the attack: set steps, such as 10, or leave it out"
            )
        return self


METHOD = Method(
    name="consistency",
    title="Consistency regularisation",
    citation="Jeong, Shin: Consistency Regularization for Certified Robustness of Smoothed Classifiers, NeurIPS 2020",
    revision=1,
    about="Adds to the cross-entropy under noise the divergence of each noisy prediction from their mean, "
    "weighted λ, and the entropy of that mean, weighted η. Predictions that agree under noise give the "
    "smoothed classifier a larger margin.",
    use_when="For certified radii close to those of SmoothAdv without its attack: two noises per image, about "
    "twice the cost of Gaussian augmentation per epoch.",
    splitting=True,
    parameters=ConsistencyParameters,
    printed_for=("cifar10", "cifar100"),
    defaults=(
        Defaults({"noises": 2, "lbd": 10.0, "eta": 0.5}, source=CODE),
        Defaults({**CIFAR_150, **SMALLER_STEPS}, source=CODE),
        Defaults({"warmup": 10}, source=CODE),
        Defaults({"lbd": 20.0}, source=CODE, dataset="cifar10", sigma=0.25),
        Defaults({**IMAGENET_90, **SMALLER_STEPS}, source=CODE, dataset="imagenet"),
        Defaults({"lbd": 10.0, "eta": 0.5}, source=RERUN, dataset="imagenet", sigma=0.25),
        Defaults({"lbd": 5.0, "eta": 0.5}, source=CODE, dataset="imagenet", sigma=0.5),
        Defaults({"lbd": 5.0, "eta": 0.1}, source=CODE, dataset="imagenet", sigma=1.0),
        *(Defaults({**MNIST_90, "lbd": 5.0}, source=MNIST_CODE, dataset=name) for name in MNISTS),
        *(Defaults({"lbd": 10.0}, source=MNIST_CODE, dataset=name, sigma=0.25) for name in MNISTS),
        Defaults({**digits(90), "lbd": 5.0}, source=OURS, dataset="digits"),
    ),
)
