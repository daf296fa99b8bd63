"""Every training method on digits, paired against Gaussian augmentation: python tests/benchmarks/compare_methods_digits.py.

Each method has its declared recipe. Those were chosen by looking at the test split; here a quarter of the *training* split
is held out and certified (`split = "val"`), images on which no recipe was judged, though their numbers of epochs
suit a training set a third larger. About 35 minutes of CPU time on one thread; started again, it goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from comparison import METHODS, ONE_THREAD, finish, found, place_at, print_summary, summary

RADII = [0.0, 0.25, 0.5]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--store", type=Path, help="keep the runs here, and go on with them")
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--sigmas", nargs="+", type=float, default=[0.25, 0.5])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--images", type=int, default=0, help="0: all that are held out")
    parser.add_argument("--epochs", type=int, help="for a trial: this many for every method")
    parser.add_argument("--show", action="store_true", help="only what the store has by now")
    options = parser.parse_args()
    place = place_at(options.store or Path(tempfile.mkdtemp()))
    results = []
    for seed in range(options.seeds):
        for method in options.methods:
            values = {
                "name": f"digits-{method}-{seed}",
                "dataset": "digits",
                "model": "cnn",
                "method": method,
                "grid": {"sigma": options.sigmas},
                "seed": seed,
                "certification": {
                    "n0": 100, "n": options.n, "split": "val", "val_share": 0.25, "max_images": options.images,
                    "certificates": ["cohen"], "radii": RADII,
                },
                "resources": ONE_THREAD,
            }  # fmt: skip
            if options.epochs:
                values["training"] = {"epochs": options.epochs, "warmup_epochs": 0.0}
            if not options.show:
                finish(values, place, lambda line: print(line, file=sys.stderr, flush=True))
            if (place.store / "sweeps" / values["name"]).exists():
                results += found(place, values["name"], RADII)
    records = summary(results, RADII)
    if options.json:
        print(json.dumps(records))
    else:
        print_summary(records, RADII)


if __name__ == "__main__":
    main()
