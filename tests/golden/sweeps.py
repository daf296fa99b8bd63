"""Sweeps of the golden store: each kind of run, and each measurement that a table of counts may have."""

from __future__ import annotations

from typing import Any

from chain import tiny as shortest

QUICK = {"n0": 50, "n": 1000, "max_images": 6, "shards": 2, "tile": 100, "block": 50}


def tiny(**changes: Any) -> dict[str, Any]:
    """The tiny sweep, trained until it has learned something."""
    return shortest(
        **{**changes, "training": {"epochs": 12, "batch_size": 32, **changes.get("training", {})}}
    )


def counted(name: str, certificate: str, **changes: Any) -> dict[str, Any]:
    """A sweep whose table is sampled in one way."""
    certification = {**QUICK, "certificates": [certificate], **changes.pop("certification", {})}
    return tiny(name=name, certification=certification, **changes)


PROOFS = [
    {"verifier": "ibp", "norm": "linf", "radii": [0.01, 0.02], "max_images": 5},
    {"verifier": "crown", "norm": "linf", "radii": [0.01, 0.02], "max_images": 5},
    {"verifier": "lipschitz", "norm": "l2", "max_images": 5},
    {"verifier": "milp", "norm": "linf", "radii": [0.005], "max_images": 2, "time_limit": 5.0},
]
ATTACKS = [
    {"attack": "ddn", "norm": "l2", "steps": 5, "max_images": 4},
    {"attack": "pgd", "norm": "l2", "target": "smoothed", "max_images": 3, "noises": 4, "n": 100},
]
FINISHED: dict[str, dict[str, Any]] = {
    "shells": counted("shells", "dsrs", exponent=4, certification={"shells": [0.5]}),
    "gradient": counted("gradient", "second-order", certification={"gradient": True}),
    "looks": counted(
        "looks", "sequential", certification={"stopping": "certify-at-radii", "stop_radii": [0.1], "n": 2000}
    ),
    "transfer": counted(
        "transfer", "transfer", precision={"certification": "bf16"}, certification={"transfer": 200, "max_images": 4}
    ),
    "splitting": counted("splitting", "splitting-l1", noise="splitting", certification={"max_images": 4}),
    "uniform": counted("uniform", "uniform-l1", noise="uniform", certification={"max_images": 4}),
    "clean": counted("clean", "single-pass", certification={"selection": "clean", "max_images": 4}),
    "exact": counted("exact", "cohen", certification={"arithmetic": "exact", "max_images": 4}),
    "held-out": counted("held-out", "cohen", certification={"split": "val", "max_images": 4}),
    "proofs": counted("proofs", "runner-up", verification=PROOFS, attack=ATTACKS),
    "teacher": counted(
        "teacher", "cohen", method={"name": "cat-rs", "training": {"epochs": 1}}, certification={"max_images": 2}
    ),
    "chance": counted("chance", "cohen", training={"epochs": 1, "lr": 1e-9}, certification={"max_images": 40, "n": 100}),
    "folder": counted(
        "folder", "cohen", dataset={"name": "imagefolder", "path": "animals", "size": 8},
        training={"epochs": 1, "batch_size": 4}, certification={"max_images": 4, "n": 100},
    ),
}  # fmt: skip
INTERRUPTED = {
    "shells": 15, "gradient": 15, "looks": 15, "transfer": 15, "splitting": 5, "uniform": 15, "clean": 15, "exact": 15,
}  # fmt: skip
"""Tiles after which their first task was interrupted."""
MAIN = tiny(
    name="main", description="Two seeds at two noise levels",
    certification={"certificates": ["runner-up", "cohen"], "max_images": 12, "n": 300},
)  # fmt: skip
MAIN = {key: value for key, value in MAIN.items() if key != "sigma"} | {
    "grid": {"sigma": [0.25, 0.5], "seed": [0, 1]}
}
PARTIAL = counted(
    "partial", "cohen", certification={"seed": 7, "n": 2000, "certificates": ["cohen", "t-certify"]}
)
"""Interrupted: one shard has pending images, the other isn't begun."""
TRAINING = counted("training", "cohen", training={"epochs": 13})
"""Interrupted in its training, which left a snapshot."""
FAILING = counted("failing", "cohen", training={"lr": 1e30, "optimizer": "sgd"})
CANCELLED = counted("cancelled", "cohen", certification={"seed": 11})
WAITING = counted("waiting", "cohen", certification={"seed": 12, "shards": 1})
"""Requested from the local queue, which hasn't begun."""
