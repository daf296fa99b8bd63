"""The word that a network learned nothing: when it is said, how often wrongly, and how often it is missed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from rsctl.store.degenerate import FEWEST, FILE, Tally, judge, of_folder, warning_of, write
from rsctl.store.tally import tally


def mark(labels: list[int], predicted: list[int], *, training: bool = False) -> str:
    found = judge(tally(np.array(labels, int), np.array(predicted, int)), training=training)
    return found.mark if found else ""


def test_one_class_for_every_image() -> None:
    found = judge(tally(np.arange(20) % 3, np.ones(20, int)), training=False)
    assert found is not None
    assert (
        warning_of(found)
        == "ONE CLASS: the network predicts class 1 for all 20 images, which belong to 3 classes"
    )


@pytest.mark.parametrize(
    ("labels", "predicted", "why"),
    [
        ([], [], "no image"),
        ([1] * 50, [1] * 50, "images of one class alone"),
        ([1] * 50 + [0] * 9, [1] * 59, "too few of other classes"),
        ([0, 1, 2] * 3, [1] * 9, "too few images"),
        ([0] * 15 + [1] * 15, [1] * 14 + [0] + [1] * 15, "one of them is right"),
        # As few images of other classes as there are, a good part of them is right.
        ([0] * 990 + [1] * 20, [0] * 1000 + [1] * 10, "an uneven set, and a network that knows"),
        ([0, 1] * 50, [1, 0] * 50, "always wrong, but not always the same"),
        ([0, 1] * 50, [-1] * 100, "abstained everywhere"),
    ],
)  # fmt: skip
def test_nothing_is_said_of(labels: list[int], predicted: list[int], why: str) -> None:
    assert mark(labels, predicted) == "", why


def test_a_stray_prediction_saves_no_network() -> None:
    assert mark([0, 1, 2, 3] * 100, [2] * 399 + [1]) == "ONE CLASS"
    assert mark([0] * 900 + [1] * 100, [0] * 1000) == "ONE CLASS"


def test_abstained_images_are_not_counted() -> None:
    found = judge(tally(np.arange(40) % 2, np.array([1] * 30 + [-1] * 10)), training=False)
    assert found is not None
    assert "all 30 images that it doesn't abstain on" in found.text


def test_the_false_alarm_of_one_class_is_as_stated() -> None:
    """A network that is right on half of ten images of other classes, and calls the rest by the first class."""
    random = np.random.default_rng(0)
    labels = np.array([0] * 10 + [1] * 10)
    alarms = 0
    for _ in range(20_000):
        predicted = np.where((labels == 1) & (random.random(20) < 0.5), 1, 0)
        alarms += judge(tally(labels, predicted), training=False) is not None
    assert 5 < alarms < 40  # 2⁻¹⁰ of them are 20


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.1,) * 10, (0.9, 0.1)], ids=str)
def test_networks_that_ignore_their_images_are_found(shares: tuple[float, ...]) -> None:
    random = np.random.default_rng(1)
    classes, missed = len(shares), 0
    for _ in range(2000):
        labels = random.choice(classes, 500, p=shares)
        predicted = random.choice(classes, 500, p=random.dirichlet(np.ones(classes)))
        missed += judge(tally(labels, predicted), training=True) is None
    assert missed / 2000 < 0.006  # 0.2 % by the normal law


@pytest.mark.parametrize(
    ("images", "classes", "accuracy"), [(500, 10, 0.21), (500, 2, 0.64), (100, 10, 0.37)]
)
def test_networks_that_know_little_are_let_go(images: int, classes: int, accuracy: float) -> None:
    """The largest number of right ones, of evenly spread predictions, at which the word is said; and how likely it is."""

    def told(right: int) -> bool:
        labels = np.arange(images) % classes
        predicted = labels.copy()
        wrong = np.arange(right, images)
        predicted[wrong] = (labels[wrong] + 1) % classes
        return judge(tally(labels, predicted), training=True) is not None

    lowest = images // classes
    assert told(lowest)
    limit = next(right for right in range(lowest, images) if not told(right)) - 1
    assert binom.cdf(limit, images, accuracy) < 1.1e-3


def test_chance_is_asked_of_trainings_with_enough_images_only() -> None:
    random = np.random.default_rng(0)
    labels, predicted = random.integers(0, 4, (2, 1000))
    assert mark(labels.tolist(), predicted.tolist(), training=True) == "AT CHANCE"
    assert mark(labels.tolist(), predicted.tolist()) == ""
    few = FEWEST - 1
    assert mark(labels[:few].tolist(), predicted[:few].tolist(), training=True) == ""


def test_training_on_attacked_images_may_be_worse_than_chance() -> None:
    labels = np.arange(500) % 10
    assert mark(labels.tolist(), ((labels + 1) % 10).tolist(), training=True) == ""


def test_the_record_of_a_run(tmp_path: Path) -> None:
    assert of_folder(tmp_path) is None
    write(tmp_path, Tally([10, 10], [0, 20], [0, 10]), training=True)
    found = of_folder(tmp_path)
    assert found is not None
    assert (
        found.text == "at the end of training predicts class 1 for all 20 images, which belong to 2 classes"
    )
    write(tmp_path, Tally([10, 10], [10, 10], [10, 10]), training=True)
    assert of_folder(tmp_path) is None


@pytest.mark.parametrize(
    "spoilt",
    [b"", b"[]", b"{", b'{"labels": 3, "training": true}', {"labels": [20, 20], "predicted": [40], "right": []},
     {"labels": [9], "predicted": ["x"], "right": [1]}, {"labels": [0, 40], "predicted": [0, 0, 40], "right": [0, 0]}, {"labels": [], "predicted": [], "right": []},
     {"labels": None, "predicted": None, "right": None}, {"labels": [1e400], "predicted": [1], "right": [1]}],
    ids=str,
)  # fmt: skip
def test_a_spoilt_record_says_nothing(tmp_path: Path, spoilt: bytes | dict[str, object]) -> None:
    text = spoilt if isinstance(spoilt, bytes) else json.dumps({"training": True, **spoilt}).encode()
    (tmp_path / FILE).write_bytes(text)
    assert of_folder(tmp_path) is None
