"""Every sweep file that ships is complete: valid as it stands, with each model that another needs planned before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jobs.training.schedule import learning_rate
from rsctl.catalog import known_methods
from rsctl.catalog.recipe import Recipe
from rsctl.config.runs import TrainSpec
from rsctl.config.sweep import load_sweep
from rsctl.config.templates import all_templates
from rsctl.plan.plan import make_plan


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 class folders with one image file each where the templates look for folders."""
    root = tmp_path_factory.mktemp("data")
    for name in ("imagenet", "cifar10"):
        for split in ("train", "test"):
            for number in range(60):
                folder = root / name / split / f"n{number:08d}"
                folder.mkdir(parents=True)
                # Only listed, never decoded; of different content, for a data set's files identify it.
                (folder / f"{split}{number}.png").write_bytes(f"{split}{number}".encode())
    return root


@pytest.mark.parametrize("template", all_templates(), ids=lambda template: template.name)
def test_a_template_is_a_valid_sweep(template, data: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / f"{template.name}.toml"
    file.write_text(template.text)
    plan = make_plan(load_sweep(file, data), str(file))
    assert plan.sweep.name == template.name
    assert plan.sweep.description
    assert template.text.startswith("# ")
    planned: set[str] = set()
    for run_id, model in plan.models.items():
        assert planned.issuperset(model.needs)
        planned.add(run_id)


def test_every_method_is_in_a_template() -> None:
    texts = "\n".join(template.text for template in all_templates())
    assert [name for name in known_methods() if f'"{name}"' not in texts] == []


def trainings(name: str, data: Path, folder: Path) -> list[TrainSpec]:
    """The models of a template that ships."""
    (text,) = [one.text for one in all_templates() if one.name == name]
    file = folder / "sweep.toml"
    file.write_text(text)
    return [point.train for point in load_sweep(file, data).points]


def test_a_method_may_have_noise_levels_of_its_own(data: Path, tmp_path: Path) -> None:
    """CAT-RS's baselines have other values at each sigma: each table is trained at its own sigma alone."""
    found = [
        (
            spec.sigma,
            *(spec.hyperparameters[key] for key in ("noises", "epsilon")),
        )
        for spec in trainings("catrs2023-cifar10", data, tmp_path)
        if spec.method == "smoothadv"
    ]
    assert found == [
        (0.25, 4, 255 / 256),
        (0.5, 8, 255 / 256),
        (1.0, 2, 2.0),
    ]  # Salman's models, by their logs


@pytest.mark.parametrize(
    ("template", "method", "expected"),
    [
        ("consistency2020-mnist", "gaussian", {(90, 0.01)}),
        ("consistency2020-mnist", "macer", {(0.25, 16.0, 31.0, 1e-4), (0.5, 16.0, 31.0, 1e-4), (1.0, 6.0, 31.0, 1e-4)}),
        ("smoothmix2021-mnist", "smoothmix", {(0.25, 2, 5.0), (0.5, 4, 5.0), (1.0, 8, 5.0), (0.25, 3, 1.0), (0.5, 4, 1.0), (1.0, 8, 1.0)}),
        ("catrs2023-mnist", "cat-rs", {(0.25, 1.0, 150), (0.5, 1.0, 150), (1.0, 2.0, 150)}),
    ],
)  # fmt: skip
def test_small_images_have_the_values_that_the_authors_commands_give(
    template: str, method: str, expected: set[tuple[float, ...]], data: Path, tmp_path: Path
) -> None:
    found: set[tuple[float, ...]] = set()
    for spec in trainings(template, data, tmp_path):
        if spec.method == method:
            values, recipe = spec.hyperparameters, spec.recipe
            found.add({
                "gaussian": (recipe.epochs, recipe.lr),
                "macer": (spec.sigma, values.get("lbd"), values.get("lbd_from_epoch"), recipe.weight_decay),
                "smoothmix": (spec.sigma, values.get("steps"), values.get("eta")),
                "cat-rs": (spec.sigma, values.get("lbd"), recipe.epochs),
            }[method])  # fmt: skip
    assert found == expected


LATE = ("consistency2020", "smoothmix2021", "catrs2023", "dsrs", "salman2020")
"""Templates of code that calls scheduler.step(epoch) after the epoch."""


def value(spec: TrainSpec, key: str) -> Any:
    return getattr(spec.recipe, key) if key in Recipe.model_fields else spec.hyperparameters.get(key)


def every(values: dict[str, Any], *sigmas: float) -> dict[float, dict[str, Any]]:
    return dict.fromkeys(sigmas or (0.25, 0.5, 1.0), values)


BATCH_256 = {
    "epochs": 150,
    "batch_size": 256,
    "lr": 0.1,
    "weight_decay": 1e-4,
    "momentum": 0.9,
    "nesterov": False,
}
"""Jeong, Shin 2020, appendix A.1, for every method on CIFAR-10 (but Nesterov, which their code doesn't have)."""
SMOOTHADV = {
    0.25: {"attack": "pgd", "steps": 10, "noises": 4, "epsilon": 255 / 256, "warmup": 10},
    0.5: {"attack": "pgd", "steps": 10, "noises": 2, "epsilon": 2.0, "warmup": 10},
    1.0: {"attack": "pgd", "steps": 10, "noises": 2, "epsilon": 2.0, "warmup": 10},
}
MACER = {
    0.25: {**BATCH_256, "lbd": 12.0, "lbd_from_epoch": 0.0, "noises": 16},
    0.5: {**BATCH_256, "lbd": 4.0, "lbd_from_epoch": 0.0, "noises": 16},
    1.0: {**BATCH_256, "lbd": 12.0, "lbd_from_epoch": 51.0, "noises": 16},
}
CATRS_MACER = {**MACER, 0.5: {**MACER[0.5], "lbd": 6.0}}
DSRS = {
    "epochs": 150, "batch_size": 256, "lr": 0.01, "schedule": "step", "step_epochs": 50, "step_factor": 0.1, "momentum": 0.9,
    "weight_decay": 1e-4, "exponent_warmup": 100,
}  # fmt: skip
ONE_NOISE = {"attack": "pgd", "steps": 10, "noises": 1, "epochs": 150, "batch_size": 256, "step_epochs": 50}
COHEN = {"epochs": 90, "batch_size": 400, "lr": 0.1, "step_epochs": 30}
IMAGENET_200 = {"epochs": 90, "batch_size": 200, "lr": 0.1, "step_epochs": 30}


@pytest.mark.parametrize(
    ("template", "method", "expected"),
    [
        ("dsrs-cifar10", "gaussian", every(DSRS)),
        ("sodm2021-table1", "smoothadv", every(ONE_NOISE)),
        ("sodm2021-table4", "smoothadv", {0.25: {**ONE_NOISE, "epsilon": 255 / 256}}),
        ("sodm2021-table1", "gaussian", every(COHEN)),
        ("consistency2020-cifar10", "smoothadv", SMOOTHADV),
        ("smoothmix2021-cifar10", "smoothadv", SMOOTHADV),
        ("consistency2020-cifar10", "stability", every({**BATCH_256, "lbd": 2.0})),
        ("smoothmix2021-cifar10", "stability", every({**BATCH_256, "lbd": 2.0})),
        ("catrs2023-cifar10", "stability", {0.25: {"lbd": 2.0}, 0.5: {"lbd": 2.0}, 1.0: {"lbd": 1.0}}),
        ("consistency2020-cifar10", "macer", MACER),
        ("smoothmix2021-cifar10", "macer", MACER),
        ("catrs2023-cifar10", "macer", CATRS_MACER),
        ("consistency2020-imagenet", "gaussian", every(IMAGENET_200)),
        ("consistency2020-imagenet", "consistency", every(IMAGENET_200)),
        ("consistency2020-imagenet", "smoothadv", every({**IMAGENET_200, "warmup": 10})),
        ("adre2020-table1-cifar10", "gaussian", every(COHEN, 0.12, 0.25, 0.5, 1.0)),
        ("adre2020-table1-imagenet", "gaussian", every(COHEN)),
        ("salman2020-cifar10", "gaussian", every({**BATCH_256, "epochs": 90, "weight_decay": 5e-4}, 0.0, 0.12, 0.25, 0.5, 1.0)),
        ("macer2020-cifar10", "macer", every({"epochs": 440, "milestones": [200.0, 400.0], "step_shift": -1})),
        ("catrs2023-imagenet", "cat-rs", {1.0: {"epochs": 90, "milestones": [30.0, 60.0], "step_shift": 1}}),
    ],
)  # fmt: skip
def test_a_table_is_trained_as_its_paper_or_its_authors_code_says(
    template: str, method: str, expected: dict[float, dict[str, Any]], data: Path, tmp_path: Path
) -> None:
    found = [spec for spec in trainings(template, data, tmp_path) if spec.method == method]
    assert {spec.sigma for spec in found} == set(expected)
    for spec in found:
        wanted = expected[spec.sigma]
        assert {key: value(spec, key) for key in wanted} == wanted, spec.sigma


@pytest.mark.parametrize("template", all_templates(), ids=lambda template: template.name)
def test_the_rate_falls_where_the_authors_code_lowers_it(template: Any, data: Path, tmp_path: Path) -> None:
    """Epochs count from 0. The published logs of CAT-RS's SmoothAdv rows are of models that Salman's code trained."""
    for spec in trainings(template.name, data, tmp_path):
        recipe = spec.recipe
        falls = [
            epoch
            for epoch in range(1, recipe.epochs)
            if learning_rate(recipe, epoch, 1) < learning_rate(recipe, epoch - 1, 1) * 0.5
        ]
        printed = [50, 100] if recipe.epochs == 150 else [30, 60]
        if template.name.startswith(LATE):
            own = (template.name, spec.method) != ("catrs2023-cifar10", "smoothadv")
            assert falls == [epoch + own for epoch in printed if epoch + own < recipe.epochs], spec.run_id
        elif spec.method == "macer" and spec.dataset == "cifar10":
            expected = {440: [199, 399], 270: [199], 90: [29, 59]}[recipe.epochs]
            assert falls == expected, spec.run_id
        elif recipe.milestones == [60.0, 120.0, 160.0]:
            # HeatSmoothing: anew in each of its timesteps of 200 epochs.
            assert falls == [
                200 * time + fall for time in range(recipe.epochs // 200) for fall in (59, 119, 159)
            ]
        else:
            assert recipe.step_shift == 0, spec.run_id
