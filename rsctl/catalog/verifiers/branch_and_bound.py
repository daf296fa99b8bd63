"""Branch and bound with linear bounds."""

from typing import Annotated

from pydantic import Field

from rsctl.catalog.declare import Parameters, Verifier
from rsctl.catalog.verifiers.ibp import ROUNDING


class BranchAndBoundParameters(Parameters):
    """Branch and bound."""

    time_limit: Annotated[float, Field(gt=0)] = 60.0
    """Seconds per image; radii undecided by then are unknown."""
    max_nodes: Annotated[int, Field(ge=1)] = 1_000_000
    """Maximum number of subproblems per radius; a radius that needs more is unknown."""
    max_relus: Annotated[int, Field(ge=1)] = 5000
    """Maximum number of ReLUs; larger networks are refused."""
    steps: Annotated[int, Field(ge=0)] = 10
    """Gradient steps on the slopes and multipliers of every subproblem's bound."""
    together: Annotated[int, Field(ge=2)] = Field(256, json_schema_extra={"identity": False})
    """Subproblems bounded at once."""
    tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.001
    """Relative precision of the search for the largest radius, if no radii are given."""


VERIFIER = Verifier(
    name="branch-and-bound",
    title="Branch and bound with linear bounds",
    citation="Wang et al.: Beta-CROWN: Efficient Bound Propagation with Per-neuron Split Constraints for Neural Network Robustness Verification, NeurIPS 2021",
    revision=1,
    about="Takes linear bounds as `crown` does and, where they don't suffice, splits the problem at an open "
    "ReLU into its two sides. It ends when every part is proved, a counterexample is found, or the time "
    "is over.",
    use_when="For exact answers about networks of ReLUs and affine layers, up to `max_relus` of them, where "
    "`crown` leaves radii undecided.",
    norms=("linf", "l1"),
    rounding=ROUNDING,
    parameters=BranchAndBoundParameters,
    complete=True,
    example={"model.widths": [32]},
)
