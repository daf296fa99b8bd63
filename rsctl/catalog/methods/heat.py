"""HeatSmoothing (Campbell, Finlay, Oberman 2020)."""

from typing import Annotated, Literal

from pydantic import Field

from rsctl.catalog.declare import Defaults, Method, Parameters
from rsctl.catalog.recipes import OURS, digits

PAPER = "Campbell, Finlay, Oberman 2020"
CODE = f"{PAPER}, authors' code"


class HeatParameters(Parameters):
    """HeatSmoothing."""

    gamma: Annotated[float, Field(ge=0)] = 1.0
    """γ: factor of the gradient penalty. 1 is the printed loss, ½ follows from the heat equation."""
    timesteps: Annotated[int, Field(ge=1)] = 1
    """Steps of the heat equation, which share the epochs; the penalty of each is divided by their number."""
    projections: Annotated[int, Field(ge=1)] = 10
    """κ: random projections of the logits per step."""
    difference: Annotated[float, Field(gt=0)] = 0.1
    """δ: length of the finite difference."""
    pixels: Literal["unit", "normalised"] = Field("unit", json_schema_extra={"neutral": "unit"})
    """Pixel scale of the gradient and of δ: `unit` for [0, 1], or `normalised` as in the network's first layer."""
    softmax: bool = True
    """Compare probabilities; false compares logits."""
    noisy_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of the images that noise is added to (equation 10); 0 is the loss (3)."""
    reinitialize: bool = False
    """Begin each timestep from new weights, as the authors' code does on CIFAR-10."""


METHOD = Method(
    name="heat",
    title="HeatSmoothing",
    citation="Campbell, Finlay, Oberman: Adversarial Boot Camp: label free certified robustness in one epoch, 2020",
    revision=1,
    about="Retrains a given network, without labels, to resemble its own Gaussian average: it follows the "
    "frozen network in squared distance while its input gradient is penalised. That is an implicit step "
    "of the heat equation; `timesteps` of them follow each other.",
    use_when="To make an existing network certifiable in few epochs, ImageNet's in one. Certify it with "
    "`single-pass`; its own `l-bound` guarantees nothing.",
    parameters=HeatParameters,
    passes=lambda parameters, classes: 1 + parameters["projections"],
    printed_for=("imagenet",),
    defaults=(
        Defaults(
            {
                "epochs": 1,
                "batch_size": 100,
                "lr": 0.01,
                "schedule": "constant",
                "gamma": 1.0,
                "timesteps": 1,
                "softmax": True,
                "noisy_share": 0.5,
            },
            source=f"{PAPER}, section 4.1 (the one-epoch variant)",
        ),
        Defaults(
            {"projections": 6, "difference": 0.01, "pixels": "normalised"},
            source=f"{CODE}: imagenet/train_ours.py",
            dataset="imagenet",
        ),
        Defaults(
            {
                "epochs": 1000,
                "batch_size": 100,
                "lr": 0.1,
                "schedule": "step",
                "milestones": [60.0, 120.0, 160.0],
                "step_shift": -1,
                "step_factor": 0.2,
                "cycle_epochs": 200,
                "weight_decay": 0.0,
                "gamma": 5.0,
                "timesteps": 5,
                "projections": 10,
                "difference": 0.1,
                "softmax": False,
                "noisy_share": 0.0,
                "reinitialize": True,
            },
            source=f"{PAPER}, Appendix E; rates and γ of the authors' code, which steps its schedule before its epochs 1, 2, …",
            dataset="cifar10",
        ),
        Defaults(
            {
                **digits(60),
                "lr": 0.01,
                "gradient_clip": 5.0,
                "projections": 2,
                "softmax": False,
                "noisy_share": 0.5,
            },
            source=OURS,
            dataset="digits",
        ),
    ),
    parents={"start": {"name": "gaussian", "sigma": 0.0}},
)
