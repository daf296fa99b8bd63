"""One declaration per attack; the search is in the module of the same name in `jobs.attacks`."""

from typing import Annotated, Literal

from pydantic import Field

from rsctl.catalog.declare import Parameters


class AttackParameters(Parameters):
    """Parameters of the project's own attacks."""

    topk: Annotated[int, Field(ge=1)] = 1
    """An image counts as adversarial when its label isn't among the `topk` likeliest classes; Campbell 2020 attacks ImageNet
    with top-5."""
    steps: Annotated[int, Field(ge=1)] = 100
    """Steps of one search, each a forward and a backward pass."""
    epsilon: Annotated[float, Field(gt=0)] = 4.0
    """The largest distance that counts, in units of [0, 1] pixels (Campbell 2020: 4)."""
    loss: Literal["cross-entropy", "margin"] = "cross-entropy"
    """Objective that each step increases: −log p of the label, or the lead of the class to reach (`topk`-th of the others) over
    the label, whose gradient doesn't vanish where the model is certain."""
    average: Literal["losses", "probabilities"] = "losses"
    """`smoothed`: the mean of the loss gradients of the noises (Campbell 2020, equation 9), or the gradient of −log
    of the mean probability (Salman 2019, equation S; the code of Campbell 2020)."""
    noise: Literal["fresh", "fixed"] = "fresh"
    """`smoothed`: new noises at every step, or the same ones throughout (as the public code does)."""
