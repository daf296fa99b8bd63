"""Imports a published checkpoint as the model of a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jobs.checkpoints.contest import LOOKS
from jobs.checkpoints.fitting import fitting, normalisation_for
from jobs.checkpoints.formats import Weights, read_weights
from jobs.checkpoints.judge import judge
from jobs.data import Images, load, require_planned
from jobs.precision import configure
from jobs.training.checkpoint import publish_model
from rsctl.catalog import find, known_datasets, known_models
from rsctl.catalog.checkpoints import CHECKPOINT
from rsctl.catalog.shape import shape_of
from rsctl.catalog.weight_files import TAKEN
from rsctl.config.identity import completed
from rsctl.config.permutation import images_of
from rsctl.errors import InputError
from rsctl.store.files import replace, to_json
from rsctl.store.task_context import Stopped, TaskContext

NUMBERS = 1_300_000
MOST, FEWEST = 400, 100
"""Images classified first: 400 of CIFAR-10, 100 of ImageNet; up to 8 times as many where these don't decide."""


def main(work: TaskContext) -> None:
    """Publish the model of this run from the checkpoint that was copied into it; of that nothing but tensors is kept."""
    if work.run.model_file.exists():
        return
    try:
        _import(work)
    except Stopped:
        raise  # and goes on later
    except Exception:
        # It may be anything that a sweep file named.
        work.run.published_file.unlink(missing_ok=True)
        raise
    work.run.published_file.unlink(missing_ok=True)


def _import(work: TaskContext) -> None:
    run, spec = work.run, work.run.train_spec
    device = configure("fp32", int(work.launch["threads"]))
    if not run.published_file.exists():
        raise InputError(
            f"{run.published_file}: no longer exists; the copy of a file that can't be used is deleted. 'rsctl submit' copies it again."
        )
    hyperparameters = completed(CHECKPOINT.parameters, spec.hyperparameters)
    weights = read_weights(run.published_file, hyperparameters["part"])
    if weights.sha256 != hyperparameters["sha256"]:
        raise InputError(
            f"{run.published_file}: isn't the file this run was planned for ({hyperparameters['sha256'][:12]}…) and was removed. 'rsctl submit' copies it again."
        )
    dataset = find("data set", spec.dataset, known_datasets())
    more = some_images(spec.dataset, work.launch["dataset_parameters"], work.data_root)
    images = next(more)
    require_planned(images, spec.dataset, spec.data)
    given = completed(find("model", spec.model, known_models()).parameters, spec.model_parameters)
    fit = fitting(weights, dataset, images.shape, spec.model, given)
    weights, stated, anyway = fit.weights, work.launch.get("stated", False), hyperparameters["anyway"]
    # What a sweep file doesn't say, the file does where it can.
    asked = hyperparameters["normalisation"] if stated or not weights.stored else ""
    normalisation = normalisation_for(weights, asked, dataset, images.shape, anyway=anyway)
    model, found, told = judge(
        weights, fit.model, fit.parameters, normalisation, dataset, images, spec.sigma, device,
        more=more, stated=stated or single(weights), anyway=anyway,
    )  # fmt: skip
    record = {
        "layout": weights.layout,
        "part": weights.part.name if weights.part else "",
        "left": weights.left,
        "also": fit.also,
        "normalisation": normalisation,
        "why": weights.why if normalisation == weights.normalisation else "as requested",
        "stored": [one.text for one in weights.stored],
        "stated": stated,
    }
    replace(run.path / TAKEN, to_json(record))
    print(
        f"{weights.layout}; {fit.model}; normalisation '{normalisation}': {found[normalisation]}",
        *fit.told,
        *told,
        sep="\n",
        flush=True,
    )
    publish_model(work, model, images)


def single(weights: Weights) -> bool:
    """True where the file stores one normalisation, which can be read in one way: then no images have to tell it from others."""
    return len({text for one in weights.stored for text in one.texts}) == 1


def some_images(dataset: str, parameters: dict[str, Any], data_root: Path) -> Iterator[Images]:
    """Test images, the same ones every time; then as many again as there were so far, where the test split has no more of training."""
    shape = shape_of(dataset, parameters, data_root)
    most = max(FEWEST, min(MOST, NUMBERS // shape.dimension))
    begun = 0
    for split, count in (("test", shape.counts["test"]), ("train", shape.counts["train"])):
        order = images_of(count, 0.0, 0, 1, most * 2 ** (LOOKS - 1))
        while order:
            lot, order = order[: begun or most], order[begun or most :]
            try:
                yield load(dataset, parameters, split, data_root, positions=lot)
            except InputError:
                if split == "test":
                    raise
                return  # whoever certifies needs no training images
            begun += len(lot)
