"""Interval bound propagation training (Gowal et al. 2019)."""

from typing import Annotated, Literal

from pydantic import Field

from rsctl.catalog.declare import Defaults, Method, Parameters
from rsctl.catalog.recipes import OURS

CODE = "Gowal et al. 2019, authors' code: examples/train.py, 60,001 steps of 600 per epoch (batches of 100; 200 in its last version)"
TRAINED = "the models that the authors publish for these radii (README: mnist_0.2, mnist_0.4)"
CIFAR = "Zhang et al. 2020, authors' code: config/cifar_dm-large_8_255.json as their README trains IBP, robust_natural and interval"


class BoundTraining(Parameters):
    """Parameters of all training against bounds."""

    epsilon: Annotated[float, Field(gt=0, le=1)] = 0.1
    """ε: ℓ∞ radius to train for, for images in [0, 1]; papers use a slightly larger one than they certify."""
    epsilon_start: Annotated[float, Field(ge=0)] = 5.0
    """Epochs of ordinary training before ε begins to grow."""
    epsilon_epochs: Annotated[float, Field(ge=0)] = 50.0
    """Epochs over which ε grows to its value; κ and β change with it."""
    epsilon_shape: Literal["linear", "smoothed"] = "linear"
    """Growth of ε: `linear`, or `smoothed` at the beginning."""
    kappa_start: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Initial κ, the weight of the ordinary cross-entropy."""
    kappa_end: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Final κ."""


METHOD = Method(
    name="ibp",
    title="Interval bound propagation",
    citation="Gowal et al.: Scalable Verified Training for Provably Robust Image Classification, ICCV 2019",
    revision=2,
    about="Trains against the worst logits that interval arithmetic allows in an ℓ∞ box around the image, so "
    "that the verifier `ibp` can prove radii afterwards. The box grows from nothing, and the weight κ of "
    "the ordinary cross-entropy falls while it does.",
    use_when="For proofs in ℓ∞ without sampling: set sigma = 0 and add [[verification]]. Intervals prove little of "
    "networks that were trained otherwise.",
    parameters=BoundTraining,
    passes=lambda parameters, classes: 4,
    example={"sigma": 0.0, "model": "mlp", "verification": [{"verifier": "ibp"}]},
    defaults=(
        Defaults(
            {
                "optimizer": "adam",
                "weight_decay": 0.0,
                "schedule": "step",
                "step_factor": 0.1,
                "lr": 1e-3,
                "kappa_start": 1.0,
                "kappa_end": 0.5,
                "epsilon_shape": "linear",
            },
            source=CODE,
        ),
        Defaults(
            {
                "epochs": 100,
                "batch_size": 100,
                "milestones": [25.0, 41.7],
                "epsilon": 0.4,
                "epsilon_start": 3.33,
                "epsilon_epochs": 16.67,
            },
            source=f"{CODE}; ε = 0.4 to certify 0.3: {TRAINED}",
            dataset="mnist",
        ),
        Defaults(
            {
                "epochs": 3200,
                "batch_size": 1024,
                "lr": 5e-4,
                "milestones": [2600.0, 3040.0],
                "epsilon": 0.03451,
                "epsilon_start": 320.0,
                "epsilon_epochs": 1600.0,
                "epsilon_shape": "smoothed",
            },
            source=f"{CIFAR} (two batches of 512 per step, of which its train.py uses one: rsctl/catalog/methods/crown_ibp.py)",
            dataset="cifar10",
        ),
        Defaults(
            {
                "epochs": 100,
                "batch_size": 64,
                "lr": 2e-3,
                "milestones": [70.0, 90.0],
                "epsilon": 0.12,
                "epsilon_start": 5.0,
                "epsilon_epochs": 50.0,
            },
            source=OURS,
            dataset="digits",
        ),
    ),
)
