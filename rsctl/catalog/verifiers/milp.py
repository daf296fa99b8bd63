"""Mixed-integer programming."""

from typing import Annotated

from pydantic import Field

from rsctl.catalog.declare import Parameters, Verifier


class MilpParameters(Parameters):
    """Mixed-integer programming."""

    time_limit: Annotated[float, Field(gt=0)] = 60.0
    """Seconds per image; radii undecided by then are unknown."""
    max_relus: Annotated[int, Field(ge=1)] = 2000
    """Maximum number of ReLUs; larger networks are refused."""


VERIFIER = Verifier(
    name="milp",
    title="Mixed-integer programming",
    citation="Tjeng, Xiao, Tedrake: Evaluating Robustness of Neural Networks with Mixed Integer Programming, ICLR 2019",
    revision=1,
    about="Writes the network as a mixed-integer program, with a binary variable for each ReLU whose sign is "
    "open, and lets the solver HiGHS find the nearest image of another class. Each radius is proved, "
    "refuted by a counterexample, or unknown when the time is over.",
    use_when="As a second, independent opinion on small networks of ReLUs and affine layers; `branch-and-bound` "
    "pays for rounding outright.",
    norms=("linf", "l1"),
    rounding="for the float32 function as executed, up to the solver's tolerances (HiGHS: 1e-6, paid for in the radius)",
    parameters=MilpParameters,
    complete=True,
    example={"model.widths": [32]},
)
