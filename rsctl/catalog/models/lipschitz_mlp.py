"""A 1-Lipschitz network of orthogonal layers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rsctl.catalog.declare import Model, Parameters


class LipschitzMlpParameters(Parameters):
    """A 1-Lipschitz network of orthogonal layers."""

    widths: Annotated[list[Annotated[int, Field(ge=2, multiple_of=2)]], Field(min_length=1)] = [256, 256]
    """Units of each hidden layer: even numbers, since MaxMin takes pairs."""


MODELS = (
    Model(
        "lipschitz-mlp",
        "Orthogonal layers with MaxMin: 1-Lipschitz in ℓ2",
        "Anil, Lucas, Grosse: Sorting out Lipschitz function approximation, ICML 2019",
        LipschitzMlpParameters,
        about="Linear layers whose matrices are kept orthogonal, with the activation MaxMin, which sorts pairs. Each "
        "hidden layer changes its output by no more than its input changes in ℓ2, whatever the weights are.",
        use_when="For deterministic ℓ2 radii at the price of one pass: with `lipschitz-margin` and the verifier `lipschitz`.",
        example={"method": "lipschitz-margin"},
    ),
)
