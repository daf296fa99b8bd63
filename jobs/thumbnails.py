"""Small pictures of some images of a data set, for a report.

`python -m jobs.thumbnails DATASET SPLIT --data ROOT` reads positions as a JSON list from stdin, and prints one JSON document:
per position a picture as a data URI, and the label. Nothing is stored.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, features

from jobs.data import load, require_planned
from jobs.printing import print_json
from rsctl.catalog import use_plugins

SIDE = 64
"""Longest side of a picture."""
PLAIN = 32 * 32
"""Most values of an image that is kept exactly, as PNG; more compress better as photographs."""


def thumbnails(
    dataset: str, parameters: dict[str, Any], split: str, root: Path, positions: Sequence[int], data: str = "",
    plugins: Sequence[str] = (),
) -> dict[str, Any]:  # fmt: skip
    """`pictures` and `labels` of these positions; `val` consists of training images.

    Raises InputError where the files are missing, or are others than those of `data`, of a run's spec.
    """
    use_plugins(plugins)
    part = "train" if split in ("val", "train") else "test"
    images = load(dataset, parameters, part, root, positions=positions)
    require_planned(images, dataset, data)
    pictures, labels = [], []
    for number in range(len(positions)):
        pixels, label = images.batch(torch.tensor([number]), torch.device("cpu"))
        pictures.append(_uri(pixels[0].permute(1, 2, 0).numpy()))
        labels.append(int(label[0]))
    return {"pictures": pictures, "labels": labels}


def _uri(levels: Any) -> str:
    """An image (H, W, C) of bytes as a data URI."""
    picture = Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels)
    kept = io.BytesIO()
    if levels.size <= PLAIN:
        form = "PNG"
        picture.save(kept, form, optimize=True)
    else:
        form = "WEBP" if features.check("webp") else "JPEG"
        picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        picture.save(kept, form, quality=80)
    return f"data:image/{form.lower()};base64,{base64.b64encode(kept.getvalue()).decode()}"


def main(arguments: list[str]) -> int:
    """Entry point; errors go to stderr."""
    parser = argparse.ArgumentParser(prog="jobs.thumbnails")
    parser.add_argument("dataset")
    parser.add_argument("split")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--parameters", type=json.loads, default={})
    parser.add_argument(
        "--planned", default="", help="Fingerprint of the files that the run was planned for."
    )
    parser.add_argument("--plugin", action="append", default=[])
    options = parser.parse_args(arguments)
    positions = json.load(sys.stdin)
    return print_json(
        lambda: thumbnails(
            options.dataset,
            options.parameters,
            options.split,
            options.data,
            positions,
            options.planned,
            options.plugin,
        )
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
