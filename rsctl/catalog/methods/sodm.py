"""SODM (CVPR 2021 submission 4750)."""

from typing import Annotated

from pydantic import Field

from rsctl.catalog.declare import Defaults, Method, Parameters
from rsctl.catalog.recipes import OURS, digits

PAPER = "SODM, section 5"
CHOSEN = "this project: the paper doesn't say"


class SodmParameters(Parameters):
    """SODM."""

    noises: Annotated[int, Field(ge=1)] = 16
    """n: noises per image."""
    beta: Annotated[float, Field(gt=0)] = 6.0
    """β: weight of the robustness of correctly classified images."""
    beta_epoch: Annotated[float, Field(ge=0)] = 35.0
    """Epoch from which β is multiplied."""
    beta_factor: Annotated[float, Field(gt=0)] = 10.0
    """Factor by which β is multiplied."""
    rho: Annotated[float, Field(gt=0.5, lt=1)] = 0.99
    """ρ: smoothed probability above which an image has no loss."""
    mapping_noises: Annotated[int, Field(ge=1)] = 128
    """n′: noises per image for an update of the mapping network."""
    mapping_interval: Annotated[int, Field(ge=1)] = 5
    """Steps between two updates of the mapping network."""
    mapping_width: Annotated[int, Field(ge=1)] = 64
    """Units of the mapping network's hidden layer."""
    mapping_lr: Annotated[float, Field(gt=0)] = 1e-3
    """Learning rate of the mapping network's own optimiser (Adam)."""


METHOD = Method(
    name="sodm",
    title="SODM",
    citation="SODM: Maximize Certified Robustness In Randomized Smoothing By Solvable Optimization Via Differentiable Mapping, CVPR 2021 submission 4750",
    revision=1,
    about="Maximises the certified radius through a small network that maps logits to probabilities, averaged "
    "over n noises, and is trained along. Images that are wrong get a cross-entropy, those that are right "
    "the loss −βΦ⁻¹ of their probability, and those above ρ none.",
    use_when="Where MACER's training is too long: the recipe printed for CIFAR-10 has 55 epochs with 16 noises per "
    "image, MACER's has 440 with as many.",
    parameters=SodmParameters,
    printed_for=("cifar10", "cifar100"),
    defaults=(
        Defaults({"rho": 0.99, "mapping_noises": 128, "mapping_interval": 5}, source=PAPER),
        Defaults({"mapping_width": 64, "mapping_lr": 1e-3, "batch_size": 64}, source=CHOSEN),
        Defaults(
            {
                "epochs": 55,
                "optimizer": "sgd",
                "lr": 0.01,
                "schedule": "step",
                "milestones": [35.0, 50.0],
                "noises": 16,
                "beta": 6.0,
                "beta_epoch": 35.0,
            },
            source=f"{PAPER}, CIFAR-10",
        ),
        Defaults(
            {
                "epochs": 30,
                "optimizer": "adam",
                "lr": 0.01,
                "schedule": "step",
                "milestones": [20.0, 25.0],
                "noises": 2,
                "beta": 2.5,
                "beta_epoch": 25.0,
            },
            source=PAPER,
            dataset="imagenet",
        ),
        Defaults({"batch_size": 256}, source=CHOSEN, dataset="imagenet"),
        Defaults(
            {**digits(60), "lr": 0.01, "noises": 4, "mapping_noises": 32, "beta": 1.0, "beta_epoch": 60.0},
            source=OURS,
            dataset="digits",
        ),
    ),
)
