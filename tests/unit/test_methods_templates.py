"""Every sweep file that ships is complete: valid as it stands, with each model that another needs planned before it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsctl.catalog import known_methods
from rsctl.plan.plan import make_plan
from rsctl.spec.sweep import load_sweep
from rsctl.spec.templates import all_templates


def folder_of_classes(root: Path) -> None:
    """60 class folders with one image file each where the templates look for folders."""
    for name in ("imagenet", "cifar10"):
        for split in ("train", "test"):
            for number in range(60):
                folder = root / name / split / f"n{number:08d}"
                folder.mkdir(parents=True)
                # Only listed, never decoded; of different content, for a data set's files identify it.
                (folder / f"{split}{number}.png").write_bytes(f"{split}{number}".encode())


@pytest.mark.parametrize("template", all_templates(), ids=lambda template: template.name)
def test_a_template_is_a_valid_sweep(template, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    folder_of_classes(tmp_path)
    file = tmp_path / f"{template.name}.toml"
    file.write_text(template.text)
    plan = make_plan(load_sweep(file, tmp_path), str(file))
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


def test_a_method_may_have_noise_levels_of_its_own(tmp_path: Path) -> None:
    """CAT-RS's baselines have other values at each sigma: each table is trained at its own sigma alone."""
    folder_of_classes(tmp_path)
    (text,) = [one.text for one in all_templates() if one.name == "catrs2023-cifar10"]
    file = tmp_path / "sweep.toml"
    file.write_text(text)
    found = [
        (
            spec.sigma,
            *(spec.hyperparameters[key] for key in ("noises", "epsilon")),
        )
        for spec in (point.train for point in load_sweep(file, tmp_path).points)
        if spec.method == "smoothadv"
    ]
    assert found == [(0.25, 4, 1.0), (0.5, 8, 1.0), (1.0, 2, 2.0)]


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
    template: str, method: str, expected: set[tuple[float, ...]], tmp_path: Path
) -> None:
    (text,) = [one.text for one in all_templates() if one.name == template]
    file = tmp_path / "sweep.toml"
    file.write_text(text)
    found: set[tuple[float, ...]] = set()
    for point in load_sweep(file, tmp_path).points:
        spec = point.train
        if spec.method == method:
            values, recipe = spec.hyperparameters, spec.recipe
            found.add({
                "gaussian": (recipe.epochs, recipe.lr),
                "macer": (spec.sigma, values.get("lbd"), values.get("lbd_from_epoch"), recipe.weight_decay),
                "smoothmix": (spec.sigma, values.get("steps"), values.get("eta")),
                "cat-rs": (spec.sigma, values.get("lbd"), recipe.epochs),
            }[method])  # fmt: skip
    assert found == expected
