"""Training of a denoiser before a classifier (Salman et al. 2020)."""

from typing import Literal

from rsctl.catalog.declare import Defaults, Method, Parameters
from rsctl.catalog.recipes import OURS, digits

CODE = "Salman et al. 2020, authors' code: train_denoiser.py"


class DenoiseParameters(Parameters):
    """Training of a denoiser."""

    objective: Literal["mse", "stability"] = "mse"
    """`mse` is the squared distance between denoised and clean images, without the classifier. `stability` is the cross-entropy
    between the classifier's prediction on the denoised image and its class for the clean one."""


METHOD = Method(
    name="denoise",
    title="Denoised smoothing",
    citation="Salman, Sun, Yang, Kapoor, Kolter: Denoised Smoothing: A Provable Defense for Pretrained Classifiers, NeurIPS 2020",
    revision=1,
    about="Trains a denoiser before a classifier that stays as it is, so that their composition classifies noisy images. It needs no "
    "labels: its targets are the clean images, or the classifier's own classes for them.",
    use_when="To certify a classifier that was trained without noise and can't be, or needn't be, trained again.",
    parameters=DenoiseParameters,
    model="denoised",
    printed_for=("cifar10", "imagenet"),
    defaults=(
        Defaults(
            {
                "epochs": 90,
                "batch_size": 256,
                "optimizer": "adam",
                "lr": 1e-3,
                "weight_decay": 1e-4,
                "schedule": "step",
                "step_epochs": 30,
                "step_shift": 1,
            },
            source=CODE,
        ),
        Defaults(
            {**digits(60), "optimizer": "adam", "lr": 5e-3, "weight_decay": 0.0, "step_shift": 0},
            source=OURS,
            dataset="digits",
        ),
    ),
    example={
        "model": {"name": "denoised", "denoiser": "dncnn"},
        "method.objective": "mse",
        "method.teacher": {"name": "gaussian", "sigma": 0.0, "model": "cnn"},
    },
)
