"""ADRE-REG (Feng et al. 2020)."""

from typing import Annotated

from pydantic import Field

from rsctl.catalog.declare import Defaults, Method, Parameters
from rsctl.catalog.recipes import OURS, digits

PAPER = "Feng et al. 2020, Experiments"
CIFAR = {"epochs": 150, "batch_size": 400, "lr": 0.1, "schedule": "step", "step_epochs": 50}
IMAGENET = {
    "epochs": 50,
    "lr": 0.1,
    "schedule": "cosine",
    "warmup_epochs": 8.0,
    "momentum": 0.875,
    "weight_decay": 1 / 32768,
    "label_smoothing": 0.1,
}


class AdreParameters(Parameters):
    """ADRE."""

    noises: Annotated[int, Field(ge=1)] = 8
    """k: noises per image."""
    lbd: Annotated[float, Field(ge=0)] = 0.1
    """λ: weight of the regulariser."""
    single_draw: bool = False
    """Take the cross-entropy of one of the k noises only, as in the paper's Table 1 for CIFAR-10."""
    floor: Annotated[float, Field(gt=0, lt=1)] = 1e-4
    """Lower limit of the runner-up's probability in the regulariser, which is unbounded below otherwise."""


METHOD = Method(
    name="adre-reg",
    title="ADRE (regularised)",
    citation="Feng, Wu, Chen, Zhang, Ning: Regularized Training and Tight Certification for Randomized Smoothed Classifier with Provable Robustness, AAAI 2020",
    revision=1,
    about="Adds to the cross-entropy of the mean prediction over k noises a regulariser that lowers the "
    "probability of the best wrong class, which is what a tight certificate subtracts. The regulariser is "
    "cut at `floor`, for it has no lower bound of its own.",
    use_when="Together with certificates that bound the runner-up's probability, `runner-up` and `t-certify`: that "
    "is what it lowers.",
    parameters=AdreParameters,
    printed_for=("cifar10", "cifar100"),
    defaults=(
        Defaults({"lbd": 0.1}, source=f"{PAPER}, Table 1"),
        Defaults({"floor": 1e-4}, source="this project: the paper gives none"),
        Defaults({**CIFAR, "noises": 8}, source=PAPER),
        Defaults({"single_draw": True}, source=f"{PAPER}, Table 1", dataset="cifar10"),
        Defaults({**IMAGENET, "batch_size": 256, "noises": 1}, source=PAPER, dataset="imagenet"),
        Defaults({**digits(60), "noises": 4}, source=OURS, dataset="digits"),
    ),
)
