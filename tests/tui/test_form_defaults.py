"""The form shows the defaults in effect: those of each method, at each noise level."""

from __future__ import annotations

from typing import Any

import pytest

from rsctl.config.settings import load_settings
from rsctl.config.sweep import build_sweep
from rsctl.tui.compose.draft import START, Draft
from rsctl.tui.compose.fields import Field, Section
from rsctl.tui.compose.form import compose
from rsctl.tui.compose.rows import field_row, help_text


def fields_of(methods: list[dict[str, Any]], **more: Any) -> dict[str, Field]:
    draft = Draft({**START, "dataset": {"name": "cifar10"}, "method": methods, **more})
    return {field.key: field for section in compose(draft).sections for field in section.fields}


GAUSSIAN, CONSISTENCY = {"name": "gaussian"}, {"name": "consistency"}


def test_two_methods_show_the_default_of_each() -> None:
    epochs = fields_of([GAUSSIAN, CONSISTENCY])["training.epochs"]
    assert epochs.default == "90 / 150"
    assert epochs.source.startswith("gaussian: Cohen 2019")
    assert "; consistency: Jeong" in epochs.source
    assert epochs.proposed == "", "90 / 150 is no value that could be taken"
    assert "Default 90 / 150 (gaussian: Cohen" in help_text(epochs).plain
    assert fields_of([CONSISTENCY, GAUSSIAN])["training.epochs"].default == "150 / 90"
    agreed = fields_of([GAUSSIAN, CONSISTENCY])["training.lr"]
    assert (agreed.default, agreed.proposed) == ("0.1", "0.1")


def test_a_method_has_a_default_at_each_noise_level() -> None:
    """Consistency's lambda is 20 at 0.25 and 10 at 0.5."""
    assert fields_of([CONSISTENCY])["method.0.lbd"].default == "20.0, 10.0"
    own = {**CONSISTENCY, "grid": {"sigma": [0.5]}}
    assert fields_of([GAUSSIAN, own])["method.1.lbd"].default == "10.0"


def test_what_a_method_says_for_itself_counts() -> None:
    own = {**CONSISTENCY, "training": {"epochs": 12}}
    assert fields_of([GAUSSIAN, own])["training.epochs"].default == "90 / 12"
    several = {**CONSISTENCY, "grid": {"training.epochs": [10, 20]}}
    assert fields_of([GAUSSIAN, several])["training.epochs"].default == "90 / 10, 20"
    given = fields_of([GAUSSIAN, own], training={"epochs": 7})["training.epochs"]
    assert given.value == "7"
    assert "except consistency: 12" in str(field_row(Section("Training", (given,)), given).cells)


@pytest.mark.parametrize("dataset", ["cifar10", "digits"])
def test_what_is_shown_is_what_a_submission_takes(dataset: str) -> None:
    """Of every method and field, against the sweep that the draft makes."""
    methods = [{"name": name} for name in ("gaussian", "consistency", "smoothadv", "adre-adv", "ibp")]
    raw = {**START, "method": methods, "dataset": {"name": dataset}, "model": {"name": "resnet20"}}
    if dataset == "digits":
        raw["model"] = {"name": "cnn"}
    shown = {f.key: f for s in compose(Draft(raw)).sections for f in s.fields}
    points = build_sweep(Draft(raw).plain(), "x", load_settings().data).points
    for name in ("epochs", "batch_size", "lr", "warmup_epochs", "schedule", "weight_decay", "optimizer"):
        by = [
            dict.fromkeys(
                str(getattr(point.train.recipe, name))
                for point in points
                if point.train.method == one["name"]
            )
            for one in methods
        ]
        each = [", ".join(values) for values in by]
        assert shown[f"training.{name}"].default == (each[0] if len(set(each)) == 1 else " / ".join(each))
