"""Checks that a published checkpoint classifies, and that it was trained with the normalisation assumed for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from jobs.checkpoints.contest import ALIKE, LEVEL, LOOKS, Contest, contest
from jobs.checkpoints.formats import Weights
from jobs.checkpoints.recognise import assemble
from jobs.checkpoints.stored_normalisation import Stored
from jobs.data import Images
from jobs.models.normalize import normalisation_values
from jobs.noise import smoothing_noise
from jobs.random import generator
from rsctl.catalog import find, known_models, network_name
from rsctl.catalog.checkpoints import NORMALISATIONS
from rsctl.catalog.declare import DataSet, DataShape
from rsctl.errors import InputError, RefusedError


def candidates(dataset: DataSet, shape: DataShape, chosen: str, stored: Sequence[Stored] = ()) -> list[str]:
    """The normalisations worth trying, `chosen` first: those the file stores, and those with this many channels, none twice."""
    found = {normalisation_values(chosen, dataset, shape): chosen}
    for name in (*(text for one in stored for text in one.texts), *NORMALISATIONS):
        try:
            found.setdefault(normalisation_values(name, dataset, shape), name)
        except InputError:
            continue  # of another number of channels
    return list(found.values())


@dataclass(frozen=True)
class Accuracy:
    """Share of images that the base classifier gets right."""

    images: int
    clean: float
    noisy: float
    """Share under one noise each; equal to `clean` without noise."""

    @property
    def best(self) -> float:
        """The better of both: a network trained on noisy images may do badly on clean ones, and vice versa."""
        return max(self.clean, self.noisy)

    def __str__(self) -> str:
        under = "" if self.noisy == self.clean else f" ({self.noisy:.1%} under noise)"
        return f"{self.clean:.1%} of {self.images} clean images{under}"


@torch.no_grad()
def answers(
    model: nn.Module, images: Images, sigmas: Sequence[float], device: torch.device, begun: int = 0
) -> Tensor:
    """bool (sigmas, N): images it classifies correctly under one noise of each sigma; `begun` images were classified before."""
    model = model.to(device).eval()
    right = torch.zeros(len(sigmas), len(images), dtype=torch.bool)
    for first in range(0, len(images), 100):
        rows = torch.arange(first, min(first + 100, len(images)))
        pixels, labels = images.batch(rows, device)
        clean = pixels.float() / 255
        for kind, sigma in enumerate(sigmas):
            key = generator(device, "accuracy", begun + first)
            x = clean + smoothing_noise(tuple(clean.shape), sigma, 0, key) if sigma else clean
            right[kind, rows] = (model(x).argmax(dim=1) == labels).cpu()
    return right


def accuracy_of(right: Tensor) -> Accuracy:
    """Accuracy from `answers` on clean images, and on noisy ones if there were any."""
    shares = right.float().mean(dim=1).tolist()
    return Accuracy(right.shape[1], shares[0], shares[-1])


def kinds(sigma: float) -> tuple[float, ...]:
    """Noise levels at which a network is evaluated: none, and sigma."""
    return (0.0, sigma) if sigma else (0.0,)


def least(classes: int) -> float:
    """Accuracy that a classifier must reach, on clean or on noisy images: a fifth of the way from chance to perfect."""
    return 1 / classes + 0.2 * (1 - 1 / classes)


class Judged(NamedTuple):
    """The findings on a checkpoint as a classifier."""

    model: nn.Sequential
    accuracy: dict[str, Accuracy]
    """Accuracy with each normalisation, on the first images."""
    told: list[str]
    """Remarks for the user on the other normalisations, a sentence each."""


def judge(
    weights: Weights, model: str, parameters: Mapping[str, Any], normalisation: str, dataset: DataSet, images: Images, sigma: float,
    device: torch.device, *, more: Iterable[Images] = (), stated: bool = False, anyway: bool = False,
) -> Judged:  # fmt: skip
    """The model, and how it does with this normalisation and with others.

    `more` are further images, for another normalisation that does nearly as well. `stated`: the user named this one, so that
    only a much better one speaks against it; `anyway`: whatever it does will do. Raises RefusedError where it classifies next
    to nothing, or clearly worse (by three standard errors) than with another normalisation or than the file itself claims; or,
    unless it is `stated`, where images don't tell this normalisation from another.
    """
    shape = images.shape
    built = {
        name: assemble(weights, model, parameters, name, dataset, shape)
        for name in candidates(dataset, shape, normalisation, weights.stored)
    }
    right = {name: answers(network, images, kinds(sigma), device) for name, network in built.items()}
    found = {name: accuracy_of(answer) for name, answer in right.items()}
    called = network_name(model, parameters)
    if not anyway:
        _refuse(weights, called, normalisation, found, shape)
    if anyway or stated or find("model", model, known_models()).pixels:
        return Judged(built[normalisation], found, [])
    # Of clean and of noisy images those that the network is better on: what it was trained for.
    kind = max(
        range(len(kinds(sigma))),
        key=lambda kind: max(float(one[kind].float().mean()) for one in right.values()),
    )
    first = {name: answer[kind] for name, answer in right.items()}
    pairs = _pairs(built, first, iter(more), kinds(sigma)[kind], device)
    rivals = sorted(built.keys() - {normalisation}, key=lambda name: -found[name].best)
    contests = {rival: contest(pairs(normalisation, rival)) for rival in rivals}
    what = "images under noise" if kind else "clean images"
    return Judged(
        built[normalisation], found, _outcomes(weights, called, normalisation, contests, what, len(images))
    )


def _pairs(
    built: Mapping[str, nn.Module], first: Mapping[str, Tensor], more: Iterator[Images], sigma: float, device: torch.device
) -> Callable[[str, str], Iterator[tuple[Tensor, Tensor]]]:  # fmt: skip
    """Yields, lot by lot, masks of the images that each of two networks classifies correctly; each classifies an image once."""
    lots: list[Images] = []

    @cache
    def right(name: str, lot: int) -> Tensor:
        begun = len(first[name]) + sum(map(len, lots[:lot]))
        return answers(built[name], lots[lot], (sigma,), device, begun)[0]

    def pairs(one: str, other: str) -> Iterator[tuple[Tensor, Tensor]]:
        yield first[one], first[other]
        for lot in range(LOOKS - 1):
            if lot == len(lots):
                if (images := next(more, None)) is None:
                    return
                lots.append(images)
            yield right(one, lot), right(other, lot)

    return pairs


def _outcomes(
    weights: Weights, model: str, chosen: str, contests: Mapping[str, Contest], what: str, first: int
) -> list[str]:
    """The outcomes of contests that needed more images than the `first`; raises RefusedError where one was lost, or is open."""
    for rival, one in contests.items():
        if one.verdict in ("worse", "open"):
            said = (
                f"with the normalisation '{chosen}' this {model} classifies {one.ours:.1%} of {one.images:,} {what} correctly, with "
                f"'{rival}' {one.theirs:.1%}"
            )
            test, which = (
                f"(McNemar's test at {LEVEL:.0%})",
                f"--normalisation {chosen} or --normalisation {rival}",
            )
            advice = f"Name the right one: {which} (in a sweep file method.normalisation)."
            if one.verdict == "worse":
                raise RefusedError(f"{said}, a significant difference {test}. {advice}")
            others = [
                f"'{name}'" for name, each in contests.items() if each.verdict == "open" and name != rival
            ]
            also = f" Nor do they separate it from {', '.join(others)}." if others else ""
            layout = (
                f" The file's layout suggests '{chosen}': {weights.why}."
                if weights.normalisation == chosen
                else ""
            )
            raise RefusedError(
                f"{said}: too close to decide which one it was trained with {test}.{also}{layout} {advice}"
            )
    outcome = {"alike": f"equally good (less than {ALIKE:.0%} apart)", "better": "decided by more images"}
    return [
        f"with '{rival}' it classifies {one.theirs:.1%} of {one.images:,} {what} correctly, against {one.ours:.1%}: {outcome[one.verdict]}"
        for rival, one in contests.items()
        if one.verdict == "alike" or one.images > first
    ]


def _refuse(
    weights: Weights, model: str, normalisation: str, found: Mapping[str, Accuracy], shape: DataShape
) -> None:
    """Raises RefusedError where the first images already speak against the model."""
    chosen = found[normalisation]
    other = max(found, key=lambda name: found[name].best)
    margin = 3 * (0.25 / chosen.images) ** 0.5
    text = f"with the normalisation '{normalisation}' this {model} classifies {chosen} correctly"
    if found[other].best > chosen.best + margin and found[other].best >= least(shape.classes):
        raise RefusedError(
            f"{text}; with '{other}' {found[other]}. Take normalisation '{other}'"
            + (" with --anyway, for the file stores another" if weights.stored else "")
            + ", or keep this one with --anyway."
        )
    if chosen.best < least(shape.classes):
        raise RefusedError(
            f"{text}; at least {least(shape.classes):.0%} of the clean or of the noisy ones is required, and the other normalisations do no better. "
            "The cause may be another data set, another order of classes (set an imagefolder's dataset.classes) or another architecture; --anyway skips this check."
        )
    if weights.claim is not None and weights.claim[1] > chosen.best + margin:
        raise RefusedError(
            f"{text}; the file claims {weights.claim[0]} = {weights.claim[1]:.1%}, and no other normalisation comes closer. "
            "The cause may be another data set or lossy copies of its images, an activation or stride that weights don't show, or an "
            "accuracy measured on something else; "
            "--anyway skips this check."
        )
