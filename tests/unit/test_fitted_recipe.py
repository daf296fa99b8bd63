"""The recipe of data sets for which nobody published one, and what `rsctl check` says of the recipe in effect."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chain import Chain, tiny
from folders import noisy_accuracy, shapes
from PIL import Image

from jobs.data.augment import augment
from jobs.data.decode import resized_crop_flip
from rsctl.catalog import known_methods, known_models
from rsctl.catalog.declare import Defaults, Method
from rsctl.catalog.fitted import LARGEST_BATCH, LONGEST, SMALLEST_BATCH, SOURCE, STEPS, defaults, published
from rsctl.catalog.recipe import Recipe
from rsctl.cli.app import run
from rsctl.config.sweep import build_sweep
from rsctl.config.templates import find_template
from rsctl.plan.plan import make_plan
from rsctl.plan.recipes import in_words, recipes_of
from rsctl.tui.compose.draft import Draft
from rsctl.tui.compose.form import compose

EVERY = ("gaussian", "stability", "consistency", "smoothmix", "smoothadv", "macer", "cat-rs", "adre-reg", "adre-adv", "sodm")  # fmt: skip
MNIST = {"gaussian", "stability", "consistency", "smoothmix", "smoothadv", "macer", "cat-rs", "ibp", "crown-ibp", "lipschitz-margin"}  # fmt: skip
PUBLISHED = {
    "digits": {*known_methods()},
    "cifar10": {*EVERY, "denoise", "heat", "ibp", "crown-ibp", "lipschitz-margin"},
    "imagenet": {*EVERY, "denoise", "heat"},
    "cifar100": {*EVERY},
    "mnist": MNIST,
    "svhn": set(),
    "imagefolder": set(),
}


def fitted(
    method: str = "gaussian", model: str = "cnn", images: int = 300, size: int = 32, **given: Any
) -> Recipe:
    found = defaults(known_methods()[method], known_models()[model], "imagefolder", 0.25, given, images, size)
    return Recipe(**{k: v for k, (v, _) in found.items() if k in Recipe.model_fields} | given)


@pytest.mark.parametrize("dataset", PUBLISHED)
def test_what_was_published_stays(dataset: str) -> None:
    for name, method in known_methods().items():
        told = defaults(method, known_models()["cnn"], dataset, 0.25, {}, 300, 32)
        assert published(method, dataset, 0.25) == (name in PUBLISHED[dataset]), (name, dataset)
        assert (told == method.sourced_defaults(dataset, 0.25)) == (name in PUBLISHED[dataset])


def test_a_plugin_says_itself_for_what_its_recipe_is() -> None:
    general = Method("mine", "Mine", "me", 1, defaults=(Defaults({"epochs": 3}, source="me"),))
    none = Method("mine", "Mine", "me", 1)
    assert published(general, "imagefolder", 0.25)
    assert published(none, "imagenet", 0.25)
    assert not published(none, "imagefolder", 0.25)


@pytest.mark.parametrize("images", [20, 300, 1000, 5000, 73257, 1_281_167])
@pytest.mark.parametrize("given", [{}, {"epochs": 20}, {"epochs": 1}, {"batch_size": 400}], ids=str)
def test_there_are_enough_steps_for_few_images_too(images: int, given: dict[str, int]) -> None:
    recipe = fitted(images=images, **given)
    steps = recipe.epochs * math.ceil(images / recipe.batch_size)
    assert steps >= STEPS or recipe.epochs in (LONGEST, given.get("epochs")) or recipe.batch_size == 400
    assert steps <= recipe.epochs * max(images / SMALLEST_BATCH + 1, 1)
    if "batch_size" not in given:
        assert SMALLEST_BATCH <= recipe.batch_size <= LARGEST_BATCH
        assert images < 500 or images / recipe.batch_size >= 14
    assert recipe.warmup_epochs <= recipe.epochs / 4


def test_rates_follow_network_batch_and_optimizer() -> None:
    assert fitted().lr < fitted(images=2000).lr < fitted(images=2000, model="resnet20").lr
    assert fitted(images=50_000).lr == fitted(images=5_000_000).lr
    assert fitted(optimizer="adam").lr == 0.001
    assert fitted(optimizer="adam", batch_size=256).weight_decay == 0.0
    assert fitted("ibp").optimizer == "adam"
    assert fitted("ibp", optimizer="sgd").lr == fitted().lr
    assert fitted(nesterov=True).nesterov
    assert fitted("ibp", nesterov=True).optimizer == "sgd"


def test_images_are_shifted_by_an_eighth_of_their_side_and_never_mirrored() -> None:
    assert [fitted(size=size).crop_padding for size in (6, 8, 16, 32, 224)] == [0, 1, 2, 4, 4]
    assert not fitted().mirror


@pytest.mark.parametrize("name", sorted(known_methods()))
@pytest.mark.parametrize("given", [{}, {"epochs": 1}, {"epochs": 20}, {"epochs": 1000}], ids=str)
def test_every_method_has_a_valid_recipe_of_any_length(name: str, given: dict[str, int]) -> None:
    method = known_methods()[name]
    for images in (20, 300, 60_000):
        for model in known_models().values():
            found = defaults(method, model, "imagefolder", 0.25, given, images, 32)
            values = {key: value for key, (value, _) in found.items()} | given
            hyper = {k: v for k, v in values.items() if k in method.parameters.model_fields}
            if name == "smoothmix":
                hyper["alpha"] = 0.5
            method.parameters(**hyper)
            Recipe(**{k: v for k, v in values.items() if k in Recipe.model_fields})
            assert all(source for _, source in found.values())


def test_what_a_paper_does_after_so_many_epochs_comes_at_the_same_share_of_ours() -> None:
    def of(name: str, field: str, **given: int) -> Any:
        found = defaults(known_methods()[name], known_models()["cnn"], "imagefolder", 0.25, given, 300, 32)
        return found[field][0]

    assert of("smoothadv", "warmup", epochs=150) == 10
    assert of("smoothadv", "warmup", epochs=15) == 1
    assert of("sodm", "beta_epoch", epochs=110) == 70.0
    assert of("ibp", "epsilon_epochs", epochs=18) == 10.0


def test_images_without_mirrors_are_those_with_them_turned_back() -> None:
    pixels = torch.arange(2 * 3 * 8 * 8, dtype=torch.uint8).reshape(2, 3, 8, 8).repeat(20, 1, 1, 1)
    pixels = torch.nn.functional.pad(pixels, (4,) * 4)
    both, plain = (
        augment(pixels, "crop-flip", torch.Generator().manual_seed(0), mirror=mirror)
        for mirror in (True, False)
    )
    turned = (both != plain).flatten(1).any(1)
    assert 5 < turned.sum() < 35
    assert (both[~turned] == plain[~turned]).all()
    # No row of an image that rises from left to right falls.
    ramp = torch.arange(16, dtype=torch.uint8).expand(40, 3, 16, 16).contiguous() + 1
    kept = augment(ramp, "crop-flip", torch.Generator().manual_seed(0), mirror=False).int()
    inside = (kept[..., 1:] > 0) & (kept[..., :-1] > 0)
    assert (kept.diff(dim=-1)[inside] == 1).all()
    near = augment(ramp, "crop-flip", torch.Generator().manual_seed(0), mirror=False, padding=1)
    assert ((near == 0).flatten(1).sum(1) <= 3 * (16 + 15)).all()
    gradient = Image.fromarray(np.tile(np.arange(64, dtype=np.uint8)[None, :, None] * 4, (64, 1, 3)))
    files = [resized_crop_flip(gradient, 16, f"{i}", mirror=False).astype(int) for i in range(40)]
    assert all((np.diff(one[8, :, 0]) >= 0).all() for one in files)
    assert any(
        (np.diff(resized_crop_flip(gradient, 16, f"{i}").astype(int)[8, :, 0]) < 0).any() for i in range(40)
    )


def folder_sweep(**changes: Any) -> dict[str, Any]:
    own = {"name": "imagefolder", "path": "shapes", "size": 16}
    return {**tiny(dataset=own, **changes), "training": changes.get("training", {})}


def test_a_small_network_learns_a_small_folder(chain: Chain, tmp_path: Path) -> None:
    """Shapes of two kinds, 60 images each: with the recipe of 50,000 images it stays at chance."""
    shapes(tmp_path / "data" / "own", train=(60, 60), test=(20, 20), size=16)
    values = folder_sweep(training={"epochs": 40}, sigma=0.25, model={"width": 8})
    values["dataset"] = {**values["dataset"], "path": "own"}
    task = next(request.task for request in chain.plan(values).requests if request.task.run.kind == "models")
    chain.run(task)
    assert noisy_accuracy(task.run, chain.place.data, 16, 0.25) > 0.8


def test_check_tells_the_recipe_and_who_says_so(
    chain: Chain, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shapes(tmp_path / "data" / "shapes", train=(60, 60), test=(20, 20), size=16)
    values = folder_sweep(training={"epochs": 20})
    values["method"] = {"name": "consistency", "training": {"lr": 0.02}}
    file = chain.file(values)
    assert run(["check", str(file)]) == 0
    out = capsys.readouterr().out
    told = out[out.index("\nrecipe") + 1 : out.index("\n\n  ")]
    assert max(len(line) for line in told.splitlines()) <= 80
    text = " ".join(told.split())
    assert (
        "recipe consistency: 20 epochs, batch 16, sgd (momentum 0.9), lr 0.02 (onecycle), warm-up 4 epochs"
        in text
    )
    assert f"From {SOURCE}; epochs, lr: this file." in text
    assert run(["check", str(file), "--json"]) == 0
    (recipe,) = json.loads(capsys.readouterr().out)["recipes"]
    assert recipe["methods"] == ["consistency"]
    assert recipe["recipe"]["lr"] == 0.02
    assert recipe["sources"]["lr"] == "this file"
    assert recipe["sources"]["batch_size"] == SOURCE


def test_check_names_the_paper(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    file = chain.file(find_template("macer2020-cifar10").text)
    assert run(["check", str(file)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert (
        "gaussian: 90 epochs, batch 400, sgd (momentum 0.9), lr 0.1 × 0.1 every 30 epochs, no warm-up" in text
    )
    assert "From Cohen 2019, authors' code: experiments.MD." in text
    assert "lr 0.01 × 0.1 at epochs 200, 400" in text
    assert "at epochs 200, 400 (1 epoch earlier as executed)" in text
    assert "no normalisation layer" in text
    assert "From Zhai et al. 2020, authors' code: main.py; step_shift, normalisation: this file." in text


def test_models_that_others_start_from_have_a_recipe_too(chain: Chain, tmp_path: Path) -> None:
    shapes(tmp_path / "data" / "shapes", train=(60, 60), test=(20, 20), size=16)
    plan = make_plan(build_sweep({**folder_sweep(), "method": "heat"}, "x", chain.place.data), "x")
    (told,) = recipes_of(plan)
    assert told.of("method") == ["gaussian", "heat"]
    assert told.of("sigma") == [0.0, 0.5]


def test_recipes_in_words() -> None:
    recipe = Recipe(
        optimizer="adam", schedule="cosine", noise_steps="smaller", augment=False, label_smoothing=0.1
    )
    assert in_words(recipe) == (
        "90 epochs, batch 400, adam, lr 0.1 (cosine), no warm-up, weight decay 0.0001, label smoothing 0.1, one step per noise, "
        "no augmentation"
    )


def test_the_form_says_that_a_recipe_is_fitted(chain: Chain) -> None:
    draft = Draft({"name": "x", "dataset": {"name": "imagefolder", "path": "p"}, "model": "cnn", "method": "gaussian", "sigma": 0.25})  # fmt: skip
    fields = {field.key: field for section in compose(draft).sections for field in section.fields}
    assert (fields["training.epochs"].default, fields["training.epochs"].source) == ("fitted", SOURCE)
    draft.put("dataset.name", "cifar10", grid=False)
    fields = {field.key: field for section in compose(draft).sections for field in section.fields}
    assert fields["training.epochs"].default == "90"
