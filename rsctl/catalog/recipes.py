"""Training recipes that several methods share: fields of `Recipe` with the values that papers print."""

from __future__ import annotations

from typing import Any

CIFAR_150: dict[str, Any] = {
    "epochs": 150,
    "batch_size": 256,
    "lr": 0.1,
    "schedule": "step",
    "step_epochs": 50,
}
"""Salman 2019 on CIFAR-10, and those who build on its code."""
IMAGENET_90: dict[str, Any] = {
    "epochs": 90,
    "batch_size": 256,
    "lr": 0.1,
    "schedule": "step",
    "step_epochs": 30,
}
"""The same on ImageNet."""
SMALLER_STEPS: dict[str, Any] = {"noise_steps": "smaller"}
"""m optimiser steps per batch of the loader, as the code of Salman 2019 and Jeong 2020 makes them."""
DIGITS: dict[str, Any] = {
    "batch_size": 64,
    "lr": 0.05,
    "schedule": "onecycle",
    "weight_decay": 2e-3,
    "noise_steps": "one",
}
"""Of this project: a small network on 8x8 digits in seconds."""
OURS = "this project: a small network on 8x8 digits in seconds"


def digits(epochs: int, **further: Any) -> dict[str, Any]:
    """The digits recipe with this many epochs, a fifth of them warm-up."""
    return {**DIGITS, "epochs": epochs, "warmup_epochs": epochs / 5, **further}
