"""`rsctl data check`: every file that can't be used is found at once, for what it is, and what is said to be done helps."""

from __future__ import annotations

import gzip
import json
import os
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chain import Chain, tiny
from PIL import Image

from jobs.data import check as data_plane
from jobs.data import load
from rsctl.catalog.datasets import ImageFolder
from rsctl.cli.app import run
from rsctl.cluster import control, data_check
from rsctl.errors import InputError
from rsctl.plan.describe import describe

FOLDER = {"path": "own", "size": 8}
SWEEP = tiny(dataset={"name": "imagefolder", "path": "own", "size": 8}, certification={"max_images": 2})
NOISE = np.random.default_rng(0)


@pytest.fixture
def own(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classes with three JPEGs in each split, and no queue that would start anything."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(chain.folder / "cache"))
    monkeypatch.setattr("rsctl.cluster.local.backend.start_detached", lambda *_: None)
    root = chain.folder / "data" / "own"
    for split in ("train", "test"):
        for name in ("ant", "bee"):
            for number in range(3):
                picture(root / split / name / f"{number}.jpg")
    return root


def picture(path: Path, side: int = 64) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(NOISE.integers(0, 256, (side, side, 3), np.uint8)).save(path)


def bomb(path: Path, width: int = 20_000, height: int = 20_000) -> None:
    """A PNG of a few bytes whose head says that it has so many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    data = zlib.compress(b"\0" * 1000)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b""))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def write(data: bytes) -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(data)


def narrow(path: Path) -> None:
    Image.new("L", (60_000, 1)).save(path, format="PNG")


def redraw(path: Path) -> None:
    picture(path)


def delete(path: Path) -> None:
    path.unlink()


# What lies at the path, what is said of it, and the remedy that the message names.
DEFECTS: dict[str, tuple[Callable[[Path], Any], str, Callable[[Path], Any]]] = {
    "empty.jpg": (write(b""), "is empty (0 bytes). Copy it again", redraw),
    "._1.jpg": (write(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X" + b"\0" * 40), "find FOLDER -name '._*' -delete", delete),
    "page.jpg": (write(b"\xef\xbb\xbf\n<!DOCTYPE html><html>404</html>"), "is a web page, left by a failed download", redraw),
    "error.jpg": (write(b"<?xml version='1.0'?><Error>AccessDenied</Error>"), "is a web page", redraw),
    "lfs.jpg": (write(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "git lfs pull", redraw),
    "annex.jpg": (write(b"/annex/objects/SHA256E-s1--0.jpg\n"), "git annex get", redraw),
    "packed.jpg": (write(gzip.compress(b"x")), "is a gzip file. Unpack it.", redraw),
    "zip.png": (write(b"PK\x03\x04" + b"x" * 40), "is a ZIP archive. Unpack it.", redraw),
    "zeros.jpg": (write(b"\0" * 4096), "begins with zeros only, left by an interrupted copy", redraw),
    "cut.jpg": (lambda path: (picture(path), cut(path)), "is truncated (", redraw),
    "text.jpg": (write(b"just some words"), "can't be decoded as an image (its first bytes match no known format", redraw),
    "heic.jpg": (write(b"\0\0\0\x18ftypheic" + b"x" * 40), "holds an HEIC, which isn't supported. Convert it", redraw),
    "bomb.png": (bomb, "has too many pixels to be decoded safely", redraw),
    "narrow.png": (narrow, "has 60000x1 pixels, which is too narrow. Crop it", redraw),
}  # fmt: skip


def checked(chain: Chain, *arguments: str) -> dict[str, Any]:
    done = chain.cli("data", "check", *arguments, "--json")
    (found,) = json.loads(done.out)
    assert done.code == (0 if found["sound"] else 2)
    return found


def test_every_defect_is_found_at_once_and_what_is_said_helps(chain: Chain, own: Path) -> None:
    assert checked(chain, "own")["sound"]
    places = {}
    for number, (name, (make, _, _)) in enumerate(DEFECTS.items()):
        places[name] = f"{'train' if number % 2 else 'test'}/bee/{name}"
        make(own / places[name])
    found = checked(chain, "own")
    assert (found["files"], found["opened"]) == (12 + len(DEFECTS), len(DEFECTS))
    assert found["defects"].keys() == set(places.values())
    for name, (_, said, _) in DEFECTS.items():
        why = found["defects"][places[name]]
        assert said in why, name
        assert str(own) not in why
    told = chain.cli("data", "check", "own").out
    assert all(str(own / place) in told for place in places.values())
    # Whoever trains or counts is told the same.
    for name, (_, said, _) in DEFECTS.items():
        split = places[name].partition("/")[0]
        files = sorted(file.name for file in (own / split / "bee").iterdir())
        with pytest.raises(InputError) as caught:
            load("imagefolder", FOLDER, split, own.parent, positions=[3 + files.index(name)])
        assert str(own / places[name]) in str(caught.value)
        assert said in str(caught.value)
    for name, (_, _, remedy) in DEFECTS.items():
        remedy(own / places[name])
    found = checked(chain, "own")
    assert found["sound"]
    assert found["opened"] == len(DEFECTS) - 1
    assert len(load("imagefolder", FOLDER, "train", own.parent)) > 6


def test_only_what_has_changed_is_opened_again(
    chain: Chain, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[list[str]] = []
    real = data_check._opened
    monkeypatch.setattr(data_check, "_opened", lambda asked: opened.append(asked["files"]) or real(asked))

    def again() -> list[str]:
        opened.clear()
        assert run(["data", "check", "own"]) == 0
        return [file for files in opened for file in files]

    assert len(again()) == 12
    assert again() == []
    picture(own / "train" / "ant" / "1.jpg", side=65)
    assert again() == ["train/ant/1.jpg"]
    status = os.stat(own / "test" / "bee" / "2.jpg")
    os.utime(own / "test" / "bee" / "2.jpg", ns=(0, status.st_mtime_ns - 1))  # an older copy was put back
    assert again() == ["test/bee/2.jpg"]
    (own / "test" / "bee" / "2.jpg").rename(own / "test" / "bee" / "3.jpg")
    assert again() == ["test/bee/3.jpg"]
    (file,) = (chain.folder / "cache" / "rsctl" / "checked").iterdir()
    file.write_bytes(b"\xff" * 100)
    assert len(again()) == 12
    assert run(["data", "check", "own", "--white", "255"]) == 0  # read by other rules
    assert len(opened) == 2


def test_folders_are_checked_with_what_is_left_out_and_what_is_missing(
    chain: Chain, own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (own / "train" / "ant" / "a.gif").write_bytes(b"GIF89a")
    (own / "train" / "bee" / "far.jpg").symlink_to("/nowhere")
    os.mkfifo(own / "test" / "bee" / "pipe.jpg")
    (own / "train" / "cow").mkdir()
    (own / "test" / "dog").mkdir()
    started = time.monotonic()
    assert run(["data", "check", str(own)]) == 2
    assert time.monotonic() - started < 60
    said = capsys.readouterr().out
    for part in (
        "cow has no image file",
        "dog has no image file",
        "1 with extension .gif",
        "lead nowhere",
        "pipes, sockets",
    ):
        assert part in said
    assert run(["data", "list"]) == 0
    assert "imagefolder 'own' dataset: " in capsys.readouterr().out
    (own / "train" / "cow").rmdir()
    (own / "test" / "dog").rmdir()
    assert run(["data", "check"]) == 0
    assert run(["data", "list"]) == 0
    said = capsys.readouterr().out
    assert "imagefolder 'own' here: 2 classes, 6 train, 6 test images. 3 files left out" in said
    assert run(["data", "check", "nothing"]) == 2
    assert "neither a known data set" in capsys.readouterr().err


def refused(chain: Chain) -> str:
    with pytest.raises(InputError) as caught:
        control.submit(chain.file(SWEEP), chain.place)
    with pytest.raises(InputError, match="can't be read as"):
        control.plan_file(chain.file(SWEEP), chain.place)
    assert not list(chain.store.runs("models"))
    return str(caught.value)


def test_a_submission_names_all_that_surely_fails(chain: Chain, own: Path) -> None:
    for name in ("empty.jpg", "page.jpg", "lfs.jpg", "zeros.jpg", "packed.jpg", "._1.jpg"):
        DEFECTS[name][0](own / "train" / "ant" / name)
    said = refused(chain)
    assert "6 files of imagefolder 'own' can't be read as images" in said
    for name in ("empty.jpg", "page.jpg", "lfs.jpg", "zeros.jpg", "packed.jpg", "._1.jpg"):
        assert str(own / "train" / "ant" / name) in said
        assert DEFECTS[name][1] in said
        DEFECTS[name][2](own / "train" / "ant" / name)
    control.submit(chain.file(SWEEP), chain.place)


def test_what_a_check_found_is_known_at_submission(chain: Chain, own: Path) -> None:
    cut(own / "train" / "bee" / "1.jpg")
    control.plan_file(chain.file(SWEEP), chain.place)  # its first bytes are those of a JPEG
    assert not checked(chain, "own")["sound"]
    assert "is truncated" in refused(chain)
    picture(own / "train" / "bee" / "1.jpg", side=66)
    control.submit(chain.file(SWEEP), chain.place)


def test_a_test_image_that_no_table_wants_is_a_note(chain: Chain, own: Path) -> None:
    plan = control.plan_file(chain.file(SWEEP), chain.place)
    (table,) = plan.tables.values()
    files = [own / "test" / name / f"{number}.jpg" for name in ("ant", "bee") for number in range(3)]
    (other, *_) = [file for position, file in enumerate(files) if position not in table.images]
    length = other.stat().st_size
    other.write_bytes(b"<html>".ljust(length))
    said = describe(control.plan_file(chain.file(SWEEP), chain.place), chain.place).text
    assert "note: 1 file of imagefolder 'own' can't be read as an image" in said
    files[table.images[0]].write_bytes(b"")
    assert "2 files of imagefolder 'own'" in refused(chain)


def test_a_file_that_ends_the_process_which_opens_it_is_named(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(path: Path, folder: ImageFolder | None) -> Image.Image:
        if path.name == "1.jpg":
            os._exit(9)
        return Image.open(path)

    monkeypatch.setattr(data_plane, "read_image", dies)
    monkeypatch.setattr(data_plane, "TOGETHER", 2)
    files = [f"train/{name}/{number}.jpg" for name in ("ant", "bee") for number in range(3)]
    told: dict[int, str] = {}
    seen: list[int] = []
    for numbers, defects in data_plane.checked(str(own), files, None):
        seen += numbers
        told |= defects
    assert sorted(seen) == list(range(6))
    assert told == {1: data_plane.ENDS_THE_PROCESS, 4: data_plane.ENDS_THE_PROCESS}


def test_a_data_set_that_is_loaded_whole_is_checked_by_loading_it(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["data", "check", "mnist"]) == 2
    assert "MNIST/raw missing" in capsys.readouterr().out
    (own.parent / "MNIST" / "raw").mkdir(parents=True)
    assert data_plane.main(["mnist", str(own.parent)]) == 0
    assert "mnist isn't complete and readable" in capsys.readouterr().out
    assert data_plane.main(["digits", str(own.parent)]) == 0
    assert capsys.readouterr().out == ""
