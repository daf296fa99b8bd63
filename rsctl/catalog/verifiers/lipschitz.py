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
    norms=("l2", "linf"),
    rounding=ROUNDING,
    parameters=LipschitzParameters,
)
