"""Lipschitz-margin training (Tsuzuku, Sato, Sugiyama 2018).

Two kinds of networks are trained with it, and one set of defaults can't be both authors'. What they have of their own are
parameters, whose defaults are the plain loss:

- Zhang et al. 2021 train ℓ∞-distance networks with `hinge`, `hinge_mix` = 0.75, `p_hold`, the model's `initial` = "identity",
  and the recipe's `optimizer` = "adamw-lp" and `hold_epochs` (templates/distance2021-mnist.toml has all of it). On digits
  with two layers of 64 units that certifies 79.7 % at 0.1, 83.6 % without the identity, where Adam and the largest hinge
  alone certify 67.0 % (templates/distance-digits.toml; two seeds).
- Tsuzuku et al.'s code cuts what is added to the margin that there is (`scaled`). With orthogonal layers on digits it certifies
  as much: 66.2 against 66.8 % at 0.5 for radius 0.25, 70.5 against 71.2 % for radius 0.5 (two seeds, sd up to 2).
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rsctl.catalog.declare import Defaults, Method, Parameters
from rsctl.catalog.recipes import OURS, digits

ZHANG = "Zhang et al. 2021, authors' code: command/ell_inf_dist_net_mnist.sh"
CHOSEN = "this project"


class LipschitzMarginParameters(Parameters):
    """Lipschitz-margin training."""

    norm: Literal["l2", "linf"] = "l2"
    """Norm of the radius."""
    radius: Annotated[float, Field(gt=0)] = 0.25
    """Distance within which the predicted class should not change, for images in [0, 1]."""
    radius_epochs: Annotated[float, Field(ge=0)] = 10.0
    """Epochs over which the radius grows to its value."""
    hinge: bool = False
    """Use the hinge max(0, ·) instead of the cross-entropy, as for ℓ∞-distance networks."""
    hinge_mix: Annotated[float, Field(ge=0, le=1)] = Field(1.0, json_schema_extra={"neutral": 1.0})
    """Weight of the largest hinge of an image; the rest is that of the mean over all classes (ℓ∞-distance networks: 0.75)."""
    scaled: bool = Field(False, json_schema_extra={"neutral": False})
    """Add no more than the margin that an image has, as LMT's own code does: misclassified images train as usual."""
    p_start: Annotated[float, Field(ge=1)] = 8.0
    """Initial p of ℓ∞-distance layers."""
    p_end: Annotated[float, Field(ge=1)] = 1000.0
    """Final p; after that it is ∞."""
    p_epochs: Annotated[float, Field(ge=0)] = 0.0
    """Epochs over which p grows; 0: ∞ at once."""
    p_hold: Annotated[float, Field(ge=0)] = Field(0.0, json_schema_extra={"neutral": 0.0})
    """Epochs at `p_start` before p grows."""

    @model_validator(mode="after")
    def _consistent(self) -> "LipschitzMarginParameters":
        if self.hinge_mix < 1 and not self.hinge:
            raise ValueError(
                f"hinge_mix = {self.hinge_mix:g} is of the hinge: set hinge = true, or leave it out"
            )
        return self


METHOD = Method(
    name="lipschitz-margin",
    title="Lipschitz-margin training",
    citation="Tsuzuku, Sato, Sugiyama: Lipschitz-Margin Training: Scalable Certification of Perturbation Invariance for Deep Neural Networks, NeurIPS 2018",
    revision=2,
    about="Raises the logit of every other class by what it could gain within a radius, the radius times the "
    "Lipschitz constant of the difference of logits, and trains on the result. The margin that this "
    "leaves is what the verifier `lipschitz` turns into a proved radius.",
    use_when="With the models `lipschitz-mlp` (ℓ2) and `linf-distance` (ℓ∞), sigma = 0 and the verifier "
    "`lipschitz`.",
    parameters=LipschitzMarginParameters,
    example={
        "sigma": 0.0,
        "model": "lipschitz-mlp",
        "verification": [{"verifier": "lipschitz", "norm": "l2"}],
    },
    printed_for=("mnist", "fashion-mnist", "cifar10"),
    defaults=(
        Defaults({"optimizer": "adam", "lr": 1e-3, "weight_decay": 0.0, "schedule": "cosine"}, source=CHOSEN),
        Defaults(
            {"p_start": 8.0, "p_end": 1000.0},
            source=f"{ZHANG} (there 400 epochs of 4 hidden layers with 5,120 units)",
        ),
        Defaults(
            {**digits(60), "optimizer": "adam", "lr": 2e-3, "weight_decay": 0.0, "radius_epochs": 20.0},
            source=OURS,
            dataset="digits",
        ),
    ),
)
