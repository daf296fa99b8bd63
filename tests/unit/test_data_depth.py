"""Image files that aren't 8 bits a channel, or that are stored lying on their side."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
from chain import Chain, tiny
from PIL import Image

from jobs.data import load
from rsctl.catalog.shape import shape_of
from rsctl.cluster import control
from rsctl.config.sweep import load_sweep
from rsctl.errors import InputError
from rsctl.plan.describe import describe

SIDE = 16
GREY = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), np.uint8)
GREY[0, :2] = 0, 255
HIGH = GREY.astype(np.uint16) * 257
FOLDER = {"path": "own", "size": SIDE}


def png(path: Path, values: np.ndarray) -> None:
    """16 bits a channel, which Pillow writes in grey alone: (H, W, 2, 3 or 4)."""
    kind = {2: 4, 3: 2, 4: 6}[values.shape[2]]

    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, kind, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def tiff(path: Path, bits: int, rows: bytes, white: int = 1, *more: tuple[int, int]) -> None:
    """Grey, uncompressed, one strip; `more` are tags of one short number."""
    at = 8 + 2 + 12 * (8 + len(more)) + 4
    tags = [
        (256, SIDE),
        (257, SIDE),
        (258, bits),
        (259, 1),
        (262, white),
        (273, at),
        (278, SIDE),
        (279, len(rows)),
        *more,
    ]
    entries = b"".join(
        struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, value) for tag, value in sorted(tags)
    )
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0) + rows)


def twelve_bits(path: Path) -> None:
    pairs = (GREY.astype(np.uint32) << 4).reshape(-1, 2)
    packed = np.stack(
        [pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], axis=1
    )
    tiff(path, 12, packed.astype(np.uint8).tobytes())


def pnm(path: Path, largest: int, values: np.ndarray) -> None:
    kind = "P5" if values.ndim == 2 else "P6"
    path.write_bytes(f"{kind} {SIDE} {SIDE} {largest}\n".encode() + values.astype(">u2").tobytes())


def spread(values: np.ndarray, channels: int) -> np.ndarray:
    """Alike in every channel, all of it opaque."""
    out = np.repeat(values[..., None], channels, axis=2)
    if channels in (2, 4):
        out[..., -1] = 65_535
    return out


GREYS: dict[str, Callable[[Path], Any]] = {
    "grey.png": lambda path: Image.fromarray(HIGH).save(path),
    "shifted.png": lambda path: Image.fromarray(GREY.astype(np.uint16) << 8).save(path),
    "little.tif": lambda path: Image.fromarray(HIGH).save(path),
    "big.TIFF": lambda path: Image.fromarray(HIGH.astype(">u2")).save(path),
    "packed.tif": lambda path: Image.fromarray(HIGH).save(path, compression="tiff_lzw"),
    "twelve.tif": twelve_bits,
    "sixteen.pgm": lambda path: pnm(path, 65_535, HIGH),
    "twelve.pgm": lambda path: pnm(path, 4095, (GREY.astype(np.int64) * 4095 + 127) // 255),
}  # fmt: skip
COLOURS: dict[str, Callable[[Path], Any]] = {
    "alpha.png": lambda path: png(path, spread(HIGH, 2)),
    "rgb.png": lambda path: png(path, spread(HIGH, 3)),
    "rgba.png": lambda path: png(path, spread(HIGH, 4)),
    "rgb.ppm": lambda path: pnm(path, 65_535, spread(HIGH, 3)),
    "grey.jpg": lambda path: Image.fromarray(GREY).save(path, "png"),
    "cmyk.tif": lambda path: Image.fromarray(GREY).convert("RGB").convert("CMYK").save(path),
    "palette.png": lambda path: Image.fromarray(GREY).convert("RGB").convert("P", palette=Image.Palette.WEB).save(path),
    "alpha8.png": lambda path: Image.fromarray(GREY).convert("LA").save(path),
}  # fmt: skip


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classes of one image of 8 bits each, below the data root `tmp_path`."""
    monkeypatch.setenv("RSCTL_DATA", str(tmp_path))
    monkeypatch.setattr("rsctl.cluster.local.backend.start_detached", lambda *_: None)
    for place in ("train/ant", "train/bee", "test/ant", "test/bee"):
        (tmp_path / "own" / place).mkdir(parents=True)
        Image.fromarray(GREY).save(tmp_path / "own" / place / "0.png")
    return tmp_path / "own"


