"""Checkpoints that others published: which layout, which architecture, which normalisation, and does it classify?

A file of weights doesn't say what was done to the images before the first convolution, and the wrong answer is what is
reported most often of pretrained smoothed classifiers. So the layout is recognised and named, the normalisation that
goes with it is assumed aloud, and some hundred images are classified before anything is sampled.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from jobs.data import Images
from jobs.models import build_model
from jobs.models.normalize import Values, of_dataset
from jobs.noise import smoothing_noise
from jobs.random import generator
from rsctl.catalog import find, known_models
from rsctl.catalog.declare import DataSet, DataShape
from rsctl.errors import InputError, RefusedError

WRAPPINGS = ("state_dict", "net", "model_state_dict", "model")
"""Where a checkpoint may keep its weights, besides the optimiser and the like."""
PREFIXES = ("module.", "1.", "_orig_mod.")
"""What wrappers put before every key: DataParallel, a normalisation layer in front, torch.compile."""
RENAMED = ((".shortcut.", ".downsample."), ("linear.", "fc."))
"""Names of other public ResNet code, and those of here."""
NORMALISATIONS = ("dataset", "none", "centre")


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
    """What goes with this layout: `dataset`, `none` or `centre`."""
    why: str
    sha256: str
    """Hex, of the file."""


def read_weights(file: Path) -> Weights:
    """Read a checkpoint, with `weights_only=True`: nothing in it is run.

    Raises
    ------
    InputError
        The file isn't there, isn't a checkpoint, needs more than weights to be read, or holds no weights.
    """
    try:
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"{file}: can't be read ({error.strerror}).") from error
    try:
        stored = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(_unreadable(file, error)) from error
    if not isinstance(stored, Mapping):
        raise InputError(f"{file}: holds a {type(stored).__name__}, not weights by name.")
    wrapping = "" if _weights(stored) else next((key for key in WRAPPINGS if _weights(stored.get(key))), None)
    if wrapping is None:
        raise InputError(
            f"{file}: holds no weights by name. Looked under {', '.join(WRAPPINGS)}; there are: "
            f"{', '.join(map(str, stored)) or '(nothing)'}."
        )
    found = stored[wrapping] if wrapping else stored
    weights = {name: value for name, value in found.items() if not name.endswith("num_batches_tracked")}
    prefix = ""
    while (
        step := next((p for p in PREFIXES if all(name.startswith(prefix + p) for name in weights)), None)
    ) is not None:
        prefix += step
    weights = {_renamed(name[len(prefix) :]): value for name, value in weights.items()}
    layout = f"{{{', '.join(map(str, stored))}}}" if wrapping else "a bare state dict"
    layout += f" with keys '{prefix}…'" if prefix else " with keys of no prefix"
    normalisation, why = _assumed(prefix, wrapping)
    said = str(stored.get("arch", "")) if wrapping else ""
    return Weights(weights, layout, said, normalisation, why, sha256)


def _weights(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(isinstance(v, Tensor) for v in value.values())


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


def _assumed(prefix: str, wrapping: str) -> tuple[str, str]:
    """The normalisation of a layout, and why."""
    if "1." in prefix:
        return (
            "dataset",
            "the keys leave the place of a layer in front of the network, which subtracts the mean and divides by the standard "
            "deviation in Cohen 2019 and its successors (some models of Salman 2019 only subtract the mean: 'centre')",
        )
    if wrapping == "net":
        return "none", "MACER's layout: its networks see images in [0, 1] as they are"
    return (
        "dataset",
        "no layer in front of the network is stored: such networks are trained on images normalised beforehand",
    )


def _unreadable(file: Path, error: Exception) -> str:
    # What PyTorch says when it refuses to import or to call something.
    needs = re.search(r"GLOBAL ([\w.]+)|unrecognized function <\w+ ([^>]+)>|class ([\w.]+)", str(error))
    if needs is None:
        reason = re.search(r"WeightsUnpickler error:\s*(.+)", str(error)) or re.search("(.+)", str(error))
        said = reason[1] if reason else ""
        return f"{file}: is no checkpoint that PyTorch can read ({type(error).__name__}: {said})."
    name = next(filter(None, needs.groups()))
    return (
        f"{file}: holds Python objects besides weights ({name}); loading it would run code of the file, "
        "so it is refused. Where you trust it, write its weights to a file of their own:\n"
        f'python -c "import torch; c = torch.load({str(file)!r}, map_location={"cpu"!r}, weights_only=False); '
        "torch.save(c.state_dict() if hasattr(c, 'state_dict') else {k: c[k] for k in ('arch', 'state_dict', 'net') if k in c}, "
        f'{file.stem + ".weights.pt"!r})"'
    )


def recognise(
    weights: Weights, dataset: DataSet, shape: DataShape, arch: str = ""
) -> tuple[str, dict[str, Any]]:
    """The declared architecture that these weights belong to, by the names and shapes of its layers, and its parameters.

    Raises InputError where none fits, or `arch` doesn't, naming what differs.
    """
    if arch:
        find("model", arch, known_models())
    differences: dict[str, str] = {}
    compared: set[str] = set()
    for name in (arch,) if arch else known_models():
        parameters = _parameters(name, weights)
        try:
            network = _outline(name, parameters, dataset, shape, asked_for=bool(arch))
        except InputError as error:
            differences[name] = str(error)
            continue
        wanted = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
        difference = _difference(wanted, weights.state_dict)
        if not difference:
            return name, parameters
        differences[name] = difference
        compared.add(name)
    if arch:
        raise InputError(f"--arch: the weights aren't those of {arch}: {differences[arch]}.")
    # Not those that couldn't be built at all: their text says nothing of layers.
    comparable = [name for name in differences if name in compared] or list(differences)
    nearest = min(comparable, key=lambda name: len(differences[name]))
    raise InputError(
        f"the weights fit no architecture that is known here ({', '.join(differences)})"
        + (f"; the file calls it '{weights.said}'" if weights.said else "")
        + f". Nearest is {nearest}: {differences[nearest]}. An architecture of your own can come from a plugin."
    )


def _outline(
    name: str, parameters: Mapping[str, Any], dataset: DataSet, shape: DataShape, *, asked_for: bool
) -> nn.Module:
    """A network of that shape without memory for its weights; one that can't be built so, only where it is asked for."""
    try:
        with torch.device("meta"):
            return build_model(name, parameters, dataset=dataset, shape=shape)[1]
    except RuntimeError as error:
        if not asked_for:
            raise InputError(f"whether it is a {name} is looked at where --arch says so") from error
    return build_model(name, parameters, dataset=dataset, shape=shape)[1]


