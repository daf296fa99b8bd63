"""CAT-RS (Jeong, Kim, Shin 2023)."""

from typing import Annotated, Literal

from pydantic import Field

from rsctl.catalog.declare import Defaults, Method, Parameters
from rsctl.catalog.recipes import CIFAR_150, IMAGENET_90, MNIST_90, MNISTS, OURS, SMALLER_STEPS, digits

CODE = "Jeong, Kim, Shin 2023, authors' code: EXPERIMENTS.MD and train_catrs.py"
MNIST = "Jeong, Kim, Shin 2023, authors' code: its logs on MNIST and Fashion-MNIST for epochs and rates"
CIFAR = f"{CODE}, CIFAR-10; taken for other data sets, for which the code names no lambda"


class CatRsParameters(Parameters):
    """CAT-RS."""

    noises: Annotated[int, Field(ge=1)] = 4
    """m: noises per image."""
    lbd: Annotated[float, Field(ge=0)] = 1.0
    """λ: weight of the worst-case loss of images that are classified correctly under every noise."""
    steps: Annotated[int, Field(ge=1)] = 4
    """T: steps of the attack on the noises."""
    epsilon: Annotated[float, Field(gt=0)] = 1.0
    """ε: ℓ2 radius of the attack on the noises. The authors' code divides its value by 256."""
    doubling_epoch: Annotated[float, Field(ge=0)] = 0.0
    """Epoch from which ε is doubled; 0: never."""
    confidence: Literal["current", "teacher"] = "current"
    """Network whose share of correct predictions decides how many noises count: the trained one or the teacher."""
    teacher_draws: Annotated[int, Field(ge=1)] = 10_000
    """Noises per training image for the teacher's smoothed prediction."""


METHOD = Method(
    name="cat-rs",
    title="CAT-RS",
    citation="Jeong, Kim, Shin: Confidence-aware Training of Smoothed Classifiers for Certified Robustness, AAAI 2023",
    revision=2,
    about="Trains on as many of an image's m noises as the network can bear: a random number K with the share "
    "of them that it classifies rightly, those of the lowest loss. Where K = m it adds the worst case: "
    "noises attacked to move the prediction away from a teacher's smoothed one.",
    use_when="For a large average certified radius: in public logs on CIFAR-10 it leads the methods of rsctl at each sigma (0.562, 0.757 and 0.815 at 0.25, 0.5 and 1.0). A Gaussian teacher is trained first.",
    parameters=CatRsParameters,
    passes=lambda parameters, classes: 2 * parameters["noises"],
    printed_for=("cifar10", "cifar100"),
    defaults=(
        Defaults({"noises": 4, "steps": 4, "epsilon": 1.0, "teacher_draws": 10_000}, source=CODE),
        Defaults({**CIFAR_150, **SMALLER_STEPS}, source=CODE),
        Defaults({"lbd": 0.5}, source=CIFAR, sigma=0.25),
        Defaults({"lbd": 1.0}, source=CIFAR, sigma=0.5),
        Defaults({"lbd": 2.0}, source=CIFAR, sigma=1.0),
        Defaults(
            {
                **IMAGENET_90,
                "milestones": [30.0, 60.0, 85.0],
                "noises": 2,
                "steps": 1,
                "lbd": 2.0,
                "doubling_epoch": 80.0,
                "confidence": "teacher",
            },
            source=f"{CODE}; the last reduction as its option says (read closely, its scheduler undoes it after one epoch)",
            dataset="imagenet",
        ),
        *(
            Defaults({**MNIST_90, "epochs": 150, "step_epochs": 50}, source=MNIST, dataset=name)
            for name in MNISTS
        ),
        Defaults(
            {"lbd": 1.0},
            source=f"{CODE}: the folder of the MNIST model that it certifies on MNIST-C",
            dataset="mnist",
            sigma=0.25,
        ),
        Defaults(
            {**digits(40), "noises": 4, "steps": 1, "epsilon": 0.25, "teacher_draws": 100},
            source=OURS,
            dataset="digits",
        ),
    ),
    # The authors' README: the teacher's noise is 0.25 for every noise level of the pupil.
    predictions="teacher_draws",
    parents={"teacher": {"name": "gaussian", "sigma": 0.25}},
)
