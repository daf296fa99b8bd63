"""SmoothAdv (Salman et al. 2019)."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rsctl.catalog.declare import Defaults, Method, Parameters
from rsctl.catalog.recipes import (
    CIFAR_150,
    IMAGENET_90,
    MNIST_90,
    MNIST_CODE,
    MNISTS,
    OURS,
    SMALLER_STEPS,
    digits,
)

CODE = "Salman et al. 2019, authors' code: README and logs"
BEST = "Horváth et al. 2022, authors' code: training.md, the models that later papers compare with"


class SmoothAdvParameters(Parameters):
    """SmoothAdv."""

    noises: Annotated[int, Field(ge=1)] = 2
    """m: noises per image, the same for the attack and the training step."""
    attack: Literal["pgd", "ddn", "pgd-no-grad"] = "pgd"
    """`pgd`, `ddn` (the smallest adversarial perturbation), or `pgd-no-grad` (from forward passes alone)."""
    steps: Annotated[int, Field(ge=1)] = 10
    """T: steps of the attack."""
    epsilon: Annotated[float, Field(gt=0)] = 1.0
    """ε: ℓ2 radius of the attack, for images in [0, 1]. The authors' code divides its values by 256."""
    warmup: Annotated[int, Field(ge=1)] = 1
    """Epochs over which ε grows to its value."""
    decision: Literal["mean", "votes"] = Field("mean", json_schema_extra={"neutral": "mean"})
    """`ddn`, m > 1: criterion for an adversarial image, the class of the `mean` probabilities, or most `votes` of the noises, as in the
    authors' code."""
    train_multi_noise: bool = True
    """Train with all m noises; false keeps the first for the training step (one step per batch in the authors' code:
    noise_steps = "one")."""

    @model_validator(mode="after")
    def _consistent(self) -> "SmoothAdvParameters":
        if self.decision != "mean" and self.attack != "ddn":
            raise ValueError(
                f"decision = '{self.decision}' is of attack = 'ddn', and this one is '{self.attack}', which has no decision: leave it out"
            )
        return self


METHOD = Method(
    name="smoothadv",
    title="SmoothAdv",
    citation="Salman et al.: Provably Robust Deep Learning via Adversarially Trained Smoothed Classifiers, NeurIPS 2019",
    revision=1,
    about="Adversarial training of the smoothed classifier: an attack searches an ℓ2 ball for the image that "
    "the mean prediction over a few noises classifies worst. The network then trains on that image, under "
    "the same noises.",
    use_when="For larger certified radii than Gaussian augmentation gives, at several times its cost: each step of "
    "`pgd` and `ddn` is a forward and a backward pass over all noises.",
    parameters=SmoothAdvParameters,
    printed_for=("cifar10", "cifar100"),
    defaults=(
        Defaults({"attack": "pgd"}, source=CODE),
        Defaults({**CIFAR_150, **SMALLER_STEPS, "warmup": 10}, source=CODE),
        Defaults({"steps": 10, "epsilon": 64 / 256, "noises": 8}, source=CODE, dataset="cifar10", sigma=0.12),
        Defaults(
            {"steps": 10, "epsilon": 255 / 256, "noises": 8}, source=BEST, dataset="cifar10", sigma=0.25
        ),
        Defaults({"steps": 2, "epsilon": 512 / 256, "noises": 2}, source=BEST, dataset="cifar10", sigma=0.5),
        Defaults({"steps": 10, "epsilon": 512 / 256, "noises": 2}, source=BEST, dataset="cifar10", sigma=1.0),
        Defaults(
            {**IMAGENET_90, "warmup": 1, "noises": 1, "steps": 1, "epsilon": 255 / 256},
            source=CODE,
            dataset="imagenet",
        ),
        Defaults({"epsilon": 512 / 256}, source=CODE, dataset="imagenet", sigma=1.0),
        *(
            Defaults(
                {**MNIST_90, "noises": 4, "steps": 10, "epsilon": 255 / 256, "warmup": 10},
                source=MNIST_CODE,
                dataset=name,
            )
            for name in MNISTS
        ),
        Defaults(
            {**digits(60), "noises": 2, "steps": 2, "epsilon": 0.25, "warmup": 6},
            source=OURS,
            dataset="digits",
        ),
    ),
)
