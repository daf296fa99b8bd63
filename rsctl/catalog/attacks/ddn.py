"""DDN (Rony et al. 2019)."""

from typing import Annotated

from pydantic import Field

from rsctl.catalog.attacks import AttackParameters
from rsctl.catalog.declare import Attack


class DDNParameters(AttackParameters):
    """Decoupled direction and norm."""

    start: Annotated[float, Field(gt=0)] = 1.0
    """Norm of the first step (1 in the authors' code)."""
    gamma: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Share by which the norm shrinks after a success and grows after a failure."""
    levels: Annotated[int, Field(ge=0)] = 256
    """Adversarial images have pixels k/(levels − 1), as 8-bit images do; 0 leaves them as they are."""


ATTACK = Attack(
    name="ddn",
    title="DDN",
    citation="Rony et al.: Decoupling Direction and Norm for Efficient Gradient-Based L2 Adversarial Attacks and Defenses, CVPR 2019",
    revision=1,
    about="Searches for the nearest adversarial image in ℓ2: each step follows the gradient, and the norm of "
    "the perturbation shrinks after a success and grows after a failure. What is kept is the nearest "
    "image on the way that fooled the classifier.",
    use_when="For small distances in ℓ2 in one search.",
    norms=("l2",),
    parameters=DDNParameters,
)
