"""Networks of libraries as base classifiers: resized images in, the logits of the data set's classes out."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from rsctl.catalog import find, known_models
from rsctl.catalog.library import LibraryParameters
from rsctl.errors import InputError

INSIDE = "network."
"""Prefix of the library's own names in the state dict."""


def is_library(model: str) -> bool:
    """True for a declared model whose network a library builds, and names."""
    return issubclass(find("model", model, known_models()).parameters, LibraryParameters)


def published_normalisation(
    model: str, parameters: Mapping[str, Any]
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and standard deviation that the library states for the published weights of an architecture; None if unknown."""
    module = importlib.import_module(find("model", model, known_models()).module)
    stated = getattr(module, "normalisation", None)
    return None if stated is None else stated(parameters)


def names_in_files(model: str, network: nn.Module) -> dict[str, str]:
    """Names of entries in the library's files → those in the state dict of a `LibraryNetwork`, where they differ by more than `INSIDE`."""
    module = importlib.import_module(find("model", model, known_models()).module)
    renamed = getattr(module, "names_in_files", None)
    return {} if renamed is None else {saved: INSIDE + own for saved, own in renamed(network.network).items()}


def releases_in(network: nn.Module) -> str:
    """The libraries that networks in this one are built by, with their releases; empty for none."""
    return ", ".join(
        sorted({one.release for one in network.modules() if isinstance(one, LibraryNetwork)} - {""})
    )


class LibraryNetwork(nn.Module):
    """A library's network, (B, C, H, W) → (B, classes)."""

    def __init__(self, network: nn.Module, resize: int, outputs: Sequence[int], *, named: bool) -> None:
        """`resize`: side of the images that the network sees, 0 for theirs; `outputs`: one of each class, empty for all in order.

        `named`: the network takes `pixel_values` and returns a table with `logits`, as those of Transformers do.
        """
        super().__init__()
        self.network, self.resize, self.named = network, resize, named
        self.release = ""
        """The library and its release, such as `timm 1.0.9`: it decides what the network computes."""
        self.outputs: Tensor | None
        self.register_buffer("outputs", torch.tensor(outputs) if outputs else None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.resize:
            size = (self.resize, self.resize)
            x = functional.interpolate(x.float(), size, mode="bicubic", antialias=True).to(x.dtype)
        logits: Tensor = self.network(pixel_values=x).logits if self.named else self.network(x)
        return logits if self.outputs is None else logits[:, self.outputs]


def library_network(
    made: Callable[[int], nn.Module], where: str, classes: int, channels: int, size: int,
    *, resize: int = 0, head: int = 0, outputs: Sequence[int] = (), named: bool = False, package: str = "",
) -> LibraryNetwork:  # fmt: skip
    """The network that `made` returns for a number of outputs, checked on one image without values.

    Raises InputError, beginning with `where`, if it can't be made, doesn't take images of this shape or returns no logits.
    """
    wanted = head or classes
    if outputs and len(outputs) != classes:
        raise InputError(f"model.outputs: has {len(outputs)} entries; the data set has {classes} classes.")
    if max(outputs, default=0) >= wanted:
        raise InputError(
            f"model.outputs: {max(outputs)} isn't one of the network's {wanted} outputs (0 to {wanted - 1})."
        )
    if not outputs and wanted != classes:
        raise InputError(
            f"model.outputs: the network has {wanted} outputs and the data set {classes} classes: list the output of each class."
        )
    try:
        network = made(wanted)
    except InputError:
        raise
    except Exception as error:  # whatever a library raises for a name or a configuration
        raise InputError(f"{where}: can't be built ({_first_line(error)}).") from error
    if not isinstance(network, nn.Module):
        raise InputError(f"{where}: is a {type(network).__name__}, not an nn.Module.")
    built = LibraryNetwork(network, resize, outputs, named=named)
    built.release = f"{package} {version(package)}" if package else ""
    _require_logits(built, where, (1, channels, size, size), classes)
    return built


def _require_logits(built: LibraryNetwork, where: str, shape: tuple[int, ...], classes: int) -> None:
    side = built.resize or shape[-1]
    trial = copy.deepcopy(built).to("meta").eval()
    try:
        with torch.no_grad():
            logits: Any = trial(torch.zeros(shape, device="meta"))
    except Exception as error:
        raise InputError(
            f"{where}: doesn't take images of {shape[1]}x{side}x{side} ({_first_line(error)}). model.resize sets the side that the "
            "network sees; noise and normalisation come before it."
        ) from error
    if not isinstance(logits, Tensor):
        raise InputError(
            f"{where}: returns a {type(logits).__name__}; it must return logits, a tensor (images, classes)."
        )
    if tuple(logits.shape) != (1, classes):
        raise InputError(
            f"{where}: returns {tuple(logits.shape)} for one image; it must return logits, (1, {classes})."
        )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__
