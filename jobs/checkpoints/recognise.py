"""Recognises the declared architecture that a published checkpoint's weights belong to, and builds the network."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from jobs.checkpoints.denoised_layers import DENOISED, classifier_in, denoiser_in, has_denoiser
from jobs.checkpoints.formats import Weights
from jobs.checkpoints.generic_layers import GENERIC, NOT_PLAIN, further_layers, geometries, not_generic
from jobs.checkpoints.heads import other_head
from jobs.checkpoints.parts import COUNTERS
from jobs.models import build_model
from jobs.models.library import INSIDE, is_library, names_in_files
from jobs.models.normalize import normalisation_values
from rsctl.catalog import find, known_models, network_name
from rsctl.catalog.declare import DataSet, DataShape
from rsctl.errors import InputError, UserError

FAMILIES = {
    "patch_embed.proj.": "a vision transformer (ViT, DeiT or MAE)",
    "vit.embeddings.": "a vision transformer of Hugging Face",
    "class_token": "a vision transformer of torchvision",
    "denseblock1.": "a DenseNet",
    "conv_stem.": "an EfficientNet or MobileNet of timm",
    "features.0.0.weight": "a MobileNet or EfficientNet of torchvision",
    "stages.0.blocks.": "a ConvNeXt or RegNet of timm",
    "stem.0.weight": "a ConvNeXt or ResNet-D of timm",
    "classifier.6.weight": "a VGG or AlexNet of torchvision",
    "visual.": "a CLIP model",
}
"""Parts of layer names, and the networks that they belong to; libraries build these by name."""


DERIVED = ("attn_mask", "relative_coords_table", "position_ids", "rope.periods")
"""Endings of such entries with floating-point values."""


def recognise(
    weights: Weights,
    dataset: DataSet,
    shape: DataShape,
    arch: str = "",
    given: Mapping[str, Any] | None = None,
) -> tuple[str, dict[str, Any]]:
    """The declared architecture that these weights belong to, by the names and shapes of its layers, and its parameters.

    `given` parameters stand in for those that the shapes tell. Raises InputError where no architecture fits, or `arch`
    doesn't, naming what differs.
    """
    if arch:
        find("model", arch, known_models())
    differences: dict[str, str] = {}
    shared: dict[str, float] = {}
    """Share of the names that both have."""
    heads: dict[str, str] = {}
    for name in (arch,) if arch else _candidates(weights.state_dict):
        parameters = {**parameters_in(name, weights.state_dict, shape, given), **(given or {})}
        if name == DENOISED and not parameters.get("classifier"):
            behind, own = recognise(classifier_in(weights), dataset, shape)
            parameters["classifier"] = json.dumps({"name": behind, **own}, sort_keys=True)
        if name in GENERIC and not parameters and not (arch and given):
            differences[name] = not_generic(name, weights.state_dict, shape)
            if differences[name] != NOT_PLAIN:
                shared[name] = 1.0
            continue
        try:
            wanted = entries_of(name, parameters, dataset, shape, bool(arch))
        except UserError as error:
            differences[name] = str(error)
            continue
        difference = _difference(name, wanted, weights)
        if not difference:
            return name, parameters
        differences[name] = difference
        heads[name] = other_head(name, wanted, weights.state_dict, shape.classes)
        theirs = weights.state_dict.keys()
        shared[name] = len(wanted.keys() & theirs) / len(wanted.keys() | theirs)
    if arch:
        where = "" if is_library(arch) else "--arch: "
        raise InputError(
            f"{where}the weights aren't those of {network_name(arch, given or {})}: {differences[arch]}.{heads.get(arch, '')}"
        )
    # Not those that couldn't be built at all: their text says nothing of layers.
    nearest = min(shared or differences, key=lambda name: (-shared.get(name, 0), len(differences[name])))
    family = next(
        (family for key, family in FAMILIES.items() if any(key in one for one in weights.state_dict)), ""
    )
    about = (
        f"Its names are those of {family}: --arch timm:NAME, torchvision:NAME or hf:FOLDER builds it"
        if family
        else f"Closest is {nearest}: {differences[nearest]}"
    )
    another = f"{heads.get(nearest, '')} --arch takes another, of a library (timm:NAME) or of your own code (python:MODULE:FUNCTION)."
    raise InputError(
        f"the weights fit none of the known architectures ({', '.join(differences)})"
        + (f"; the file calls it '{weights.said}'" if weights.said else "")
        + f". {about}.{'' if family else another}"
    )


def _candidates(weights: Mapping[str, Tensor]) -> list[str]:
    """The architectures that weights without a stated one are compared with."""
    named = [one for one in known_models() if not is_library(one) and one != DENOISED]
    return [DENOISED, *named] if has_denoiser(weights) else named


def entries_of(
    name: str, parameters: Mapping[str, Any], dataset: DataSet, shape: DataShape, asked_for: bool = True
) -> dict[str, Tensor]:
    """The entries of such a network, without the counters of batch normalisation."""
    key = (name, repr(parameters), shape.channels, shape.size, shape.classes, asked_for)
    if key not in _OUTLINES:
        network = _outline(name, parameters, dataset, shape, asked_for=asked_for)
        _OUTLINES[key] = {k: v for k, v in network.state_dict().items() if not k.endswith(COUNTERS)}
    return _OUTLINES[key]


_OUTLINES: dict[tuple[Any, ...], dict[str, Tensor]] = {}
"""Every part of a file is compared with every architecture."""


def library_names(
    name: str, parameters: Mapping[str, Any], dataset: DataSet, shape: DataShape
) -> Callable[[str], str]:
    """The name that an entry of a library's file has in its network here; raises InputError where that can't be built."""
    renamed = names_in_files(name, _outline(name, parameters, dataset, shape, asked_for=True))
    return lambda key: renamed.get(key, INSIDE + key)


def _outline(
    name: str, parameters: Mapping[str, Any], dataset: DataSet, shape: DataShape, *, asked_for: bool
) -> nn.Module:
    """A network of that shape without memory for its weights; one that can't be built so only if it was requested."""
    try:
        with torch.device("meta"):
            return build_model(name, parameters, dataset=dataset, shape=shape)[1]
    except RuntimeError as error:
        if not asked_for:
            raise InputError(f"checked for {name} only with --arch {name}") from error
    return build_model(name, parameters, dataset=dataset, shape=shape)[1]


