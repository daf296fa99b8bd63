"""Linear bound propagation."""

from typing import Annotated, Literal

from pydantic import Field

from rsctl.catalog.declare import Verifier
from rsctl.catalog.verifiers.ibp import ROUNDING, Search


class CrownParameters(Search):
    """Linear bounds."""

    intermediate: Literal["crown", "ibp"] = "crown"
    """Bounds on the inputs of ReLUs: linear bounds (`crown`), or intervals alone (`ibp`: CROWN-IBP)."""
    batch: Annotated[int, Field(ge=1)] = Field(16, json_schema_extra={"identity": False})
    """Images bounded at once."""


VERIFIER = Verifier(
    name="crown",
    title="Linear bound propagation",
    citation="Zhang et al.: Efficient Neural Network Robustness Certification with General Activation Functions, NeurIPS 2018",
    revision=1,
    about="Bounds the margins by linear functions of the image, carried back through the network operation by "
    "operation; a ReLU whose sign is open is enclosed between two lines. That is tighter than intervals "
    "and takes more time and memory.",
    use_when="Where `ibp` proves too little, and for radii in ℓ2 and ℓ1.",
    norms=("linf", "l2", "l1"),
    rounding=ROUNDING,
    parameters=CrownParameters,
)
