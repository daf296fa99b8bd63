"""The fitted recipe against tuned ones: small folders of images, networks of every kind."""

from __future__ import annotations

import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chain import Chain
from folders import noisy_accuracy, shapes
from PIL import Image

from rsctl.plan.tasks import Task
from rsctl.store import degenerate
from rsctl.store.layout import Run

MODELS: dict[str, dict[str, Any]] = {
    "cnn": {"name": "cnn", "width": 16},
    "mlp": {"name": "mlp"},
    "lenet": {"name": "lenet"},
    "resnet20": {"name": "resnet20"},
    "wideresnet": {"name": "wideresnet", "depth": 10, "widen": 1},
}
TUNED: tuple[dict[str, Any], ...] = (
    {"lr": 0.003},
    {"lr": 0.01},
    {"optimizer": "adam", "lr": 1e-3},
)
"""Recipes to choose from by the very images that judge; with the fitted number of steps."""
SIGMA, SIZE = 0.25, 16
CIFAR = Path(__file__).parents[3] / "shared" / "data" / "cifar10-imagefolder.tar.gz"


def stripes(root: Path) -> None:
    """Textures: stripes of ten directions and widths, a hundred images each."""
    random = np.random.default_rng(1)
    y, x = np.mgrid[:SIZE, :SIZE]
    for split, count in (("train", 100), ("test", 40)):
        for kind in range(10):
            folder = root / split / f"k{kind}"
            folder.mkdir(parents=True)
            angle, wide = np.pi * (kind % 5) / 5, 0.8 + 0.7 * (kind // 5)
            for i in range(count):
                wave = np.sin(wide * (x * np.cos(angle) + y * np.sin(angle)) + random.uniform(0, 2 * np.pi))
                pixels = (
                    128
                    + 70 * wave[..., None] * random.uniform(0.3, 1, 3)
                    + random.normal(0, 20, (SIZE, SIZE, 3))
                )
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{i}.png")


def photographs(root: Path) -> None:
    """A hundred CIFAR-10 images of each class."""
    if not CIFAR.exists():
        pytest.skip(f"{CIFAR} isn't there")
    with tarfile.open(CIFAR) as archive:
        for split, count in (("train", 100), ("test", 50)):
            taken: Counter[str] = Counter()
            for member in archive.getmembers():
                parts = Path(member.name).parts
                if member.isfile() and parts[0] == split and taken[parts[1]] < count:
                    taken[parts[1]] += 1
                    (root / split / parts[1]).mkdir(parents=True, exist_ok=True)
                    data = archive.extractfile(member)
                    assert data is not None
                    (root / member.name).write_bytes(data.read())


FOLDERS = {
    "three shapes": lambda root: shapes(root, train=(100, 100, 100), test=(60, 60, 60), size=SIZE),
    "uneven": lambda root: shapes(root, train=(180, 20), test=(100, 100), size=SIZE, seed=1),
    "stripes": stripes,
    "photographs": photographs,
}


def trained(chain: Chain, name: str, model: dict[str, Any], training: dict[str, Any]) -> Run:
    values = {
        "name": name, "dataset": {"name": "imagefolder", "path": "own", "size": SIZE}, "model": model, "method": "gaussian",
        "sigma": SIGMA, "training": training, "certification": {"n0": 10, "n": 100, "max_images": 1},
    }  # fmt: skip
    chain.plan(values)
    run = chain.store.run("models", chain.store.sweep(name)["entries"][0].model)
    if not run.model_file.exists():  # a tuned recipe may be the fitted one
        chain.run(Task(run, 0))
    return run


@pytest.mark.long
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("folder", FOLDERS)
def test_it_reaches_what_a_tuned_recipe_reaches(
    chain: Chain, tmp_path: Path, folder: str, model: str
) -> None:
    FOLDERS[folder](tmp_path / "data" / "own")
    fitted = trained(chain, "fitted", MODELS[model], {})
    assert degenerate.of_folder(fitted.path) is None
    reached = noisy_accuracy(fitted, chain.place.data, SIZE, SIGMA)
    epochs = fitted.train_spec.recipe.epochs
    best = max(
        noisy_accuracy(
            trained(chain, f"tuned-{i}", MODELS[model], {"epochs": epochs, **one}),
            chain.place.data,
            SIZE,
            SIGMA,
        )
        for i, one in enumerate(TUNED)
    )
    print(f"{folder:14} {model:12} fitted {reached:.3f}  tuned {best:.3f}")
    assert reached >= 0.9 * best