def _parameters(name: str, weights: Weights) -> dict[str, Any]:
    """The parameters of an architecture that the shapes of its layers tell."""
    first = weights.state_dict.get("features.0.weight")
    return {"width": len(first)} if name == "cnn" and first is not None and first.dim() == 4 else {}


def _difference(wanted: Mapping[str, Tensor], there: Mapping[str, Tensor]) -> str:
    """What is missing, superfluous or of another shape; empty where nothing is."""
    said = []
    missing = [key for key in wanted if key not in there]
    besides = [key for key in there if key not in wanted]
    shapes = [key for key in wanted if key in there and wanted[key].shape != there[key].shape]
    if missing:
        said.append(
            f"{len(missing)} entries are missing ({', '.join(missing[:3])}{', …' * (len(missing) > 3)})"
        )
    if besides:
        said.append(f"{len(besides)} are besides ({', '.join(besides[:3])}{', …' * (len(besides) > 3)})")
    said += [
        f"{key} has shape {tuple(there[key].shape)} and not {tuple(wanted[key].shape)}" for key in shapes[:3]
    ]
    return "; ".join(said)


def assemble(
    weights: Weights,
    model: str,
    parameters: Mapping[str, Any],
    normalisation: str,
    dataset: DataSet,
    shape: DataShape,
) -> nn.Sequential:
    """The base classifier (Normalize, network) in eval mode on the CPU."""
    shown = normalisation_values(normalisation, dataset, shape)
    built = build_model(model, parameters, dataset=dataset, shape=shape, normalisation=shown)
    own = built[1].state_dict()
    counters = {key: value for key, value in own.items() if key.endswith("num_batches_tracked")}
    built[1].load_state_dict({**counters, **weights.state_dict})
    return built.float().eval()


