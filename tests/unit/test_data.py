"""Data sets: small real files in the published formats, read through the same code as the real ones."""

from __future__ import annotations

import gzip
import hashlib
import os
import pickle
import signal
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image
from torchvision import datasets, transforms

from jobs.data import augment, decode, fetch, load, sets, split_train
from rsctl import catalog
from rsctl.catalog.datasets import DATASETS
from rsctl.catalog.holdout import fixed_permutation
from rsctl.catalog.shape import shape_of
from rsctl.errors import InputError, UnavailableError

Declare = Callable[..., None]
RNG = np.random.default_rng(0)


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Iterator[Declare]:
    """Change a declaration: data sets with a handful of images instead of thousands."""

    def change(name: str, **values: Any) -> None:
        changed = tuple(replace(d, **values) if d.name == name else d for d in DATASETS)
        monkeypatch.setattr(catalog.datasets, "DATASETS", changed)
        catalog.known_datasets.cache_clear()

    yield change
    monkeypatch.undo()
    catalog.known_datasets.cache_clear()


# ---------------------------------------------------------------- digits and the common contract


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


# ---------------------------------------------------------------- torchvision's formats

TRAIN, TEST = 6, 4


def write_mnist(raw: Path, train: np.ndarray, test: np.ndarray, labels: dict[str, np.ndarray]) -> None:
    raw.mkdir(parents=True)
    for part, split, images in (("train", "train", train), ("t10k", "test", test)):
        header = np.array([0x803, *images.shape], ">i4").tobytes()
        (raw / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        header = np.array([0x801, len(images)], ">i4").tobytes()
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(header + labels[split].astype(np.uint8).tobytes())


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def write_cifar(root: Path, maker: Any, images: dict[str, np.ndarray], labels: dict[str, np.ndarray],
                monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """The pickles of CIFAR, with torchvision told their checksums: it verifies every file."""
    folder, key = root / maker.base_folder, "labels" if maker is datasets.CIFAR10 else "fine_labels"
    folder.mkdir(parents=True)
    files = {"train": ["part_1", "part_2"], "test": ["held"]}
    for split, names in files.items():
        for name, pixels, answers in zip(
            names,
            np.array_split(images[split], len(names)),
            np.array_split(labels[split], len(names)),
            strict=True,
        ):
            rows = pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)
            (folder / name).write_bytes(pickle.dumps({"data": rows, key: answers.tolist()}))
        monkeypatch.setattr(maker, f"{split}_list", [[name, md5(folder / name)] for name in names])
    classes = maker.meta["key"]
    (folder / "meta").write_bytes(pickle.dumps({classes: [str(i) for i in range(100)]}))
    monkeypatch.setattr(maker, "meta", {"filename": "meta", "key": classes, "md5": md5(folder / "meta")})


@pytest.fixture
def small_sets(
    tmp_path: Path, declare: Declare, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], dict[str, Any]]:
    """Writes a data set of 6 + 4 images below tmp_path; gives the pixels (N, H, W, C) and labels that must come back."""

    def write(name: str) -> dict[str, Any]:
        declare(name, counts={"train": TRAIN, "test": TEST})
        declared = catalog.known_datasets()[name]
        side, channels, counts = declared.size, declared.channels, {"train": TRAIN, "test": TEST}
        images = {s: RNG.integers(0, 256, (n, side, side, channels), np.uint8) for s, n in counts.items()}
        labels = {s: RNG.permutation(declared.classes)[:n] for s, n in counts.items()}
        labels["train"][0] = 0
        if name in ("mnist", "fashion-mnist"):
            raw = tmp_path / {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}[name] / "raw"
            write_mnist(raw, images["train"][..., 0], images["test"][..., 0], labels)
        elif name == "svhn":
            entries = {}
            for split in counts:
                file = tmp_path / f"{split}_32x32.mat"
                answers = np.where(labels[split] == 0, 10, labels[split])  # SVHN calls the digit 0 class 10
                scipy.io.savemat(file, {"X": images[split].transpose(1, 2, 3, 0), "y": answers[:, None]})
                entries[split] = ["", file.name, md5(file)]
            monkeypatch.setattr(datasets.SVHN, "split_list", entries)
        else:
            maker = datasets.CIFAR10 if name == "cifar10" else datasets.CIFAR100
            write_cifar(tmp_path, maker, images, labels, monkeypatch)
        return {"images": images, "labels": labels}

    return write


TORCHVISION = ("mnist", "fashion-mnist", "svhn", "cifar10", "cifar100")


@pytest.mark.parametrize("name", TORCHVISION)
@pytest.mark.parametrize("split", ["train", "test"])
def test_published_files_come_back_as_uint8_images(
    name: str, split: str, tmp_path: Path, small_sets: Any
) -> None:
    written = small_sets(name)
    images = load(name, {}, split, tmp_path)
    assert images.pixels.dtype == torch.uint8
    assert np.array_equal(images.pixels.numpy(), written["images"][split].transpose(0, 3, 1, 2))
    assert images.labels.dtype == torch.int64
    assert images.labels.tolist() == written["labels"][split].tolist()
    assert images.shape == shape_of(name, {}, tmp_path)
    part = load(name, {}, split, tmp_path, positions=[3, 1])
    assert torch.equal(part.pixels, images.pixels[[3, 1]])
    assert part.fingerprint == images.fingerprint


