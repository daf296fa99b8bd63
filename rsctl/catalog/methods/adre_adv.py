"""ADRE-ADV (Feng et al. 2020)."""

from typing import Annotated

from pydantic import Field

from rsctl.catalog.declare import Defaults, Method
from rsctl.catalog.methods.adre_reg import CIFAR, IMAGENET, PAPER, AdreParameters
from rsctl.catalog.methods.adre_reg import METHOD as REGULARISED
from rsctl.catalog.recipes import OURS, digits


class AdreAdvParameters(AdreParameters):
    """ADRE with adversarial training."""

    steps: Annotated[int, Field(ge=1)] = 2
    """M: steps of the attack, each of length 2ε/M."""
    epsilon: Annotated[float, Field(gt=0)] = 0.25
    """ε: ℓ2 radius of the attack, for images in [0, 1]."""
    warmup: Annotated[int, Field(ge=1)] = 1
    """Epochs over which ε grows to its value."""


METHOD = Method(
    name="adre-adv",
    title="ADRE (adversarial)",
    citation=REGULARISED.citation,
    revision=1,
    about="ADRE on adversarial images: an ℓ2 attack raises the regularised objective, and training takes the "
    "regularised loss there. Both use the same noises, and steps follow the normalised gradient as in "
    "SmoothAdv.",
    use_when="To compare with SmoothAdv at equal cost, as Figure 1 of the paper does with 2 steps and 8 noises on "
    "CIFAR-10.",
    parameters=AdreAdvParameters,
    printed_for=("cifar10", "cifar100"),
    defaults=(
        Defaults({"lbd": 0.1}, source=f"{PAPER}, Table 1 (none is printed for ADRE-ADV)"),
        Defaults({"floor": 1e-4}, source="this project: the paper gives none"),
        Defaults(
            {"epsilon": 0.25},
            source="Salman et al. 2019, the smallest ε: the paper doesn't print the one of its Figure 1",
        ),
        Defaults({**CIFAR, "noises": 8, "steps": 2}, source=PAPER),
        Defaults({**IMAGENET, "batch_size": 256, "noises": 1, "steps": 1}, source=PAPER, dataset="imagenet"),
        Defaults({**digits(50), "noises": 2, "epsilon": 0.25, "warmup": 5}, source=OURS, dataset="digits"),
    ),
)
