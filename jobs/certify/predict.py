"""PREDICT (Cohen 2019): classes that the smoothed classifier of a published checkpoint gives some images.

`python -m jobs.certify.predict`, behind `rsctl predict`; prints one JSON document. Nothing is stored.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import binomtest

from jobs.certify.noisy_inputs import NoisyInputs
from jobs.certify.sampler import ImageCounts, Sampler
from jobs.data import load
from jobs.examine_checkpoint import examine, options_of
from jobs.memory import sized_by
from jobs.models.load import to_sample
from jobs.precision import configure
from jobs.printing import print_json
from rsctl.catalog.declare import DataShape
from rsctl.catalog.labels import NAMES
from rsctl.certificates.exact_noise import level_left
from rsctl.certificates.possible import Draws, too_few_to_predict
from rsctl.config.sections import Arithmetic, Compile, Precision_
from rsctl.errors import InputError

BLOCK = 100


def predict(options: argparse.Namespace) -> dict[str, Any]:
    """Classify test images with a published checkpoint; returns a report on the file and one row per image."""
    known, model, parameters = examine(options)
    if options.tile < 1 or options.tile % BLOCK:
        raise InputError(f"--tile: {options.tile} is not a multiple of {BLOCK}.")
    images = load(options.dataset, parameters, "test", options.data, positions=[])
    count = images.shape.counts["test"]
    if outside := [position for position in options.images if not 0 <= position < count]:
        raise InputError(f"--images: {outside[0]} isn't a position in the test split (0 to {count - 1}).")
    images = load(options.dataset, parameters, "test", options.data, positions=options.images)
    device = configure(options.precision, options.threads)
    alpha = options.alpha
    if options.arithmetic == "exact":
        alpha = level_left(alpha, options.sigma, images.shape.dimension, options.n)
    sampler = Sampler(
        to_sample(model, options.precision, options.compile, options.tile, images.shape, device), images.shape.classes,
        NoisyInputs(options.sigma, (options.seed, "predict"), options.n, device, arithmetic=options.arithmetic), n0=1, tile=options.tile,
        block=BLOCK,
    )  # fmt: skip
    asked = []
    for row, position in enumerate(images.positions.tolist()):
        pixels, label = images.batch(torch.tensor([row]), device)
        nothing = torch.zeros(2, images.shape.classes, dtype=torch.int64)
        asked.append(ImageCounts(position, int(label), pixels[0].float() / 255, nothing))
    with sized_by("--tile", options.tile, "Take a smaller one, or a device with more memory."):
        for _ in sampler.run(asked):
            pass
    names = images.shape.class_names or NAMES.get(options.dataset, ())
    rows = []
    for image in asked:
        votes = image.counts[1].numpy()
        chosen, p = decide(votes)
        said = chosen if p <= alpha else -1
        rows.append(
            {
                "index": image.position,
                "label": image.label,
                "predicted": said,
                "name": (names[said] if names else str(said)) if said >= 0 else "abstains",
                "votes": int(votes[chosen]),
                "p": p,
            }
        )
    return {
        **known, "sigma": options.sigma, "n": options.n, "alpha": options.alpha, "notes": notes_of(options, images.shape), "rows": rows
    }  # fmt: skip


def notes_of(options: argparse.Namespace, shape: DataShape) -> list[str]:
    """Warning that n is too small for alpha, whatever the votes, with an n that would suffice."""
    if options.alpha == 1:
        return []
    draws = Draws(
        sigma=options.sigma or 1.0, noise="gaussian", exponent=0, selection="noise", n0=0, block=BLOCK, arithmetic=options.arithmetic, classes=shape.classes, dimension=shape.dimension,
    )  # fmt: skip
    return list(filter(None, [too_few_to_predict(draws, options.n, options.alpha)]))


def decide(votes: NDArray[np.int64]) -> tuple[int, float]:
    """The class with most votes, and the p-value of "it isn't likelier than the runner-up" (two-sided, as in Cohen 2019).

    Where p ≤ alpha the smoothed classifier returns that class with probability at least 1 − alpha (Hung and Fithian 2019).
    """
    order = np.argsort(-votes, kind="stable")
    first, second = int(votes[order[0]]), int(votes[order[1]])
    return int(order[0]), float(binomtest(first, first + second, 0.5).pvalue)


def main(arguments: list[str]) -> int:
    """Entry point; what went wrong is a sentence on stderr."""
    parser = options_of("rsctl predict")
    parser.add_argument("--images", type=json.loads, required=True)
    parser.add_argument("--n", type=int, required=True)
    parser.add_argument("--alpha", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", choices=get_args(Precision_), default="fp32")
    parser.add_argument("--compile", choices=get_args(Compile), default="off")
    parser.add_argument("--arithmetic", choices=get_args(Arithmetic), default="float")
    parser.add_argument("--tile", type=int, default=400)
    return print_json(lambda: predict(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