def seen(root: Path, name: str, **more: Any) -> np.ndarray:
    """The one test image of the class ant that isn't the first, as f sees it: (H, W)."""
    images = load("imagefolder", {**FOLDER, **more}, "test", root.parent, positions=[1])
    assert images.pixels.dtype == torch.uint8
    assert all(torch.equal(images.pixels[0, 0], channel) for channel in images.pixels[0]), name
    return images.pixels[0, 0].numpy()


@pytest.mark.parametrize(
    "name", [*GREYS, "grey.jpg", "alpha.png", "rgb.png", "rgba.png", "rgb.ppm", "alpha8.png"]
)
def test_an_image_of_8_bits_that_is_stored_in_more_comes_back_as_it_was(name: str, own: Path) -> None:
    {**GREYS, **COLOURS}[name](own / "test" / "ant" / name)
    assert np.array_equal(seen(own, name), GREY)


@pytest.mark.parametrize("name", ["cmyk.tif", "palette.png"])
def test_colours_of_8_bits_are_what_pillow_makes_of_them(name: str, own: Path) -> None:
    COLOURS[name](file := own / "test" / "ant" / name)
    images = load("imagefolder", FOLDER, "test", own.parent, positions=[1])
    assert np.array_equal(
        images.pixels[0].permute(1, 2, 0).numpy(), np.asarray(Image.open(file).convert("RGB"))
    )


def test_values_of_16_bits_make_levels_of_equal_width(own: Path) -> None:
    every = np.arange(65_536, dtype=np.uint16).reshape(256, 256)
    Image.fromarray(every).save(own / "test" / "ant" / "1.png")
    found = load("imagefolder", {**FOLDER, "size": 256}, "test", own.parent, positions=[1]).pixels[0, 0]
    assert np.array_equal(found.numpy(), every >> 8)


def listing(root: Path) -> str:
    """The fingerprint that the folder had when grey of 16 bits was read as white."""
    files = {
        split: [
            (f"{split}/{name}/{file.name}", label, file.stat().st_size)
            for label, name in enumerate(("ant", "bee"))
            for file in sorted((root / split / name).iterdir())
        ]
        for split in ("train", "test")
    }
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()


def listed(root: Path, split: str) -> str:
    """That of the images of a split, likewise."""
    content = hashlib.sha256(f"{SIDE}\n".encode())
    for label, name in enumerate(("ant", "bee")):
        for file in sorted((root / split / name).iterdir()):
            content.update(f"{split}/{name}/{file.name}\0{label}\0{file.stat().st_size}\n".encode())
    return content.hexdigest()


def test_uncompressed_files_of_8_bits_are_the_data_that_they_were(own: Path) -> None:
    for split in ("train", "test"):
        for name in ("ant", "bee"):
            (own / split / name / "0.png").unlink()
            for ending in ("bmp", "pgm", "tif"):
                Image.fromarray(GREY).save(own / split / name / f"0.{ending}")
    files: dict[str, Any] = {
        split: [
            (f"{split}/{name}/0.{ending}", label, (own / split / name / f"0.{ending}").stat().st_size)
            for label, name in enumerate(("ant", "bee"))
            for ending in ("bmp", "pgm", "tif")
        ]
        for split in ("train", "test")
    }
    digests = {
        split: [hashlib.sha256((own / file).read_bytes()).hexdigest() for file, _, _ in files[split]]
        for split in files
    }
    known = hashlib.sha256(json.dumps({**files, "contents": digests}).encode()).hexdigest()
    assert shape_of("imagefolder", FOLDER, own.parent).fingerprint == known


def test_only_folders_that_are_read_otherwise_than_before_are_other_data(own: Path) -> None:
    file = own / "train" / "bee" / "1.png"
    for write in (COLOURS["rgb.png"], COLOURS["rgba.png"], COLOURS["palette.png"], COLOURS["alpha8.png"]):
        write(file)
        assert shape_of("imagefolder", FOLDER, own.parent).fingerprint == listing(own)
        assert load("imagefolder", FOLDER, "train", own.parent).fingerprint == listed(own, "train")
    before = load("imagefolder", FOLDER, "train", own.parent).fingerprint
    Image.new("1", (SIDE, SIDE)).save(file)
    assert shape_of("imagefolder", FOLDER, own.parent).fingerprint == listing(own)
    GREYS["grey.png"](file)
    shape = shape_of("imagefolder", FOLDER, own.parent)
    assert shape.deep == 1
    assert shape.fingerprint != listing(own)
    assert load("imagefolder", FOLDER, "train", own.parent).fingerprint != before


