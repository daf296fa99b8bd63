"""Gaussian data augmentation (Cohen, Rosenfeld, Kolter 2019)."""

from rsctl.catalog.declare import Defaults, Method
from rsctl.catalog.recipes import MNIST_90, MNIST_CODE, MNISTS

METHOD = Method(
    name="gaussian",
    title="Gaussian augmentation",
    citation="Cohen, Rosenfeld, Kolter: Certified Adversarial Robustness via Randomized Smoothing, ICML 2019",
    revision=1,
    about="Trains the base classifier on images with fresh noise added at every step, by the ordinary "
    "cross-entropy. So the network learns to classify what it is shown later, when the smoothed "
    "classifier is sampled at the same sigma.",
    use_when="First: it costs one pass per image and is the baseline that every other method is compared with.",
    splitting=True,
    printed_for=("cifar10", "cifar100", "imagenet"),
    defaults=(
        Defaults(
            {
                "epochs": 90,
                "batch_size": 400,
                "lr": 0.1,
                "momentum": 0.9,
                "weight_decay": 1e-4,
                "schedule": "step",
                "step_epochs": 30,
            },
            source="Cohen 2019, authors' code: experiments.MD",
        ),
        *(Defaults(MNIST_90, source=MNIST_CODE, dataset=name) for name in MNISTS),
        Defaults(
            {
                "epochs": 90,
                "batch_size": 64,
                "lr": 0.05,
                "schedule": "onecycle",
                "warmup_epochs": 18.0,
                "weight_decay": 2e-3,
            },
            source="this project: a small network on 8x8 digits in seconds",
            dataset="digits",
        ),
    ),
)
