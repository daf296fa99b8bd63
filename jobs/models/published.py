"""Checkpoints that others published: what a file holds, in which layout, and what it says of itself.

A file of weights doesn't say what was done to the images before the first convolution, and the wrong answer is what is
reported most often of pretrained smoothed classifiers. So the layout is recognised and named, the normalisation that
goes with it is assumed aloud, and `jobs.models.judge` classifies some hundred images before anything is sampled.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core.multiarray import scalar
from torch import Tensor

from jobs.tensors import TorchScriptArchive, load_tensors, unusable
from rsctl.errors import InputError, UserError
from rsctl.regular import read_regular

WRAPPINGS = ("state_dict", "net", "model_state_dict", "model")
"""Where a checkpoint may keep its weights, besides the optimiser and the like."""
PREFIXES = ("module.", "1.", "_orig_mod.", "model.", "net.")
"""What wrappers put before every key: DataParallel, a normalisation layer in front, torch.compile, classes that hold a network."""
RENAMED = ((".shortcut.", ".downsample."), ("linear.", "fc."))
"""Names of other public ResNet code, and those of here."""
CLAIMS = ("best_prec1", "prec1", "best_acc1", "best_acc", "test_acc", "acc", "accuracy", "best_sa")
"""Under which names checkpoints keep the accuracy that their authors measured: per cent, or a share."""
NUMBERS: list[Any] = [
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("float64", "float32", "int64", "int32")),
    *((scalar, f"{package}.multiarray.scalar") for package in ("numpy.core", "numpy._core")),
]
"""NumPy's numbers, which many checkpoints keep an accuracy in: reading one runs nothing of the file."""


@dataclass(frozen=True)
class Weights:
    """What a file holds."""

    state_dict: dict[str, Tensor]
    """Of the network without what wraps it; the counters of batch normalisation left out."""
    layout: str
    """In a few words."""
    said: str
    """The architecture that the file names, or empty."""
    normalisation: str
    """What goes with this layout (`rsctl.catalog.published.NORMALISATIONS`)."""
    why: str
    sha256: str
    """Hex, of the file."""
    claim: tuple[str, float] | None = None
    """The clean accuracy that the file states, in [0, 1], and under which name."""


def read_weights(file: Path) -> Weights:
    """Read a checkpoint, with `weights_only=True`: nothing in it is run.

    Raises
    ------
    InputError
        The file isn't there, isn't a checkpoint, needs more than weights to be read, or holds no weights.
    """
    try:
        data = read_regular(file)
        sha256 = hashlib.sha256(data).hexdigest()
    except OSError as error:
        raise InputError(f"{file}: can't be read ({error.strerror}).") from error
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(NUMBERS):
            warnings.simplefilter("ignore")  # of formats, which are named below where they hinder
            stored = load_tensors(data)
    except UserError:
        raise
    except Exception as error:
        raise InputError(_unreadable(file, error)) from error
    if problem := unusable(stored):
        raise InputError(f"{file}: {problem}.")
    if not isinstance(stored, Mapping):
        raise InputError(f"{file}: holds a {type(stored).__name__}, not weights by name.")
    wrapping = "" if _weights(stored) else next((key for key in WRAPPINGS if _weights(stored.get(key))), None)
    if kind := next((value.dtype for value in _tensors(stored) if value.is_quantized), None):
        raise InputError(
            f"{file}: holds the weights of a quantised network ({kind}), whose integer arithmetic isn't run here. "
            "Take the checkpoint with floating-point weights that it was made from."
        )
    if wrapping is None:
        names = [str(name) for name in stored]
        raise InputError(
            f"{file}: holds no weights by name. Looked under {', '.join(WRAPPINGS)}; there are: "
            f"{', '.join(names[:8]) or '(nothing)'}{', …' * (len(names) > 8)}."
        )
    found = stored[wrapping] if wrapping else stored
    if isinstance(found, list):
        if len(found) > 1:
            raise InputError(_cascade(file, wrapping, len(found)))
        found = found[0]
    weights = {name: value for name, value in found.items() if not name.endswith("num_batches_tracked")}
    prefix = ""
    while (
        step := next((p for p in PREFIXES if all(name.startswith(prefix + p) for name in weights)), None)
    ) is not None:
        prefix += step
    bare = {name[len(prefix) :]: value for name, value in weights.items()}
    layout = f"{{{', '.join(map(str, stored))}}}" if wrapping else "a bare state dict"
    layout += f" with keys '{prefix}…'" if prefix else " with keys of no prefix"
    weights = plain(bare) or {_renamed(name): value for name, value in bare.items()}
    normalisation, why = _assumed(prefix, wrapping, bare, stored)
    said = str(stored.get("arch", "")) if wrapping else ""
    return Weights(weights, layout, said, normalisation, why, sha256, _claim(stored) if wrapping else None)


def _claim(stored: Mapping[str, Any]) -> tuple[str, float] | None:
    """The accuracy a checkpoint states."""
    for name in CLAIMS:
        value = stored.get(name)
        if isinstance(value, np.generic) or (isinstance(value, Tensor) and value.numel() == 1):
            value = value.item()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= 100:
            return name, value / 100 if value > 1 else float(value)
    return None


