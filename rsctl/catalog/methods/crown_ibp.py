"""CROWN-IBP training (Zhang et al. 2020).

On CIFAR-10 the paper and the authors' configuration say two batches of 512 per step, 1,024 images, as the defaults here do. Their
train.py steps after the first of the two and clears the gradient before the next, so the second one is never used: what it
executes is batch_size = 512 with half the images of an epoch. The same steps from the same number of images are epochs = 1600,
batch_size = 512, milestones = [1300, 1520], epsilon_start = 160 and epsilon_epochs = 800. The like on digits (32 images per step in place of
64, half the epochs, two seeds): certified at 0.1 71.3 against 73.6 % by CROWN-IBP and 78.0 against 79.5 % by IBP, at 0.02 within 0.4.
"""

from typing import Annotated

from pydantic import Field

from rsctl.catalog.declare import Defaults, Method
from rsctl.catalog.methods.ibp import BoundTraining
from rsctl.catalog.recipes import OURS

CODE = "Zhang et al. 2020, authors' code: config/"


class CrownIbpParameters(BoundTraining):
    """CROWN-IBP."""

    beta_start: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Initial β, the weight of linear bounds against intervals."""
    beta_end: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Final β."""


METHOD = Method(
    name="crown-ibp",
    title="CROWN-IBP",
    citation="Zhang et al.: Towards Stable and Efficient Training of Verifiably Robust Neural Networks, ICLR 2020",
    revision=2,
    about="Trains against bounds as `ibp` does, with linear bounds laid over the intervals while the box is "
    "small: they are tighter and guide the beginning. Their weight β falls while the box grows, so that "
    "the intervals alone remain.",
    use_when="For proofs in ℓ∞, beside `ibp`: it costs more per step, and which of the two certifies more depends "
    "on the data (on the digits here `ibp` did at 0.1).",
    parameters=CrownIbpParameters,
    passes=lambda parameters, classes: 4 + 2 * classes,
    example={"sigma": 0.0, "model": "mlp", "verification": [{"verifier": "ibp"}]},
    defaults=(
        Defaults(
            {
                "optimizer": "adam",
                "weight_decay": 0.0,
                "schedule": "step",
                "step_factor": 0.1,
                "lr": 5e-4,
                "kappa_start": 1.0,
                "kappa_end": 0.5,
                "beta_start": 1.0,
                "beta_end": 0.0,
            },
            source=f"{CODE}, defaults.json",
        ),
        Defaults(
            {
                "epochs": 200,
                "batch_size": 256,
                "milestones": [130.0, 190.0],
                "epsilon": 0.4,
                "epsilon_start": 10.0,
                "epsilon_epochs": 50.0,
            },
            source=f"{CODE}mnist_dm-large_0.4.json, to certify 0.3",
            dataset="mnist",
        ),
        Defaults(
            {
                "epochs": 3200,
                "batch_size": 1024,
                "milestones": [2600.0, 3040.0],
                "epsilon": 0.03451,
                "epsilon_start": 320.0,
                "epsilon_epochs": 1600.0,
                "epsilon_shape": "smoothed",
                "kappa_start": 0.0,
                "kappa_end": 0.0,
            },
            source=f"{CODE}cifar_dm-large_8_255.json: two batches of 512 per step, of which its train.py uses one (rsctl/catalog/methods/crown_ibp.py); 2_255: ε = 1.1 · 2/255 and β = 1 to the end",
            dataset="cifar10",
        ),
        Defaults(
            {
                "epochs": 60,
                "batch_size": 64,
                "lr": 2e-3,
                "milestones": [42.0, 54.0],
                "epsilon": 0.12,
                "epsilon_start": 3.0,
                "epsilon_epochs": 30.0,
            },
            source=OURS,
            dataset="digits",
        ),
    ),
)
