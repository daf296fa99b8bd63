"""Pictures of one image of a run: clean, and with its first noises as f sees it, each with the class that f gives.

`python -m jobs.picture RUN POSITION`, behind the dashboard; prints one JSON document. Nothing is stored.
"""

from __future__ import annotations

import argparse
import base64
import io
import sys
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from jobs.certify.noisy_inputs import NoisyInputs
from jobs.data import load, require_planned
from jobs.models.load import load_trained, to_sample
from jobs.precision import configure
from jobs.printing import print_json
from rsctl.catalog import use_plugins
from rsctl.config.runs import CountSpec
from rsctl.store.layout import Run

DRAWS = 8


def pictures(run: Run, position: int, data_root: Path) -> dict[str, Any]:
    """`image`, `clean` (the class of the image as it is) and `draws`: the first draws that the table counted, where it counts.

    Pictures are PNG in base64; what noise puts outside [0, 1] is cut there for the eye alone. f runs on a block at a time and not
    on the run's tiles, so that a draw between two classes may go to the other one.
    """
    spec, launch = run.table_spec, run.launch()
    use_plugins(launch["plugins"])
    split = "train" if spec.split == "val" else "test"
    images = load(spec.dataset, launch["dataset_parameters"], split, data_root, positions=[position])
    require_planned(images, spec.dataset, spec.data)
    precision = spec.precision if isinstance(spec, CountSpec) else "fp32"
    device = configure(precision, int(launch["threads"]))
    pixels = images.batch(torch.tensor([0]), device)[0][0].float() / 255
    found: dict[str, Any] = {"image": _png(pixels), "clean": -1, "draws": []}
    file = run.store.model(spec.model_run).model_file
    model, _ = load_trained(file, spec.model_hash, images.shape)
    block = spec.block if isinstance(spec, CountSpec) else DRAWS
    executed = to_sample(model, precision, "off", block, images.shape, device)
    with torch.inference_mode():
        rows = torch.zeros((block, *pixels.shape), device=device)
        rows[0] = pixels
        found["clean"] = int(executed(rows)[0].argmax())
        if isinstance(spec, CountSpec):
            shown = NoisyInputs(
                spec.sigma, spec.noise_key, spec.n, device, spec.noise, spec.exponent, spec.arithmetic
            )
            # A block is drawn whole: its noise is a function of its key and its shape.
            shown.fill(rows, pixels, "estimation", position, 0)
            classes = executed(rows).argmax(dim=1).tolist()
            found["draws"] = [
                {"image": _png(row), "class": chosen}
                for row, chosen in zip(rows[: min(DRAWS, spec.n)], classes, strict=False)
            ]
    return found


def _png(pixels: Tensor) -> str:
    """A float image (C, H, W) as PNG in base64."""
    levels = pixels.clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).cpu().numpy()
    picture = Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels)
    kept = io.BytesIO()
    picture.save(kept, "PNG")
    return base64.b64encode(kept.getvalue()).decode()


def main(arguments: list[str]) -> int:
    """Entry point; errors go to stderr."""
    parser = argparse.ArgumentParser(prog="jobs.picture")
    parser.add_argument("run", type=Path)
    parser.add_argument("position", type=int)
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args(arguments)
    return print_json(lambda: pictures(Run(options.run), options.position, options.data))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
