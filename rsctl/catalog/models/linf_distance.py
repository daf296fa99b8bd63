"""An ℓ∞-distance network."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rsctl.catalog.declare import Model, Parameters


class DistanceParameters(Parameters):
    """An ℓ∞-distance network."""

    widths: Annotated[list[Annotated[int, Field(ge=2)]], Field(min_length=1)] = [128, 128]
    """Units of each hidden layer."""
    initial: Literal["normal", "identity"] = Field("normal", json_schema_extra={"neutral": "normal"})
    """First weights: `normal`, or the `identity` where a layer has as many units as inputs or more (−10 at one input each,
    as the authors' code begins)."""


MODELS = (
    Model(
        "linf-distance",
        "ℓ∞-distance network: 1-Lipschitz in ℓ∞",
        "Zhang, Cai, Lu, He, Wang: Towards Certifying ℓ∞ Robustness using Neural Networks with ℓ∞-dist Neurons, ICML 2021",
        DistanceParameters,
        special=True,
        about="Each unit is the ℓ∞ distance of its input from a stored prototype plus a bias, in place of a product with weights. "
        "Such a unit changes by no more than its input does in ℓ∞, and so does the whole network.",
        use_when='For deterministic ℓ∞ radii at the price of one pass: with `lipschitz-margin` (norm = "linf") and the verifier `lipschitz`.',
        example={"method.name": "lipschitz-margin", "method.norm": "linf"},
    ),
)