def normalisation_values(name: str, dataset: DataSet, shape: DataShape) -> Values:
    """`dataset`: (x − mean) / std; `centre`: x − mean; `none`: x."""
    zero, one = (0.0,) * shape.channels, (1.0,) * shape.channels
    mean, std = of_dataset(dataset, shape.channels)
    return {"dataset": (mean, std), "centre": (mean, one), "none": (zero, one)}[name]


@dataclass(frozen=True)
class Accuracy:
    """Share of images that the base classifier gets right."""

    images: int
    clean: float
    noisy: float
    """Under one noise each."""

    @property
    def best(self) -> float:
        """A network trained on noisy images may do badly on clean ones, and the other way round."""
        return max(self.clean, self.noisy)

    def __str__(self) -> str:
        return f"{self.clean:.1%} of {self.images} clean images, {self.noisy:.1%} with noise"


@torch.no_grad()
def accuracy(model: nn.Module, images: Images, sigma: float, device: torch.device) -> Accuracy:
    """On all of these images."""
    model = model.to(device).eval()
    right = [0, 0]
    for first in range(0, len(images), 100):
        pixels, labels = images.batch(torch.arange(first, min(first + 100, len(images))), device)
        clean = pixels.float() / 255
        noise = smoothing_noise(tuple(clean.shape), sigma, 0, generator(device, "accuracy", first))
        for kind, x in enumerate((clean, clean + noise)):
            right[kind] += int((model(x).argmax(dim=1) == labels).sum())
    return Accuracy(len(images), right[0] / len(images), right[1] / len(images))


def least(classes: int) -> float:
    """What a classifier must reach, on clean or on noisy images: a fifth of the way from chance to perfect."""
    return 1 / classes + 0.2 * (1 - 1 / classes)


def judge(
    weights: Weights,
    model: str,
    parameters: Mapping[str, Any],
    normalisation: str,
    dataset: DataSet,
    images: Images,
    sigma: float,
    device: torch.device,
    *,
    anyway: bool = False,
) -> tuple[nn.Sequential, dict[str, Accuracy]]:
    """The model, and its accuracy with each normalisation.

    Raises RefusedError, unless `anyway`, where it classifies next to nothing, or where another normalisation does clearly
    better (by three standard errors).
    """
    shape = images.shape
    built = {
        name: assemble(weights, model, parameters, name, dataset, shape)
        for name in (normalisation, *NORMALISATIONS)
    }
    found = {name: accuracy(network, images, sigma, device) for name, network in built.items()}
    chosen = found[normalisation]
    other = max((name for name in found if name != normalisation), key=lambda name: found[name].best)
    margin = 3 * (0.25 / chosen.images) ** 0.5
    text = f"with the normalisation '{normalisation}' this {model} classifies {chosen} correctly"
    if not anyway and found[other].best > chosen.best + margin and found[other].best >= least(shape.classes):
        raise RefusedError(
            f"{text}; with '{other}' {found[other]}. Say normalisation '{other}', or go on with this one anyway (--anyway)."
        )
    if not anyway and chosen.best < least(shape.classes):
        raise RefusedError(
            f"{text}, at least {least(shape.classes):.0%} on one of them are asked for; the other normalisations do no better. "
            "It may be another data set, another order of classes or another architecture; --anyway goes on all the same."
        )
    return built[normalisation], found
