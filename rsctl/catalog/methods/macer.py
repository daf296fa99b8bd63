"""MACER (Zhai et al. 2020).

The authors' networks have no normalisation layer (`[training] normalisation = "none"`, as templates/macer2020-cifar10.toml
sets it); those who train MACER to compare with it keep the layer of all their networks, and so do the defaults.
"""

from typing import Annotated

from pydantic import Field

from rsctl.catalog.declare import Defaults, Method, Parameters
from rsctl.catalog.recipes import IMAGENET_90, MNIST_90, MNIST_CODE, MNISTS, OURS, digits

CODE = "Zhai et al. 2020, authors' code: main.py"
LOGS = "Jeong, Shin 2020, authors' code: data/certify/cifar10/macer, their runs of MACER"


class MacerParameters(Parameters):
    """MACER."""

    noises: Annotated[int, Field(ge=1)] = 16
    """k: noises per image."""
    beta: Annotated[float, Field(gt=0)] = 16.0
    """β: inverse temperature of the softmax whose mean estimates the class probabilities."""
    gamma: Annotated[float, Field(gt=0)] = 8.0
    """γ: margin, in units of Φ⁻¹, above which an image has no robustness loss."""
    lbd: Annotated[float, Field(ge=0)] = 12.0
    """λ: weight of the robustness loss."""
    lbd_from_epoch: Annotated[float, Field(ge=0)] = 0.0
    """Epoch from which the robustness loss counts."""


METHOD = Method(
    name="macer",
    title="MACER",
    citation="Zhai et al.: MACER: Attack-free and Scalable Robust Training via Maximizing Certified Radius, ICLR 2020",
    revision=1,
    about="Maximises the certified radius of a soft smoothed classifier, whose probabilities are means of "
    "softmax outputs over k noises; there is no attack. The radius counts for images that are classified "
    "rightly and whose margin is at most γ, and a cross-entropy of the mean prediction for all.",
    use_when="For large certified radii without an attack. It pays in noises, 16 per image by default, and in "
    "epochs: the authors train 440 on CIFAR-10.",
    parameters=MacerParameters,
    printed_for=("cifar10", "cifar100"),
    defaults=(
        Defaults({"noises": 16, "beta": 16.0, "gamma": 8.0, "lbd": 12.0}, source=CODE),
        Defaults(
            {
                "epochs": 440,
                "batch_size": 64,
                "lr": 0.01,
                "weight_decay": 5e-4,
                "schedule": "step",
                "milestones": [200.0, 400.0],
            },
            source=CODE,
        ),
        Defaults({"lbd": 4.0}, source=LOGS, dataset="cifar10", sigma=0.5),
        Defaults(
            {"lbd": 12.0, "lbd_from_epoch": 200.0},
            source="Jeong, Kim, Shin 2023, authors' code: EXPERIMENTS.MD and train_macer.py: λ = 0 until the first reduction of the rate",
            dataset="cifar10",
            sigma=1.0,
        ),
        Defaults(
            {**IMAGENET_90, "epochs": 120, "weight_decay": 1e-4, "milestones": []},
            source="Zhai et al. 2020, authors' code: README for the epochs; the rest as others train ImageNet",
            dataset="imagenet",
        ),
        Defaults(
            {"noises": 2, "lbd": 6.0},
            source="a public variant of the authors' code (its README trains ImageNet at sigma = 0.25); no other sigma was found",
            dataset="imagenet",
        ),
        *(
            Defaults(
                {**MNIST_90, "weight_decay": 1e-4, "milestones": [], "lbd": 16.0, "lbd_from_epoch": 31.0},
                source=f"{MNIST_CODE}; train_macer.py: lambda = 0 up to and with epoch 30, counted from 0",
                dataset=name,
            )
            for name in MNISTS
        ),
        *(Defaults({"lbd": 6.0}, source=MNIST_CODE, dataset=name, sigma=1.0) for name in MNISTS),
        Defaults(
            {**digits(80), "lr": 0.01, "noises": 4, "lbd": 1.0, "lbd_from_epoch": 20.0},
            source=OURS,
            dataset="digits",
        ),
    ),
)
