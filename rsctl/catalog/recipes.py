"""Training recipes that several methods share: fields of `Recipe` with the values that papers print.

Where code executed something else than it prints (`step_shift`), the templates of its tables say so.
"""

from __future__ import annotations

from typing import Any


def by_steps(epochs: int, step_epochs: int, lr: float = 0.1) -> dict[str, Any]:
    """SGD whose rate falls to a tenth every `step_epochs` epochs."""
    return {"epochs": epochs, "batch_size": 256, "lr": lr, "schedule": "step", "step_epochs": step_epochs}


CIFAR_150 = by_steps(150, 50)
"""Salman 2019 on CIFAR-10, and those who build on its code."""
IMAGENET_90 = by_steps(90, 30)
"""The same on ImageNet."""
MNIST_90 = by_steps(90, 30, lr=0.01)
"""Jeong 2020 on MNIST, and Jeong 2021 and 2023 for their baselines."""
MNISTS = ("mnist", "fashion-mnist")
"""Data sets of that recipe: the logs of Jeong 2023 show it for Fashion-MNIST too, and nothing else of its runs there."""
MNIST_CODE = (
    "Jeong, Shin 2020, authors' code: EXPERIMENTS.MD, MNIST; the epochs and rates on Fashion-MNIST by the logs of "
    "Jeong 2023, the rest there as on MNIST"
)
SMALLER_STEPS: dict[str, Any] = {"noise_steps": "smaller"}
"""m optimiser steps per batch of the loader, as the code of Salman 2019 and Jeong 2020 makes them."""
DIGITS: dict[str, Any] = {"batch_size": 64, "lr": 0.05, "schedule": "onecycle", "weight_decay": 2e-3, "noise_steps": "one"}  # fmt: skip
"""This project's recipe for a small network on 8x8 digits, in seconds."""
OURS = "this project: a small network on 8x8 digits in seconds"


def digits(epochs: int, **further: Any) -> dict[str, Any]:
    """The digits recipe with this many epochs, a fifth of them warm-up."""
    return {**DIGITS, "epochs": epochs, "warmup_epochs": epochs / 5, **further}
