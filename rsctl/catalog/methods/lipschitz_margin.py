"""Lipschitz-margin training (Tsuzuku, Sato, Sugiyama 2018)."""

from typing import Annotated, Literal

from pydantic import Field

from rsctl.catalog.declare import Defaults, Method, Parameters
from rsctl.catalog.recipes import OURS, digits

ZHANG = "Zhang et al. 2021, authors' code: command/ell_inf_dist_net_mnist.sh"
CHOSEN = "this project"


class LipschitzMarginParameters(Parameters):
    """Lipschitz-margin training."""

    norm: Literal["l2", "linf"] = "l2"
    """Of the radius."""
    radius: Annotated[float, Field(gt=0)] = 0.25
    """Distance within which the class is to stay, for images in [0, 1]."""
    radius_epochs: Annotated[float, Field(ge=0)] = 10.0
    """Epochs over which it grows to its value."""
    hinge: bool = False
    """The hinge max(0, ·) instead of the cross-entropy: what ℓ∞-distance networks are trained with."""
    p_start: Annotated[float, Field(ge=1)] = 8.0
    """p of ℓ∞-distance layers at first."""
    p_end: Annotated[float, Field(ge=1)] = 1000.0
    """p that it grows to; then it is ∞."""
    p_epochs: Annotated[float, Field(ge=0)] = 0.0
    """Epochs over which it grows; 0: ∞ from the start."""


METHOD = Method(
    name="lipschitz-margin",
    title="Lipschitz-margin training",
    citation="Tsuzuku, Sato, Sugiyama: Lipschitz-Margin Training: Scalable Certification of Perturbation Invariance for Deep Neural Networks, NeurIPS 2018",
    revision=1,
    parameters=LipschitzMarginParameters,
    printed_for=("mnist", "fashion-mnist", "cifar10"),
    defaults=(
        Defaults({"optimizer": "adam", "lr": 1e-3, "weight_decay": 0.0, "schedule": "cosine"}, source=CHOSEN),
        Defaults(
            {"p_start": 8.0, "p_end": 1000.0},
            source=f"{ZHANG} (there with AdamW of its own, 800 epochs, 5 layers of 5,120 units)",
        ),
        Defaults(
            {**digits(60), "optimizer": "adam", "lr": 2e-3, "weight_decay": 0.0, "radius_epochs": 20.0},
            source=OURS,
            dataset="digits",
        ),
    ),
)
