"""Projected gradient descent (Madry et al. 2018), and the smallest radius at which it succeeds."""

from typing import Annotated

from pydantic import Field

from rsctl.catalog.attacks import AttackParameters
from rsctl.catalog.declare import Attack


class PGDParameters(AttackParameters):
    """Projected gradient descent within a ball whose radius is searched for."""

    steps: Annotated[int, Field(ge=1)] = 20
    """Steps within one ball, each of length twice its radius over their number (Campbell 2020: 20)."""
    searches: Annotated[int, Field(ge=1)] = 10
    """Balls tried: first radius `epsilon`, then for each image the middle between the largest radius that failed
    and the nearest adversarial image so far. 1 is Campbell 2020: one ball, the nearest image on the way."""
    restarts: Annotated[int, Field(ge=1)] = 1
    """Runs within each ball: the first starts at the image, the others at random points of the ball."""


ATTACK = Attack(
    name="pgd",
    title="PGD",
    citation="Madry et al.: Towards Deep Learning Models Resistant to Adversarial Attacks, ICLR 2018",
    revision=1,
    about="Projected gradient descent: steps along the gradient within a ball around the image, cut back to the "
    "ball after each. `searches` runs halve the interval between the largest radius that failed and the nearest adversarial image.",
    use_when="In ℓ∞, and in ℓ2 with a fixed radius (`searches = 1`) as papers report it.",
    norms=("l2", "linf"),
    parameters=PGDParameters,
)