FLOATS = (GREY / np.float32(255)).astype(np.float32)
REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "float.tif": (lambda path: Image.fromarray(FLOATS).save(path), "floating-point numbers, but the value of white is unknown"),
    "int.tif": (lambda path: Image.fromarray(HIGH.astype(np.int32)).save(path), "32-bit or signed integers, but the value"),
    "signed.tif": (lambda path: tiff(path, 16, GREY.astype("<i2").tobytes(), 1, (339, 2)), "32-bit or signed integers"),
    "said.tif": (lambda path: tiff(path, 16, HIGH.astype("<u2").tobytes(), 1, (281, 4095)), "a stated maximum of 4095"),
    "negative.tif": (lambda path: tiff(path, 16, HIGH.astype("<u2").tobytes(), 0), "of which 0 is white"),
    "dark.png": (lambda path: Image.fromarray(GREY.astype(np.uint16) << 4).save(path), "no value above 4080.*Set white = 4095 if they have fewer bits"),
    "bytes.png": (lambda path: Image.fromarray(GREY.astype(np.uint16)).save(path), "no value above 255.*Set white = 255 if they have fewer bits"),
    "dim.png": (lambda path: png(path, spread(GREY.astype(np.uint16) << 4, 3)), "16 bits, but hold no value above .*Convert them to 8 bits"),
    "named.jpg": (lambda path: Image.fromarray(HIGH).save(path, "png"), "but its extension is that of an 8-bit format"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_values_of_an_unknown_range_are_refused_by_name(name: str, own: Path) -> None:
    write, said = REFUSED[name]
    write(own / "test" / "ant" / name)
    with pytest.raises(InputError, match=rf"own/test/ant/{name} .*{said}"):
        load("imagefolder", FOLDER, "test", own.parent)
    if name != "named.jpg":  # whatever its content, it is looked at when it is decoded
        with pytest.raises(InputError, match=said):
            shape_of("imagefolder", FOLDER, own.parent)


@pytest.mark.parametrize(
    ("name", "white"), [("float.tif", 1.0), ("int.tif", 65_535), ("said.tif", 65_535), ("dark.png", 4095), ("bytes.png", 255)]
)  # fmt: skip
def test_the_value_that_is_white_can_be_given(name: str, white: float, own: Path) -> None:
    REFUSED[name][0](own / "test" / "ant" / name)
    assert np.array_equal(seen(own, name, white=float(white)), GREY)


def test_a_value_beyond_white_is_refused(own: Path) -> None:
    file = own / "test" / "ant" / "1.tif"
    for wrong, said in (
        (FLOATS * 3, "from 0 to 3"),
        (FLOATS - 1, "from -1 to 0"),
        (FLOATS + np.float32("nan"), "from nan to nan"),
    ):
        Image.fromarray(wrong).save(file)
        with pytest.raises(InputError, match=rf"{file} has values {said}"):
            seen(own, "1.tif", white=1.0)
    GREYS["grey.png"](file.with_suffix(".png"))
    file.unlink()
    COLOURS["rgb.png"](own / "test" / "bee" / "1.png")
    with pytest.raises(
        InputError,
        match=r"bee/1\.png holds 16 bits, of which only the high byte is read, so that 4095 can't be white",
    ):
        shape_of("imagefolder", {**FOLDER, "white": 4095.0}, own.parent)
    shape_of("imagefolder", {**FOLDER, "white": 65_535.0}, own.parent)
    (own / "test" / "bee" / "1.png").unlink()
    with pytest.raises(InputError, match=r"whole numbers, but it is 0\.5"):
        seen(own, "1.png", white=0.5)


def test_imagenet_takes_8_bits_alone(tmp_path: Path, declare: Callable[..., None]) -> None:
    declare("imagenet", size=16, classes=2, counts={"train": 2, "test": 2})
    for place in ("train/n1", "train/n2", "val/n1", "val/n2"):
        (tmp_path / "imagenet" / place).mkdir(parents=True)
        Image.fromarray(HIGH).save(tmp_path / "imagenet" / place / "0.png")
    for split, calls in (("test", lambda images: images.batch(torch.tensor([0]))),
                         ("train", lambda images: next(images.stream([torch.tensor([0])], 0, workers=0)))):  # fmt: skip
        with pytest.raises(
            InputError, match=r"n1/0.png holds 16 bits, but this data set has 8 bits a channel"
        ):
            calls(load("imagenet", {}, split, tmp_path))


def test_a_published_set_of_other_numbers_than_bytes_is_refused(
    tmp_path: Path, declare: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision import datasets

    declare("svhn", counts={"train": 1, "test": 1})
    file = tmp_path / "test_32x32.mat"
    scipy.io.savemat(file, {"X": np.full((32, 32, 3, 1), 0.5), "y": np.array([[1]])})
    checksum = hashlib.md5(file.read_bytes()).hexdigest()
    monkeypatch.setattr(datasets.SVHN, "split_list", {"test": ["", file.name, checksum]})
    with pytest.raises(InputError, match="svhn holds float64 values, not 8 bits a channel"):
        load("svhn", {}, "test", tmp_path)


def check(chain: Chain, **more: Any) -> str:
    values = tiny(dataset={"name": "imagefolder", **FOLDER, **more}, model={"name": "cnn", "width": 4})
    return describe(control.plan_file(chain.file(values), chain.place), chain.place).text


def test_check_says_that_levels_are_made_of_deep_files(chain: Chain, own: Path) -> None:
    assert "note" not in check(chain)
    GREYS["grey.png"](own / "train" / "bee" / "1.png")
    GREYS["twelve.pgm"](own / "test" / "bee" / "1.pgm")
    said = "note: 2 files of imagefolder 'own' with more than 8 bits per grey value: they are reduced to 256 levels, with white at "
    assert f"{said}the maximum of their format (dataset.white)" in check(chain)
    assert f"{said}65535 " in check(chain, white=65_535.0)


def turned(path: Path, orientation: int) -> np.ndarray:
    """Writes an image that a viewer turns; returns its pixels as they are stored."""
    image = Image.fromarray(GREY)
    exif = image.getexif()
    exif[274] = orientation
    image.save(path, exif=exif, **({"quality": 100} if path.suffix == ".jpg" else {}))
    with Image.open(path) as stored:
        return np.asarray(stored)


@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_exif_turns_images_only_where_it_is_asked_for(ending: str, own: Path) -> None:
    stored = turned(own / "test" / "ant" / f"1.{ending}", 6)
    assert np.array_equal(seen(own, ending), stored)
    assert np.array_equal(seen(own, ending, orientation="exif"), np.rot90(stored, -1))


def test_exif_turns_images_of_16_bits_too(own: Path) -> None:
    image = Image.fromarray(HIGH)
    exif = image.getexif()
    exif[274] = 3
    image.save(own / "test" / "ant" / "1.png", exif=exif)
    assert np.array_equal(seen(own, "1.png", orientation="exif"), GREY[::-1, ::-1])


def test_check_and_submit_say_once_that_files_are_stored_on_their_side(chain: Chain, own: Path) -> None:
    turned(own / "test" / "ant" / "1.jpg", 1)
    assert "EXIF" not in check(chain)
    turned(own / "test" / "ant" / "1.jpg", 6)
    turned(own / "train" / "bee" / "1.png", 8)
    said = "note: 2 of 6 files checked in imagefolder 'own' (train/bee/1.png, …) have an EXIF orientation that viewers apply"
    assert check(chain).count(said) == 1
    file = chain.file(tiny(dataset={"name": "imagefolder", **FOLDER}, model={"name": "cnn", "width": 4}))
    assert sum("EXIF orientation" in note for note in control.submit(file, chain.place).committed.notes) == 1
    assert "EXIF" not in check(chain, orientation="exif")


def test_new_keys_at_their_old_values_are_no_identity(chain: Chain, own: Path) -> None:
    def parameters(**more: Any) -> dict[str, Any]:
        values = tiny(dataset={"name": "imagefolder", **FOLDER, **more})
        (point,) = load_sweep(chain.file(values), chain.place.data).points
        return point.train.dataset_parameters

    assert parameters(white=0.0, orientation="stored") == parameters()
    assert not {"white", "orientation"} & parameters().keys()
    assert parameters(orientation="exif")["orientation"] == "exif"
    assert parameters(white=1.0)["white"] == 1.0
