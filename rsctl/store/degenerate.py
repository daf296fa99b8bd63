"""Networks that learned nothing, recognised from their predictions in training or in a table of counts.

Kept free of numpy, for `rsctl status`.

**One class.** Nearly all images (99 %) have one predicted class, and of the images of *other* classes, which must be at least
ten, nearly none (2 %) is correct. A network that is correct on half of the images of other classes is mistaken for one with
probability 2⁻¹⁰ < 0.001; images of one class alone, or of too few others, are inconclusive.

**At chance.** Checked for a training only, whose images are many: the number of correct predictions is what it would be if
predictions were independent of labels (with the same numbers per class): within 3.09 standard deviations of the mean over all
pairings. 99.8 % of networks that ignore their images are found. Networks that are correct on 21 % of 500 images of ten equal
classes, on 64 % with two classes, or on 37 % of 100 images of ten classes, are flagged with probability 0.001.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rsctl.store.fields import SEEN
from rsctl.store.files import replace, to_json
from rsctl.store.records import read_or_skip, seal

FEWEST_OTHERS = 10
"""Images of other classes than the predicted one."""
FEWEST = 100
"""Training images needed for the verdict that the network is at chance."""
NEARLY_ALL, NEARLY_NONE = 0.99, 0.02
DEVIATIONS = 3.09
FILE = "seen.json"
"""File name in the folder of a model or a table."""


@dataclass(frozen=True)
class Tally:
    """Numbers of images by class: with that label, with that prediction, and with both."""

    labels: Sequence[int]
    predicted: Sequence[int]
    right: Sequence[int]
    abstained: int = 0
    """Further images, without a prediction."""

    @property
    def images(self) -> int:
        return sum(self.labels)


@dataclass(frozen=True)
class Verdict:
    """The failure of a network."""

    mark: str
    """`ONE CLASS` or `AT CHANCE`; shown behind a name."""
    text: str
    """The end of a sentence: `predicts class 1 for all 20 images, which belong to 3 classes`."""


def judge(tally: Tally, *, training: bool) -> Verdict | None:
    """The failure of a network with this tally; None where it has none, or too few images were seen."""
    return _one_class(tally) or (_at_chance(tally) if training else None)


def warning_of(verdict: Verdict | None) -> str:
    """The verdict as a sentence without its full stop; empty where there is none."""
    return f"{verdict.mark}: the network {verdict.text}" if verdict else ""


def _one_class(tally: Tally) -> Verdict | None:
    images = tally.images
    if not images:
        return None
    most = max(range(len(tally.predicted)), key=lambda c: tally.predicted[c])
    others, right = images - tally.labels[most], sum(tally.right) - tally.right[most]
    given = tally.predicted[most]
    if others < FEWEST_OTHERS or right > NEARLY_NONE * others or given < NEARLY_ALL * images:
        return None
    classes = sum(count > 0 for count in tally.labels)
    which = f"all {images} images" if given == images else f"{given} of {images} images"
    which += " that it doesn't abstain on" if tally.abstained else ""
    return Verdict("ONE CLASS", f"predicts class {most} for {which}, which belong to {classes} classes")


def _at_chance(tally: Tally) -> Verdict | None:
    images, right = tally.images, sum(tally.right)
    if images < FEWEST or sum(count > 0 for count in tally.labels) < 2:
        return None
    pairs = list(zip(tally.labels, tally.predicted, strict=True))
    both = sum(a * b for a, b in pairs)
    mean = both / images
    # Second moment of the number of matches when the predictions are dealt out to the labels at random.
    square = mean + (both**2 - sum(a * b * (a + b - 1) for a, b in pairs)) / (images * (images - 1))
    deviation = math.sqrt(max(square - mean**2, 0.0))
    if abs(right - mean) > DEVIATIONS * deviation + 1e-9:
        return None
    return Verdict("AT CHANCE", f"is correct on {right} of {images} images; chance level is {mean:.0f}")


def write(folder: Path, tally: Tally, *, training: bool) -> None:
    """Store the tally of a network beside its run, for readers without HDF5."""
    replace(folder / FILE, to_json(seal({"training": training, **vars(tally)}, SEEN)))


def of_folder(folder: Path) -> Verdict | None:
    """The failure of the network of a run; None where it has none, or no tally is stored or readable."""
    values = read_or_skip(folder / FILE, SEEN)
    if values is None:
        return None
    found = judge(Tally(values["labels"], values["predicted"], values["right"]), training=values["training"])
    if found and values["training"]:
        return Verdict(found.mark, f"at the end of training {found.text}")
    return found