def plain(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same weights under the names of the models `convolutions` and `mlp`; empty where they aren't such a network's.

    Told by nothing but shapes and, where layers are numbered, by numbers: in nn.Sequential a pooling layer, or any other
    without weights, leaves a gap. A network whose convolutions have names could pool anywhere: not taken as a plain one.
    """
    names = [name.removesuffix(".weight") for name in weights if name.endswith(".weight")]
    if not names or {*weights} != {f"{name}.{kind}" for name in names for kind in ("weight", "bias")}:
        return {}
    numbered = all(name.isdigit() for name in names)
    names = sorted(names, key=int) if numbered else names
    dimensions = [weights[f"{name}.weight"].dim() for name in names]
    count = dimensions.count(4)
    if (
        dimensions != [4] * count + [2] * (len(names) - count)
        or count == len(names)
        or (count and not numbered)
    ):
        return {}
    places = [
        2 * at + (at >= count) for at in range(len(names))
    ]  # a ReLU after each; a flattening between the kinds
    if numbered and any(
        int(name) - place != int(names[0]) - places[0] for name, place in zip(names, places, strict=True)
    ):
        return {}
    widths = [tuple(weights[f"{name}.weight"].shape[:2]) for name in names]
    if any(after[1] != before[0] for at, (before, after) in enumerate(pairwise(widths), 1) if at != count):
        return {}
    return {
        f"{place}.{kind}": weights[f"{name}.{kind}"]
        for name, place in zip(names, places, strict=True)
        for kind in ("weight", "bias")
    }


def _weights(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(one, Mapping) and _weights(one) for one in value)
    return isinstance(value, Mapping) and bool(value) and all(isinstance(v, Tensor) for v in value.values())


def _tensors(stored: Mapping[str, Any]) -> Iterator[Tensor]:
    """Those of a checkpoint, and of what it wraps."""
    for value in stored.values():
        if isinstance(value, Mapping):
            yield from _tensors(value)
        elif isinstance(value, Tensor):
            yield value


def _renamed(name: str) -> str:
    for theirs, ours in RENAMED:
        name = (
            name.replace(theirs, ours)
            if theirs[0] == "."
            else ours + name.removeprefix(theirs)
            if name.startswith(theirs)
            else name
        )
    return name


def _assumed(
    prefix: str, wrapping: str, weights: Mapping[str, Tensor], stored: Mapping[str, Any]
) -> tuple[str, str]:
    """The normalisation of a layout, and why."""
    if "1." in prefix:
        return (
            "dataset",
            "the keys leave the place of a layer in front of the network, which subtracts the mean and divides by the standard "
            "deviation in Cohen 2019 and its successors (some models of Salman 2019 only subtract the mean: 'centre')",
        )
    if wrapping == "net" and "acc" in stored:
        return (
            "dataset",
            "{net, acc, epoch} is what pytorch-cifar (kuangliu) and scripts made from it write, whose networks are trained on images "
            "normalised beforehand",
        )
    if wrapping == "net":
        return "none", "MACER's layout: its networks see images in [0, 1] as they are"
    if (
        "linear.weight" in weights
        and "layer3.0.bn1.weight" in weights
        and not any(".shortcut." in k for k in weights)
    ):
        return (
            "imagenet",
            "CIFAR ResNets with shortcuts without weights are published by pytorch_resnet_cifar10, which normalises images "
            "outside the network with ImageNet's values, on CIFAR too",
        )
    return (
        "dataset",
        "no layer in front of the network is stored: such networks are trained on images normalised beforehand",
    )


def in_shell(code: str) -> str:
    """The command that runs this code, for a shell, whatever the file in it is called."""
    return f"python -c {shlex.quote(code)}"


def _cascade(file: Path, wrapping: str, count: int) -> str:
    return (
        f"{file}: holds {count} networks under '{wrapping}', a cascade whose later ones see what earlier ones can't certify; "
        "rsctl certifies one network. The first to a file of its own:\n"
        + in_shell(
            f"import torch; c = torch.load({str(file)!r}, map_location='cpu', weights_only=True); "
            f"torch.save(c[{wrapping!r}][0], {file.stem + '.first.pt'!r})"
        )
    )


def _unreadable(file: Path, error: Exception) -> str:
    if isinstance(error, TorchScriptArchive):
        return (
            f"{file}: is a TorchScript program, not weights; loading it would run code of the file, so it is refused. Where you "
            "trust it, write its weights to a file of their own:\n"
            + in_shell(
                f"import torch; c = torch.jit.load({str(file)!r}, map_location='cpu'); "
                f"torch.save(c.state_dict(), {file.stem + '.weights.pt'!r})"
            )
        )
    # What PyTorch says when it refuses to import or to call something.
    needs = re.search(r"GLOBAL ([\w.]+)|unrecognized function <\w+ ([^>]+)>|class ([\w.]+)", str(error))
    if needs is None:
        reason = re.search(r"WeightsUnpickler error:\s*(.+)", str(error)) or re.search("(.+)", str(error))
        said = reason[1] if reason else ""
        return f"{file}: is no checkpoint that PyTorch can read ({type(error).__name__}: {said})."
    name = next(filter(None, needs.groups()))
    package = name.split(".")[0]
    if package == "__main__":
        where = ", in the script that defined it"
    else:
        where = "" if find_spec(package) else f", where its authors' code with '{package}' is"
    return (
        f"{file}: holds Python objects besides weights ({name}); loading it would run code of the file, "
        "so it is refused. Where you trust it, write its weights to a file of their own"
        f"{where}:\n"
        + in_shell(
            f"import torch; c = torch.load({str(file)!r}, map_location='cpu', weights_only=False); "
            "torch.save(c.state_dict() if hasattr(c, 'state_dict') else {k: c[k] for k in ('arch', 'state_dict', 'net') if k in c}, "
            f"{file.stem + '.weights.pt'!r})"
        )
    )
