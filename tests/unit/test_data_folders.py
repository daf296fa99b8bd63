"""Folders of images: pixels of files in memory, and ImageNet's decoded when they are asked for."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from jobs.data import decode, load
from rsctl.catalog.shape import shape_of
from rsctl.errors import InputError

Declare = Callable[..., None]
RNG = np.random.default_rng(0)


def write_folder(
    root: Path, splits: dict[str, int], sizes: list[tuple[int, int]], classes: tuple[str, ...]
) -> None:
    """`splits[name]` PNG files per class; sizes (width, height) in turn."""
    for split, count in splits.items():
        for name in classes:
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                width, height = sizes[i % len(sizes)]
                pixels = RNG.integers(0, 256, (height, width, 3), np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{i}.png")


ANIMALS = ("ant", "bee", "cat")
SIZES = [(16, 16), (24, 17), (17, 31)]


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    write_folder(tmp_path / "animals", {"train": 4, "test": 3}, SIZES, ANIMALS)
    return tmp_path


FOLDER = {"path": "animals", "size": 16}


@pytest.mark.parametrize("ending", ["bmp", "ppm", "TIF"])
def test_an_uncompressed_image_that_changes_is_another_data_set(animals: Path, ending: str) -> None:
    before = shape_of("imagefolder", FOLDER, animals)
    file = animals / "animals" / "test" / "bee" / f"other.{ending}"
    Image.new("RGB", (16, 16), "red").save(file)
    red, red_pixels = shape_of("imagefolder", FOLDER, animals), load("imagefolder", FOLDER, "test", animals)
    length = file.stat().st_size
    Image.new("RGB", (16, 16), "blue").save(file)
    blue, blue_pixels = shape_of("imagefolder", FOLDER, animals), load("imagefolder", FOLDER, "test", animals)
    assert file.stat().st_size == length
    assert len({before.fingerprint, red.fingerprint, blue.fingerprint}) == 3
    assert red_pixels.fingerprint != blue_pixels.fingerprint


def test_the_fingerprint_of_compressed_files_stays_what_it_was(tmp_path: Path) -> None:
    for name in ("train/a/1.png", "train/b/1.jpg", "test/a/2.PNG", "test/b/2.webp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * len(name))
    shape = shape_of("imagefolder", {"path": "."}, tmp_path)
    assert shape.fingerprint == "f85014d5c516701425d70ebec410de59cc48cc4de04cc2b2484f2a1d969f8e23"


def torchvision_crop(path: Path, resize: int, size: int) -> torch.Tensor:
    steps = [transforms.Resize(resize), transforms.CenterCrop(size), transforms.PILToTensor()]
    return transforms.Compose(steps)(Image.open(path).convert("RGB"))


def test_a_folder_is_resized_and_cropped_as_the_field_does(animals: Path) -> None:
    images = load("imagefolder", FOLDER, "test", animals)
    assert images.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    for row, pixels in enumerate(images.pixels):
        path = animals / "animals" / "test" / ANIMALS[row // 3] / f"{row % 3}.png"
        assert torch.equal(pixels, torchvision_crop(path, 16, 16))
    assert images.shape == shape_of("imagefolder", FOLDER, animals)
    assert images.shape.class_names == ANIMALS


def test_an_image_of_the_right_size_is_taken_pixel_by_pixel(animals: Path) -> None:
    images = load("imagefolder", FOLDER, "test", animals)
    stored = np.asarray(Image.open(animals / "animals" / "test" / "ant" / "0.png"))
    assert np.array_equal(images.pixels[0].numpy(), stored.transpose(2, 0, 1))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1"])
def test_other_colour_modes_become_rgb(mode: str, animals: Path) -> None:
    path = animals / "animals" / "test" / "ant" / "0.png"
    Image.open(path).convert(mode).save(path)
    images = load("imagefolder", FOLDER, "test", animals)
    assert np.array_equal(
        images.pixels[0].numpy(), np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1)
    )


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


@pytest.mark.parametrize("threads", [False, True])
@pytest.mark.parametrize(
    "damage", [truncate, lambda path: path.write_bytes(b""), lambda path: path.write_bytes(b"no")]
)
def test_an_unreadable_image_is_named_and_only_when_it_is_needed(
    threads: bool, damage: Callable[[Path], None], animals: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if threads:
        monkeypatch.setattr(decode, "THREADED_BYTES", 0)
    bad = animals / "animals" / "test" / "bee" / "1.png"
    damage(bad)
    with pytest.raises(InputError, match=str(bad)):
        load("imagefolder", FOLDER, "test", animals)
    assert len(load("imagefolder", FOLDER, "test", animals, positions=[0, 3, 5])) == 3


def test_a_truncated_jpeg_is_refused_rather_than_padded_with_grey(animals: Path) -> None:
    bad = animals / "animals" / "test" / "bee" / "9.jpg"
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3), np.uint8)).save(bad)
    bad.write_bytes(bad.read_bytes()[:-1000])
    with pytest.raises(InputError, match=str(bad)):
        load("imagefolder", FOLDER, "test", animals)


def test_threads_decode_the_same_pixels(animals: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load("imagefolder", FOLDER, "train", animals).pixels
    monkeypatch.setattr(decode, "THREADED_BYTES", 0)
    assert torch.equal(load("imagefolder", FOLDER, "train", animals).pixels, before)


def test_the_fingerprint_of_a_folder_is_its_listing(animals: Path) -> None:
    whole = load("imagefolder", FOLDER, "test", animals).fingerprint
    assert load("imagefolder", FOLDER, "test", animals, positions=[1]).fingerprint == whole
    assert load("imagefolder", {**FOLDER, "size": 12}, "test", animals).fingerprint != whole
    (animals / "animals").rename(animals / "moved")
    assert load("imagefolder", {**FOLDER, "path": "moved"}, "test", animals).fingerprint == whole
    first = animals / "moved" / "test" / "ant" / "0.png"
    first.rename(first.with_name("00.png"))
    assert load("imagefolder", {**FOLDER, "path": "moved"}, "test", animals).fingerprint != whole


def test_a_test_class_that_training_lacks_is_named(animals: Path) -> None:
    (animals / "animals" / "test" / "zebra").mkdir()
    with pytest.raises(InputError, match=r"test has class folders that .*train lacks: zebra\."):
        shape_of("imagefolder", FOLDER, animals)
    assert len(shape_of("imagefolder", {**FOLDER, "classes": ["cat", "ant"]}, animals).class_names) == 2


def test_a_class_subset_numbers_its_own_classes(animals: Path) -> None:
    images = load("imagefolder", {**FOLDER, "classes": ["ant", "cat"]}, "test", animals)
    assert images.shape.class_names == ("ant", "cat")
    assert images.labels.tolist() == [0, 0, 0, 1, 1, 1]
    everything = load("imagefolder", FOLDER, "test", animals)
    assert torch.equal(images.pixels, everything.pixels[[0, 1, 2, 6, 7, 8]])
    drawn = shape_of("imagefolder", {**FOLDER, "class_count": 2, "class_seed": 5}, animals)
    assert len(drawn.class_names) == 2
    assert list(drawn.class_names) == sorted(drawn.class_names)


def test_one_class_named_is_not_one_class_there(animals: Path) -> None:
    with pytest.raises(
        InputError, match=r"dataset\.classes: must have at least two classes, but it has only 'cat'"
    ):
        shape_of("imagefolder", {**FOLDER, "classes": ["cat", "cat"]}, animals)


def test_the_order_of_classes_is_that_of_the_labels(animals: Path) -> None:
    given = {**FOLDER, "classes": ["cat", "ant", "bee", "cat"]}
    images = load("imagefolder", given, "test", animals)
    assert images.shape.class_names == ("cat", "ant", "bee")
    everything = load("imagefolder", FOLDER, "test", animals)
    assert torch.equal(images.pixels, everything.pixels[[6, 7, 8, 0, 1, 2, 3, 4, 5]])
    assert images.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def listed(root: Path, names: Sequence[str]) -> str:
    """The fingerprint of an image folder of compressed files, as it was when `classes` was sorted whatever order it had."""
    files = {
        split: [
            (f"{split}/{name}/{file.name}", label, file.stat().st_size)
            for label, name in enumerate(sorted(set(names)))
            for file in sorted((root / split / name).iterdir())
        ]
        for split in ("train", "test")
    }
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()


@pytest.mark.parametrize("classes", [["ant", "cat"], ["ant", "ant", "bee"], ["ant", "bee", "cat"]])
def test_a_list_of_classes_that_is_sorted_keeps_its_fingerprint(classes: list[str], animals: Path) -> None:
    shape = shape_of("imagefolder", {**FOLDER, "classes": classes}, animals)
    assert shape.fingerprint == listed(animals / "animals", classes)


def test_runs_of_an_unsorted_list_are_others_than_when_it_was_sorted(animals: Path) -> None:
    found = [
        shape_of("imagefolder", {**FOLDER, "classes": [*classes]}, animals).fingerprint
        for classes in itertools.permutations(ANIMALS)
    ]
    assert found[0] == listed(animals / "animals", ANIMALS)
    assert len(set(found)) == 6


WNIDS = ("n01", "n02")


@pytest.fixture
def imagenet(tmp_path: Path, declare: Declare) -> Path:
    declare("imagenet", size=28, classes=2, counts={"train": 8, "test": 6})
    write_folder(tmp_path / "imagenet", {"train": 4, "val": 3}, [(40, 50), (64, 32), (32, 32)], WNIDS)
    return tmp_path


def test_imagenet_is_evaluated_with_the_central_crop_of_its_validation_folder(imagenet: Path) -> None:
    images = load("imagenet", {}, "test", imagenet, positions=[4, 0])
    assert images.pixels is None
    assert images.positions.tolist() == [4, 0]
    pixels, labels = images.batch(torch.tensor([1, 0]), "cpu")
    assert labels.tolist() == [0, 1]
    for taken, name in zip(pixels, ("n01/0.png", "n02/1.png"), strict=True):
        assert torch.equal(taken, torchvision_crop(imagenet / "imagenet" / "val" / name, 32, 28))


BATCHES = [torch.tensor(rows) for rows in ([0, 5, 2], [7, 1, 3], [6, 4, 0])]


def stream(
    images: Any, batches: list[torch.Tensor], seed: int = 3, **how: Any
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(images.stream(iter(batches), seed, **{"workers": 0, **how}))


def test_training_crops_depend_on_seed_step_and_image_alone(imagenet: Path) -> None:
    images = load("imagenet", {}, "train", imagenet)
    whole = stream(images, BATCHES)
    assert [labels.tolist() for _, labels in whole] == [images.labels[rows].tolist() for rows in BATCHES]
    assert whole[0][0].shape == (3, 3, 28, 28)
    assert whole[0][0].dtype == torch.uint8
    resumed = stream(images, BATCHES[1:], first_step=1, workers=2)
    for (expected, _), (found, _) in zip(whole[1:], resumed, strict=True):
        assert torch.equal(expected, found)
    # The same images among others, as another process would hold them.
    held = load("imagenet", {}, "train", imagenet, positions=[1, 7])
    assert torch.equal(stream(held, [torch.tensor([1, 0])], first_step=1)[0][0], whole[1][0][:2])
    # Image 0 at step 0 and at step 2; another seed.
    assert not torch.equal(whole[0][0][0], whole[2][0][2])
    assert not torch.equal(stream(images, BATCHES, seed=4)[0][0], whole[0][0])


def test_random_crops_mirror_half_of_the_images_and_vary_in_area() -> None:
    ramp = np.zeros((64, 64, 3), np.uint8)
    ramp[..., 0] = 2 * np.arange(64)  # brighter to the right
    ramp[..., 1] = 2 * np.arange(64)[:, None]  # brighter downwards
    crops = [decode.resized_crop_flip(Image.fromarray(ramp), 16, f"seed {i}").astype(int) for i in range(400)]
    mirrored = sum(bool(crop[8, 0, 0] > crop[8, -1, 0]) for crop in crops)
    assert 150 < mirrored < 250
    assert all(crop[0, 8, 1] < crop[-1, 8, 1] for crop in crops)  # never upside down
    areas = [abs(c[8, -1, 0] - c[8, 0, 0]) * (c[-1, 8, 1] - c[0, 8, 1]) / 126**2 for c in crops]
    assert min(areas) < 0.15
    assert max(areas) > 0.75
    assert 0.35 < float(np.mean(areas)) < 0.6


def test_an_image_too_oblong_for_any_aspect_gets_the_central_crop() -> None:
    stripe = np.zeros((4, 400, 3), np.uint8)
    stripe[:, 197:203] = 255
    assert decode.resized_crop_flip(Image.fromarray(stripe), 8, "0").mean() > 200


def test_without_augmentation_training_sees_the_evaluation_crop(imagenet: Path) -> None:
    images = load("imagenet", {}, "train", imagenet)
    assert torch.equal(stream(images, BATCHES[:1], augment=False)[0][0], images.batch(BATCHES[0])[0])


def test_decoding_workers_leave_the_default_generator_alone(imagenet: Path) -> None:
    images = load("imagenet", {}, "train", imagenet)
    before = torch.get_rng_state()
    stream(images, BATCHES, workers=1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_training_image_is_a_sentence_from_a_worker_too(workers: int, imagenet: Path) -> None:
    images = load("imagenet", {}, "train", imagenet)
    bad = imagenet / "imagenet" / "train" / "n01" / "2.png"
    truncate(bad)
    with pytest.raises(InputError, match=str(bad)) as caught:
        stream(images, BATCHES, workers=workers)
    assert "Traceback" not in str(caught.value)


def test_decoding_workers_outlive_the_signals_of_a_scheduler(imagenet: Path) -> None:
    import multiprocessing

    images = load("imagenet", {}, "train", imagenet)
    running = images.stream(iter(BATCHES * 4), 3, workers=1)
    first = next(running)[0]
    (worker,) = multiprocessing.active_children()
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT, signal.SIGTERM):
        os.kill(worker.pid or 0, number)
    rest = list(running)
    assert len(rest) == 11
    assert torch.equal(first, stream(images, BATCHES)[0][0])


def test_imagenet_that_is_missing_or_incomplete_says_what_to_put_where(
    imagenet: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"imagenet/val is missing.*imagenet/train/<wnid>"):
        load("imagenet", {}, "test", tmp_path / "elsewhere")
    (imagenet / "imagenet" / "val" / "n01" / "0.png").unlink()
    with pytest.raises(InputError, match="5 images, not 6"):
        load("imagenet", {}, "test", imagenet)
    (imagenet / "imagenet" / "val" / "n03").mkdir()
    with pytest.raises(InputError, match="has 3 class folders, but ImageNet has 2"):
        load("imagenet", {}, "test", imagenet)
