"""Interval bound propagation."""

from typing import Annotated

from pydantic import Field

from rsctl.catalog.declare import Parameters, Verifier

ROUNDING = "rounded outward, for the float32 function as executed"


class Search(Parameters):
    """Parameters of verifiers that search for the largest radius."""

    tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """Relative precision of the search for the largest radius, if no radii are given."""


class IbpParameters(Search):
    """Interval bounds."""

    batch: Annotated[int, Field(ge=1)] = Field(32, json_schema_extra={"identity": False})
    """Images bounded at once."""


VERIFIER = Verifier(
    name="ibp",
    title="Interval bound propagation",
    citation="Gowal et al.: Scalable Verified Training for Provably Robust Image Classification, ICCV 2019",
    revision=1,
    about="Carries an interval for every unit through the network, for all images of an ℓ∞ box at once. Where "
    "the interval of each margin of the predicted class lies above zero the box is proved, at the cost of "
    "about two passes.",
    use_when="For networks trained with `ibp` or `crown-ibp`, and as a first try; intervals are too wide for most "
    "others.",
    norms=("linf",),
    rounding=ROUNDING,
    parameters=IbpParameters,
)
