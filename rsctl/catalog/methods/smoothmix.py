"""SmoothMix (Jeong et al. 2021)."""

from typing import Annotated

from pydantic import Field

from rsctl.catalog.declare import Defaults, Method, Parameters
from rsctl.catalog.recipes import CIFAR_150, IMAGENET_90, MNIST_90, MNISTS, OURS, SMALLER_STEPS, digits

CODE = "Jeong et al. 2021, authors' code: EXPERIMENTS.MD"
ONE_STEP = f"{CODE}, which gives both; one_step as in the table of Jeong 2023 (CAT-RS), authors' code: EXPERIMENTS.MD"
MNIST = f"{CODE}, MNIST, its runs with eta = 5 (with eta = 1 it takes 3, 4, 8 steps); Fashion-MNIST as MNIST"
DSRS = "Li et al. 2022 (DSRS), authors' code: README, for a fine-tuning at sigma = 0.5; SmoothMix's own code names no values for ImageNet"


class SmoothMixParameters(Parameters):
    """SmoothMix."""

    noises: Annotated[int, Field(ge=1)] = 2
    """m: noises per image."""
    steps: Annotated[int, Field(ge=1)] = 4
    """T: steps of the attack that finds the image to mix with."""
    alpha: Annotated[float, Field(gt=0)] = 1.0
    """α: length of one attack step (ℓ2, images in [0, 1])."""
    eta: Annotated[float, Field(ge=0)] = 5.0
    """η: weight of the mixed images' loss."""
    warmup: Annotated[int, Field(ge=1)] = 10
    """Epochs over which η, and the one-step adversary's distance, grow to their values."""
    one_step: bool = False
    """Train on the image after the first attack step in place of the image itself ("one-step adversary")."""


METHOD = Method(
    name="smoothmix",
    title="SmoothMix",
    citation="Jeong et al.: SmoothMix: Training Confidence-calibrated Smoothed Classifiers, NeurIPS 2021",
    revision=2,
    about="Follows the smoothed classifier's loss from each image to an adversarial one, by steps of fixed "
    "length and without a ball, and also trains on mixtures of the two. Their target is a blend of the "
    "smoothed prediction and the uniform distribution, so that confidence falls on the way.",
    use_when="For accuracy at large radii: in public logs on CIFAR-10 at sigma = 0.5 it certifies 26.4 % at radius "
    "1.5, Gaussian augmentation 10.2 %.",
    parameters=SmoothMixParameters,
    passes=lambda parameters, classes: 2 * parameters["noises"],
    printed_for=("cifar10", "cifar100"),
    defaults=(
        Defaults({"noises": 2, "steps": 4, "eta": 5.0, "warmup": 10}, source=CODE),
        Defaults({**CIFAR_150, **SMALLER_STEPS}, source=CODE),
        Defaults({"alpha": 0.5}, source=ONE_STEP, dataset="cifar10", sigma=0.25),
        Defaults({"alpha": 1.0, "one_step": True}, source=ONE_STEP, dataset="cifar10", sigma=0.5),
        Defaults({"alpha": 2.0, "one_step": True}, source=ONE_STEP, dataset="cifar10", sigma=1.0),
        Defaults(
            {**IMAGENET_90, "noises": 1, "steps": 1, "alpha": 8.0, "eta": 1.0},
            source=DSRS,
            dataset="imagenet",
        ),
        *(
            Defaults(
                {**MNIST_90, "noises": 4, "alpha": 1.0, "eta": 5.0, "steps": 4}, source=MNIST, dataset=name
            )
            for name in MNISTS
        ),
        *(Defaults({"steps": 2}, source=MNIST, dataset=name, sigma=0.25) for name in MNISTS),
        *(Defaults({"steps": 8}, source=MNIST, dataset=name, sigma=1.0) for name in MNISTS),
        Defaults({**digits(60), "steps": 2, "alpha": 0.25, "eta": 2.0}, source=OURS, dataset="digits"),
    ),
)