def test_the_fingerprint_follows_pixels_and_labels(tmp_path: Path, small_sets: Any) -> None:
    small_sets("mnist")
    before = load("mnist", {}, "test", tmp_path).fingerprint
    for file, offset in (("t10k-images-idx3-ubyte", 16), ("t10k-labels-idx1-ubyte", 8)):
        path = tmp_path / "MNIST" / "raw" / file
        content = bytearray(path.read_bytes())
        content[offset] = (content[offset] + 1) % 10
        path.write_bytes(content)
        after = load("mnist", {}, "test", tmp_path).fingerprint
        assert after != before
        before = after


@pytest.mark.parametrize("name", TORCHVISION)
def test_a_missing_set_says_what_to_put_where(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load(name, {}, "test", tmp_path)
    message = str(caught.value)
    assert str(tmp_path) in message
    assert catalog.known_datasets()[name].where in message
    assert f"rsctl data fetch {name}" in message
    assert "no internet" in message
    assert "download=True" not in message


@pytest.mark.parametrize(
    ("name", "file", "damage"),
    [
        ("mnist", "MNIST/raw/t10k-images-idx3-ubyte", lambda content: content[:-100]),
        ("mnist", "MNIST/raw/t10k-labels-idx1-ubyte", lambda content: b""),
        ("cifar10", "cifar-10-batches-py/held", lambda content: content[:-10]),
        ("svhn", "test_32x32.mat", lambda content: content[: len(content) // 2]),
    ],
)
def test_a_damaged_file_is_named_with_its_set(
    name: str, file: str, damage: Callable[[bytes], bytes], tmp_path: Path, small_sets: Any
) -> None:
    small_sets(name)
    path = tmp_path / file
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=f"{name} isn't complete and readable"):
        load(name, {}, "test", tmp_path)


def test_fewer_images_than_declared_are_an_incomplete_set(
    tmp_path: Path, small_sets: Any, declare: Declare
) -> None:
    small_sets("mnist")
    declare("mnist", counts={"train": TRAIN, "test": TEST + 1})
    with pytest.raises(InputError, match="files are incomplete"):
        load("mnist", {}, "test", tmp_path)


def test_labels_outside_the_classes_are_refused(tmp_path: Path, small_sets: Any, declare: Declare) -> None:
    small_sets("mnist")
    declare("mnist", counts={"train": TRAIN, "test": TEST}, classes=2)
    with pytest.raises(InputError, match="2 classes are declared"):
        load("mnist", {}, "test", tmp_path)


# ---------------------------------------------------------------- folders


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
    images = load("imagefolder", {**FOLDER, "classes": ["cat", "ant"]}, "test", animals)
    assert images.shape.class_names == ("ant", "cat")
    assert images.labels.tolist() == [0, 0, 0, 1, 1, 1]
    everything = load("imagefolder", FOLDER, "test", animals)
    assert torch.equal(images.pixels, everything.pixels[[0, 1, 2, 6, 7, 8]])
    drawn = shape_of("imagefolder", {**FOLDER, "class_count": 2, "class_seed": 5}, animals)
    assert len(drawn.class_names) == 2


# ---------------------------------------------------------------- ImageNet: files decoded when asked for

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
    with pytest.raises(InputError, match="3 class folders, ImageNet has 2"):
        load("imagenet", {}, "test", imagenet)


# ---------------------------------------------------------------- augmentation


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


# ---------------------------------------------------------------- held-out training images


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


# ---------------------------------------------------------------- downloads


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """MNIST's files on a server of this machine."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

    files = tmp_path / "server"
    files.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(files)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(datasets.MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
    yield files
    server.shutdown()
    server.server_close()


def test_fetch_downloads_what_load_then_reads(
    tmp_path: Path,
    small_sets: Any,
    served: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    written = small_sets("mnist")
    resources = []
    for file in sorted((tmp_path / "MNIST" / "raw").iterdir()):
        packed = served / f"{file.name}.gz"
        packed.write_bytes(gzip.compress(file.read_bytes()))
        resources.append((packed.name, md5(packed)))
    monkeypatch.setattr(datasets.MNIST, "resources", resources)
    root = tmp_path / "made" / "on the way"
    assert fetch.main(["mnist", str(root)]) == 0
    assert load("mnist", {}, "train", root).labels.tolist() == written["labels"]["train"].tolist()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", TORCHVISION)
def test_without_a_network_fetch_says_so(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("Network is unreachable")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    with pytest.raises(UnavailableError, match="no internet"):
        fetch.fetch(name, tmp_path)


def test_fetch_of_what_cannot_be_fetched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match=r"imagenet/train/<wnid>"):
        fetch.fetch("imagenet", tmp_path)
    with pytest.raises(InputError, match="nothing to fetch"):
        fetch.fetch("digits", tmp_path)
    assert fetch.main(["minst", str(tmp_path)]) == 2
    assert "Did you mean 'mnist'" in capsys.readouterr().err
