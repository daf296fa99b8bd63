"""Global Lipschitz constants."""

from typing import Annotated

from pydantic import Field

from rsctl.catalog.declare import Parameters, Verifier
from rsctl.catalog.verifiers.ibp import ROUNDING


class LipschitzParameters(Parameters):
    """Lipschitz constants."""

    batch: Annotated[int, Field(ge=1)] = Field(64, json_schema_extra={"identity": False})
    """Images bounded at once."""


VERIFIER = Verifier(
    name="lipschitz",
    title="Global Lipschitz constant",
    citation="Tsuzuku, Sato, Sugiyama: Lipschitz-Margin Training, NeurIPS 2018; norms by Gram iteration, Delattre et al., ICML 2023; "
    "ℓ∞-distance nets: Zhang et al., ICML 2021",
    revision=1,
    about="Divides the margin between two classes by an upper bound of its Lipschitz constant: the product of "
    "the layers' constants, the last layer counted row by row. One pass per image gives the largest "
    "radius, for the constants don't depend on the image.",
    use_when="For networks that are 1-Lipschitz by construction or trained with `lipschitz-margin`; the product is "
    "far too large for most others.",
    norms=("l2", "linf"),
    rounding=ROUNDING,
    parameters=LipschitzParameters,
    example={"method": "lipschitz-margin", "model": "lipschitz-mlp"},
)
