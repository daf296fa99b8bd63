"""The networks that a file may hold: every sub-tree of its weights by name, whatever wraps it and whatever lies beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

WRAPPINGS = ("state_dict", "net", "model_state_dict", "model")
"""Keys under which checkpoints keep the weights beside optimiser state and the like; the most common first."""
PREFIXES = ("module.", "1.", "_orig_mod.", "model.", "net.")
"""Prefixes that wrappers put before every key: DataParallel, a normalisation layer in front, torch.compile, classes that hold a network."""
COUNTERS = ("num_batches_tracked", "total_ops", "total_params")
"""Entries that count batches or operations, and that no output depends on."""
WEIGHT_NORM = (
    (".weight_g", ".weight_v"),
    (".parametrizations.weight.original0", ".parametrizations.weight.original1"),
)
"""Endings of what weight_norm stores: the length and the direction of each unit's weights."""
FEWEST = 4
"""Entries of the smallest network: two layers."""
DEEPEST = 6


@dataclass(frozen=True)
class Part:
    """A sub-tree of weights."""

    path: tuple[str, ...]
    """Keys of the dictionaries and lists around it, from the file's root."""
    prefix: str
    """The prefix of its keys."""
    weights: Mapping[str, Tensor]
    """Its entries, without the prefix and without counters."""

    @property
    def name(self) -> str:
        """The name that a user gives for it."""
        return ".".join([*self.path, *filter(None, [self.prefix.rstrip(".")])])

    def full(self, key: str) -> str:
        """The name in the file of one of its entries."""
        return ".".join([*self.path, self.prefix + key])


Found = list[tuple[tuple[str, ...], dict[str, Tensor]]]


def dictionaries(stored: Any) -> Found:
    """Every dictionary that tensors are in by name, with the way to it."""
    return list(_walk(stored, ()))


def _walk(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict[str, Tensor]]]:
    if len(path) > DEEPEST:  # a file may hold itself
        return
    if isinstance(value, Mapping):
        own = {
            # Torch can neither compare nor test numbers of eight bits.
            key: one.float() if one.is_floating_point() and one.element_size() == 1 else one
            for key, one in value.items()
            if isinstance(one, Tensor) and isinstance(key, str)
        }
        if own:
            yield path, multiplied_out(own)
        for key, one in value.items():
            yield from _walk(one, (*path, str(key)))
    elif isinstance(value, (list, tuple)):
        for at, one in enumerate(value):
            if isinstance(one, (Mapping, list, tuple)):
                yield from _walk(one, (*path, str(at)))


def multiplied_out(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights with each direction and length of weight_norm, of either style of torch's, as the weight that they stand for."""
    found = dict(weights)
    for name, length in weights.items():
        for ending, other in WEIGHT_NORM:
            stem = name.removesuffix(ending)
            direction = weights.get(stem + other)
            if (
                stem == name
                or direction is None
                or not (length.is_floating_point() and direction.is_floating_point())
            ):
                continue
            g, v = length.float(), direction.float()
            g = g if g.dim() else g.reshape([1] * v.dim())
            if g.dim() == v.dim() and all(
                one in (1, side) for one, side in zip(g.shape, v.shape, strict=True)
            ):
                shared = [dim for dim, one in enumerate(g.shape) if one == 1]
                found[name] = v * (g / torch.linalg.vector_norm(v, dim=shared, keepdim=True))
                del found[stem + other]
    # Under its own name, in the place of the length: the order of layers without numbers is that of the file.
    return {_whole(name) if value is not weights[name] else name: value for name, value in found.items()}


def _whole(name: str) -> str:
    return next(f"{name.removesuffix(ending)}.weight" for ending, _ in WEIGHT_NORM if name.endswith(ending))


def plain_values(stored: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Tensors, numbers and lists of them by their full names."""
    if len(path) > DEEPEST:
        return
    if isinstance(stored, Mapping):
        for key, one in stored.items():
            yield from plain_values(one, (*path, str(key)))
    elif isinstance(stored, (list, tuple)) and any(isinstance(one, (Mapping, list, tuple)) for one in stored):
        for at, one in enumerate(stored):
            yield from plain_values(one, (*path, str(at)))
    else:
        yield ".".join(path), stored


def parts_of(found: Found) -> list[Part]:
    """Every sub-tree of weights: first those in the usual wrappers, without the usual prefixes, then the largest first."""
    parts = [part for path, weights in found for part in _sub_trees(path, weights)]
    parts.sort(key=lambda part: (-len(part.weights), _rank(part.path), len(part.prefix)))
    first = min(parts, key=_usual, default=None)
    return [first, *(part for part in parts if part is not first)] if first else []


def _sub_trees(path: tuple[str, ...], weights: Mapping[str, Tensor]) -> Iterator[Part]:
    kept = {key: one for key, one in weights.items() if not key.endswith(COUNTERS)}
    members: dict[str, list[str]] = {"": list(kept)}
    for key in kept:
        at = key.find(".")
        while at >= 0:
            members.setdefault(key[: at + 1], []).append(key)
            at = key.find(".", at + 1)
    for prefix, keys in members.items():
        if not prefix or len(keys) >= FEWEST:
            yield Part(path, prefix, {key[len(prefix) :]: kept[key] for key in keys})


def _rank(path: tuple[str, ...]) -> int:
    return 0 if not path else WRAPPINGS.index(path[0]) + 1 if path[0] in WRAPPINGS else len(WRAPPINGS) + 1


def _usual(part: Part) -> tuple[float, ...]:
    """Sort key, lowest for the part that is most likely the network; wrappers' prefixes count as usual."""
    steps = part.prefix
    while step := next((one for one in PREFIXES if steps.startswith(one)), ""):
        steps = steps[len(step) :]
    few = len(part.weights) < FEWEST
    return (few, len(part.path) > 1, _rank(part.path), bool(steps), -len(part.weights), -len(part.prefix))


def unused_entries(found: Found, used: set[str]) -> list[str]:
    """The entries that the file holds besides these, by the branch it grows on."""
    left: dict[str, list[str]] = {}
    for path, weights in found:
        for key in weights:
            full = ".".join([*path, key])
            if full in used or key.endswith(COUNTERS):
                continue
            branch = _branch(full, used)
            left.setdefault(branch, []).append(full)
    return [
        names[0] if len(names) == 1 else f"{branch}.… ({len(names)} entries)"
        for branch, names in left.items()
    ]


def _branch(name: str, used: set[str]) -> str:
    """The shortest beginning of a name that leads to nothing that is used."""
    steps = name.split(".")
    for count in range(1, len(steps)):
        branch = ".".join(steps[:count])
        if not any(one.startswith(branch + ".") for one in used):
            return branch
    return name


def alike(one: Part, other: Part, keys: Iterable[str]) -> bool:
    """True where both have the same values under these names: a copy, or a part that the other lies in."""
    return all(torch.equal(one.weights[key], other.weights[key]) for key in keys)
