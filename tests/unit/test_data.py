"""What every data set keeps to: the digits, augmentation of batches, and the training images that are held out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from jobs.data import load, sets, split_train
from jobs.data.augment import augment
from rsctl import catalog
from rsctl.catalog.datasets import ImageFolder
from rsctl.catalog.folders import inspect_folder
from rsctl.catalog.holdout import fixed_permutation
from rsctl.errors import InputError


@pytest.mark.parametrize("found", [True, False])
def test_digits_are_all_of_scikit_learns_split_once_and_for_ever(
    monkeypatch: pytest.MonkeyPatch, found: bool
) -> None:
    """Their file is read where it lies; where a version keeps it elsewhere, scikit-learn is asked."""
    if not found:
        monkeypatch.setattr(sets, "find_spec", lambda name: None)
    from sklearn.datasets import load_digits

    levels, labels = load_digits(return_X_y=True)
    train, test = (load("digits", {}, split, Path()) for split in ("train", "test"))
    assert train.pixels.shape == (1437, 1, 8, 8)
    assert test.pixels.shape == (360, 1, 8, 8)
    assert train.pixels.dtype == torch.uint8
    together = torch.cat([train.pixels, test.pixels]).flatten(1)
    rows = sorted(zip(together.tolist(), torch.cat([train.labels, test.labels]).tolist(), strict=True))
    scaled = np.rint(levels * 255 / 16).astype(int).tolist()
    assert rows == sorted(zip(scaled, labels.tolist(), strict=True))
    # Stored counts refer to positions: these bytes must never change.
    assert test.fingerprint == "9ea91424733eaef107e9b1db6c779e8e03e19eb89facf8c7c7420d55647dc29d"
    assert train.fingerprint == "6ef1614e6a8846e57add997a8d5e8f3a965f3a6b7be3f8e9b8ebfcfc4001ff25"


def test_declared_statistics_of_digits_are_those_of_its_training_images() -> None:
    images = load("digits", {}, "train", Path()).pixels / 255
    declared = catalog.known_datasets()["digits"]
    assert declared.mean[0] == pytest.approx(images.mean().item(), abs=1e-3)
    assert declared.std[0] == pytest.approx(images.std().item(), abs=1e-3)


def test_positions_select_rows_of_the_split_in_the_order_given() -> None:
    whole, some = (
        load("digits", {}, "test", Path()),
        load("digits", {}, "test", Path(), positions=[200, 3, 77]),
    )
    assert len(some) == 3
    assert torch.equal(some.pixels, whole.pixels[[200, 3, 77]])
    assert torch.equal(some.labels, whole.labels[[200, 3, 77]])
    assert some.positions.tolist() == [200, 3, 77]
    assert some.fingerprint == whole.fingerprint
    pixels, labels = some.batch(torch.tensor([2, 0]), "cpu")
    assert torch.equal(pixels, whole.pixels[[77, 200]])
    assert torch.equal(labels, whole.labels[[77, 200]])


def test_the_stream_of_a_set_in_memory_is_the_rows_asked_for() -> None:
    images = load("digits", {}, "train", Path()).to("cpu")
    batches = [torch.tensor([4, 9]), torch.tensor([1000])]
    streamed = list(images.stream(batches, generator_seed=0))
    assert [labels.tolist() for _, labels in streamed] == [images.labels[rows].tolist() for rows in batches]
    assert torch.equal(streamed[1][0], images.pixels[[1000]])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("digits", {}, "test", Path(), [360]),
            "Position 360 is outside the test split of digits.*360 images",
        ),
        (("digits", {}, "test", Path(), [-1]), "Position -1"),
        (("digits", {}, "val", Path()), "Allowed: test, train"),
        (("digitz", {}, "test", Path()), "Did you mean 'digits'"),
        (("digits", {"size": 9}, "test", Path()), "unknown parameter of digits 'size'"),
        (("imagefolder", {"path": "x", "size": "32"}, "test", Path()), "dataset.size"),
        (("imagefolder", {"path": "nowhere"}, "test", Path("/data")), "/data/nowhere is not a folder"),
    ],
)
def test_what_cannot_be_loaded_is_explained(arguments: tuple[Any, ...], said: str) -> None:
    *first, positions = arguments if len(arguments) == 5 else (*arguments, None)
    with pytest.raises(InputError, match=said):
        load(*first, positions=positions)


def test_a_folder_that_lies_here_and_not_below_the_data_root_is_pointed_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "forms").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"{tmp_path}/forms is one, but .* its absolute path, or set `data`"):
        inspect_folder(tmp_path / "root", ImageFolder(path="forms"))


def test_crop_flip_takes_every_crop_and_mirror_of_the_padded_image() -> None:
    image = torch.arange(1, 3 * 6 * 6 + 1, dtype=torch.uint8).view(1, 3, 6, 6)
    padded = torch.nn.functional.pad(image, (4, 4, 4, 4))[0]
    views = {}
    for top in range(9):
        for left in range(9):
            crop = padded[:, top : top + 6, left : left + 6]
            views[crop.numpy().tobytes()] = (top, left, False)
            views[crop.flip(2).contiguous().numpy().tobytes()] = (top, left, True)
    taken = augment(image.expand(4000, -1, -1, -1), "crop-flip", torch.Generator().manual_seed(0))
    seen = [views[crop.contiguous().numpy().tobytes()] for crop in taken]  # KeyError: not a view of the image
    assert set(seen) == set(views.values())
    assert 1850 < sum(mirrored for _, _, mirrored in seen) < 2150


def test_augmentation_draws_from_its_generator_alone() -> None:
    pixels = torch.randint(0, 256, (16, 3, 8, 8), dtype=torch.uint8)
    before = torch.get_rng_state()
    first = augment(pixels, "crop-flip", torch.Generator().manual_seed(7))
    again = augment(pixels / 255, "crop-flip", torch.Generator().manual_seed(7))
    other = augment(pixels, "crop-flip", torch.Generator().manual_seed(8))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first / 255, again)
    assert not torch.equal(first, other)


def test_a_part_of_a_batch_is_cropped_as_in_the_whole() -> None:
    pixels = torch.randint(0, 256, (10, 3, 8, 8), dtype=torch.uint8)
    whole = augment(pixels, "crop-flip", torch.Generator().manual_seed(7))
    part = slice(3, 7)
    mine = augment(pixels[part], "crop-flip", torch.Generator().manual_seed(7), whole=10, mine=part)
    assert torch.equal(mine, whole[part])


@pytest.mark.parametrize("kind", ["none", "resized-crop-flip"])
def test_other_kinds_change_nothing_and_draw_nothing(kind: str) -> None:
    pixels, generator = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8), torch.Generator()
    before = generator.get_state()
    assert augment(pixels, kind, generator) is pixels
    assert torch.equal(generator.get_state(), before)


def test_the_held_out_rows_are_fixed_for_ever() -> None:
    assert fixed_permutation(8, seed=0).tolist() == [0, 2, 1, 5, 4, 3, 6, 7]
    train, held_out = split_train(50_000, 0.1)
    assert len(held_out) == 5000
    assert sorted([*train.tolist(), *held_out.tolist()]) == list(range(50_000))
    assert held_out[:5].tolist() == [0, 21, 38, 43, 54]
    assert not np.array_equal(split_train(50_000, 0.1, seed=1)[1], held_out)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 0.01, 0.99])
def test_a_share_that_leaves_nothing_is_refused(share: float) -> None:
    with pytest.raises(InputError):
        split_train(10, share)