def parameters_in(
    name: str, weights: Mapping[str, Tensor], shape: DataShape, given: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The parameters of an architecture that the shapes of its layers tell, without those at their default."""
    first = weights.get("features.0.weight")
    if name == "cnn" and first is not None and first.dim() == 4:
        return {"width": len(first)}
    if name == "lenet":
        units = [len(weights.get(f"{layer}.weight", ())) for layer in ("conv1", "conv2", "fc1")]
        return {"widths": units} if min(units) > 1 and units != [20, 50, 500] else {}
    if (
        name.startswith("resnet")
        and "layer3.0.bn1.weight" in weights
        and "layer4.0.bn1.weight" not in weights
    ):
        projects = any("downsample" in key for key in weights)
        return {} if projects else {"shortcut": "padding"}
    if name == "wideresnet" and "1.conv1.weight" in weights:
        blocks = sum(re.fullmatch(r"\d+\.conv1\.weight", key) is not None for key in weights)
        found_here = {"depth": 2 * blocks + 4, "widen": len(weights["1.conv1.weight"]) // 16}
        return {
            key: value
            for key, value in found_here.items()
            if (key, value) not in (("depth", 40), ("widen", 2))
        }
    if name == DENOISED:
        return denoiser_in(weights) if has_denoiser(weights) else {}
    layers = [value for key, value in weights.items() if re.fullmatch(r"\d+\.weight", key)]
    kinds = {layer.dim() for layer in layers}
    widths = [len(layer) for layer in layers if layer.dim() == 2][:-1]
    if name == "mlp" and kinds == {2} and widths:
        return {"widths": widths}
    if name == "convolutions" and kinds == {2, 4}:
        found = (
            [given["convolutions"]] if given and "convolutions" in given else geometries(layers, shape.size)
        )
        return {"convolutions": found[0], "widths": widths} if found else {}
    return {}


def _difference(name: str, wanted: Mapping[str, Tensor], weights: Weights) -> str:
    """The entries that are missing, too many or of another shape; empty where none is. What lies beside the network isn't too much."""
    said, entries = [], weights.state_dict
    derived = _derived(name, wanted, entries)
    missing = [key for key in wanted if key not in entries and key not in derived]
    entries = {key: value for key, value in entries.items() if key not in derived}
    besides = _of_the_network(wanted, entries) or (further_layers(weights) if name in GENERIC else [])
    shapes = [key for key in wanted if key in entries and wanted[key].shape != entries[key].shape]
    kinds = [
        key
        for key in wanted
        if key in entries and wanted[key].is_floating_point() and not entries[key].is_floating_point()
    ]
    for names, what in ((missing, "entries are missing"), (besides, "are extra")):
        if names:
            shown = ", ".join(map(_shown, names[:3]))
            said.append(f"{len(names)} {what} ({shown}{', …' * (len(names) > 3)})")
    said += [
        f"{_shown(key)} has shape {tuple(entries[key].shape)} and not {tuple(wanted[key].shape)}"
        for key in shapes[:3]
    ]
    return "; ".join(
        said + [f"{_shown(key)} has type {entries[key].dtype}, not floating point" for key in kinds[:1]]
    )


def _shown(entry: str) -> str:
    """The name of an entry without what this project puts before those of a library's network."""
    return entry.removeprefix(INSIDE)


def _derived(name: str, wanted: Mapping[str, Tensor], entries: Mapping[str, Tensor]) -> set[str]:
    """Entries of a library's network that its shape determines, such as indices of positions: releases differ in whether they are saved."""
    if not is_library(name):
        return set()
    integers = {key for key, value in {**entries, **wanted}.items() if not value.is_floating_point()}
    return integers | {key for key in entries if key not in wanted and key.endswith(DERIVED)}


def _of_the_network(wanted: Mapping[str, Tensor], entries: Mapping[str, Tensor]) -> list[str]:
    """Entries within the network's own modules, or of one that continues them (conv3 after conv2): it is another network."""
    own = {re.sub(r"\d+$", "", key.partition(".")[0]) for key in wanted}
    return [
        key
        for key in entries
        if key not in wanted and "." in key and re.sub(r"\d+$", "", key.partition(".")[0]) in own
    ]


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
    built[1].load_state_dict({key: weights.state_dict.get(key, value) for key, value in own.items()})
    return built.float().eval()
